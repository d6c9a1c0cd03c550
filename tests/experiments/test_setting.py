"""A setting of the engine is a trial: one way from a problem and a behaviour to law, view and data."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from experiments.engine.setting import DensitySetting, at_coverage, setting_of
from experiments.engine.specs import resolve
from spac_theory import InputError, make_behaviour, make_problem
from spac_theory.concentrability.coverage import Coverage, coverage
from spac_theory.concentrability.linear import AllPolicy
from spac_theory.learning.trials import Trial, make_trial
from spac_theory.view import Declined, TabularPolicy

LEARNER = {"delta": 0.1, "reference": "uniform", "baseline": "behaviour"}


def setting(problem: str, **options: Any) -> Any:
    spec = resolve("problem", "problem", {"name": problem, **options})
    return setting_of(spec, resolve("behaviour", "behaviour", {"name": "coverage"}), 0.2, LEARNER)


def test_a_setting_draws_what_the_trial_of_its_parts_draws() -> None:
    here = setting("linear", contexts=3, actions=4, dimension=2)
    assert isinstance(here, Trial)
    problem = make_problem("linear", contexts=3, actions=4, dimension=2)
    mu = make_behaviour("coverage").policy(problem, 0.2)
    trial = make_trial(problem, mu, reference=torch.full_like(mu, 1 / 4))
    assert torch.equal(here.law, trial.law)
    for name in ("rho", "reference", "baseline"):
        assert torch.equal(getattr(here.view, name), getattr(trial.view, name))
    data = trial.data(70, range(2), *here.streams)
    assert torch.equal(here.data(70, 2).wins, data.wins)
    assert not torch.equal(trial.data(70, 2).wins, data.wins)
    assert here.coverage == coverage(problem, mu)


def test_a_coverage_that_is_known_is_not_computed() -> None:
    here = at_coverage("tabular", 0.2)
    known = Coverage(7.0, AllPolicy(0.0, float("inf")), "lower estimate")
    other = type(here).of(Trial(here.problem, here.behaviour, here.view, known=known))
    assert other.coverage.single == 7.0
    assert not other.bounded


def test_contexts_from_a_density_are_declared_by_the_problem() -> None:
    here = setting("continuous", evaluation=100)
    assert isinstance(here, DensitySetting)
    assert not here.view.known_contexts
    assert here.data(5, range(2)).n.tolist() == [5, 5]
    assert here.star_bound(5) is None
    assert here.lower_bound(5) is None


def test_a_table_asked_about_new_contexts_declines_and_is_no_bad_input_of_another_kind() -> None:
    table = TabularPolicy(torch.ones(1, 1, 1, dtype=torch.float64))
    with pytest.raises(Declined, match="policy is a table"):
        table.probabilities(object())  # type: ignore[arg-type]
    assert issubclass(Declined, InputError)
