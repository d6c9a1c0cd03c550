"""Solvers and algorithms work on the device of their tensors: on one that is only pretended, no plain
tensor may meet one that is there, and the numbers are those of the processor."""

import pytest
import torch

from experiments.claims.games.instances import KINDS, random_game
from experiments.engine.units import Unit, judged
from spac_theory import InputError, make_algorithm, mirror_descent
from spac_theory.devices import find_device, moved, on_device
from spac_theory.saddle.solve import solve_saddle
from tests.algorithms.conftest import make_setting
from tests.algorithms.test_conformance import OURS, QUICK
from tests.theory.hedge import finite_game
from tests.theory.pretended_device import THERE, Marked, Pretended, TwoDevices, plain

GAMES = [*(random_game(i, 2, KINDS[i], max_contexts=3) for i in range(6)), finite_game(1)]


@pytest.fixture(scope="module")
def small():
    return make_setting(n=150, seeds=3)


def test_the_pretended_device_tells_here_from_there():
    with Pretended():
        here, there = torch.ones(3), torch.ones(3, device=THERE)
        assert there.device == THERE
        assert here.device == torch.device("cpu")
        assert isinstance(there * 2 + there.new_zeros(3), Marked)
        with pytest.raises(TwoDevices):
            here + there
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        with torch.device(THERE):
            assert isinstance(torch.arange(3) * there, Marked)
        assert not isinstance(there.cpu(), Marked)


@pytest.mark.parametrize("name", OURS)
def test_an_algorithm_works_where_its_tensors_are(small, name):
    options = QUICK.get(name, {})
    here = make_algorithm(name, **options).fit(small.view, small.data, small.oracle(20))
    with Pretended():
        algorithm = on_device(make_algorithm(name, **options), THERE)
        fit = algorithm.fit(small.view, small.data, small.oracle(20))
    table = fit.policy.probabilities()
    assert not isinstance(table, Marked)
    assert torch.allclose(table, here.policy.probabilities(), atol=1e-6)


@pytest.mark.parametrize("solve", [solve_saddle, lambda game: mirror_descent(game, 10)])
@pytest.mark.parametrize(
    "game", [*(random_game(i, 2, KINDS[i], max_contexts=3) for i in range(6)), finite_game(1)]
)
def test_a_solver_works_where_its_game_is(game, solve):
    here = solve(game)
    with Pretended():
        there = solve(moved(game, THERE))
        assert isinstance(there.certificate.upper, Marked)
        upper = plain(there.certificate.upper)
    assert torch.allclose(upper, here.certificate.upper, atol=1e-9)


@pytest.mark.parametrize("name", ["cuda:99", "no such thing", 3.5, None, "mps:7"])
def test_a_device_that_does_not_exist_is_refused_in_a_sentence(name):
    with pytest.raises(InputError, match=r"^device is .*; it has cpu.*\.$"):
        find_device(name)


def unit_of(tmp_path, label, device):
    options = {name: QUICK.get(name, {}) for name in ("spac", "spac_t", "xpo")}
    spec = {"name": label, "options": options[label]}
    problem = {"name": "tabular", "options": {"contexts": 3, "actions": 4}}
    behaviour = {"name": "coverage", "options": {}}
    learner = {"delta": 0.1, "reference": "behaviour", "baseline": "behaviour", "labels": 20}
    return Unit(
        str(tmp_path), problem, behaviour, 0.5, 100, learner, 0, 3, {label: spec}, (), device
    )


@pytest.mark.parametrize("label", ["spac", "spac_t", "xpo"])
def test_a_unit_of_a_sweep_has_the_same_rows_on_a_device(label, tmp_path):
    """Data are drawn and fits are judged on the processor, labels are bought and counted there."""
    unit = unit_of(tmp_path, label, "cpu")
    data = unit.setting().data(unit.n, unit.seeds)
    here = judged(unit, label, data)
    with Pretended():
        there = judged(unit_of(tmp_path, label, "cuda"), label, data)
    assert here["status"] == there["status"] == ["done"] * 3
    assert there["suboptimality"] == pytest.approx(here["suboptimality"], abs=1e-9)
    assert there["queries"] == here["queries"]
    assert unit.cell(label).config == unit_of(tmp_path, label, "cuda").cell(label).config
