"""Numbers of one's own: the bound from plain numbers, a problem from a table, a repr of one line."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from spac_theory import (
    BRADLEY_TERRY,
    Fit,
    InputError,
    LearnerView,
    PreferenceModel,
    bound,
    make_algorithm,
    make_behaviour,
    make_problem,
    pair_law,
    sample_winner_counts,
    table_problem,
    uniform_profile,
    winner_law,
)


def test_the_bound_is_the_formula_and_least_at_its_own_lambda() -> None:
    found = bound(C=4.5, n=10_000, R=1, members=64, delta=0.1)
    kappa = BRADLEY_TERRY.kappa(1.0)
    epsilon = 2 / 10_000 * math.log(64 / 0.1)
    assert float(found) == pytest.approx(2 * math.sqrt(kappa * 4.5 * epsilon), rel=1e-12)
    assert found.lam == pytest.approx(math.sqrt(kappa * 4.5 / epsilon), rel=1e-12)
    assert found.value == pytest.approx(found.coverage + found.statistics)
    for factor in (0.5, 2):
        other = bound(C=4.5, n=10_000, R=1, members=64, lam=factor * found.lam)
        assert other.value > found.value
    assert not bound(C=4.5, n=10**6, R=1, members=64).vacuous
    assert bound(C=math.inf, n=10**9, R=1, members=64).value == math.inf
    assert bound(C=0, n=10, R=1, members=2).value == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"C": -1}, "C is"), ({"n": 0}, "n is"), ({"members": 0}, "members"), ({"delta": 1}, "delta"),
     ({"R": math.nan}, "R is"), ({"lam": 0}, "lam is"), ({"gap": -1}, "gap is")],
)  # fmt: skip
def test_a_number_out_of_range_is_named(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        bound(**{"C": 1.0, "n": 100, "R": 1.0, "members": 4, **wrong})


def test_a_table_of_rewards_is_a_problem_in_one_call() -> None:
    reward = np.array([[0.0, 0.5, 2.0], [1.0, 0.0, 0.3]], dtype=np.float32)
    problem = table_problem(reward, "mine")
    assert problem.reward_class.reward_range == (0.0, 2.0)
    assert problem.bandit.optimal_value == pytest.approx(1.5)
    mu = uniform_profile(2, 3)
    law = winner_law(
        problem.bandit.rho, pair_law(mu), PreferenceModel.from_reward(problem.bandit.reward)
    )
    data = sample_winner_counts(law, 100_000, range(2), "mine")
    view = LearnerView(problem.reward_class, problem.bandit.rho, mu, mu)
    fit = make_algorithm("spac").fit(view, data)
    assert torch.allclose(
        problem.bandit.suboptimality(fit.policy.probabilities()), torch.zeros(2).double()
    )
    with pytest.raises(InputError, match="does not contain"):
        table_problem(reward, reward_range=(0.0, 1.0))
    for thing in (problem, problem.bandit, view, data, fit):
        text = repr(thing)
        assert "\n" not in text
        assert len(text) < 700
        assert "tensor(" not in text
    assert "reward=<2 × 3>" in repr(problem.bandit)


def test_a_saved_fit_comes_back_and_predicts(tmp_path: Path) -> None:
    problem = make_problem("tabular", contexts=3, actions=4)
    mu = make_behaviour("coverage").policy(problem, 0.3)
    law = winner_law(
        problem.bandit.rho, pair_law(mu), PreferenceModel.from_reward(problem.bandit.reward)
    )
    data = sample_winner_counts(law, 200, range(5), "saved")
    view = LearnerView(problem.reward_class, problem.bandit.rho, reference=mu, baseline=mu)
    fit = make_algorithm("spac").fit(view, data)
    fit.save(tmp_path / "fit.npz")
    again = Fit.load(tmp_path / "fit.npz")
    assert torch.equal(again.policy.probabilities(), fit.policy.probabilities())
    for name in ("gap", "lam", "reward", "converged"):
        mine, theirs = getattr(fit, name), getattr(again, name)
        assert (mine is None and theirs is None) or torch.equal(mine, theirs)
    assert (again.gap_kind, again.extra.keys()) == (fit.gap_kind, fit.extra.keys())
    assert torch.equal(fit.predict(), fit.policy.probabilities().max(-1).indices)
    assert [path.name for path in tmp_path.iterdir()] == ["fit.npz"]


def test_what_is_no_fit_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(b"PK")
    np.savez(tmp_path / "other.npz", a=np.zeros(2))
    for name in ("bad.npz", "other.npz", "none.npz"):
        with pytest.raises(InputError, match="holds no saved fit"):
            Fit.load(tmp_path / name)
    with pytest.raises(InputError, match=r"ends in \.npz"):
        Fit.load(tmp_path / "fit.pt")
