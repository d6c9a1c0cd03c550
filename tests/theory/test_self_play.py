"""(T3) and (T4): self-play with projected policies, sloppy critics and softened labels."""

import math

import pytest
import torch

from spac_theory import InputError
from spac_theory.bounds.self_play import best_step, fit_terms, play_terms
from tests.theory import self_play


def test_no_violation_on_random_instances():
    for name, (tried, failed, largest) in self_play.violations(range(300)).items():
        assert (tried > 200, failed) == (True, 0), name
        assert largest > 0.05, f"{name} is so loose here that the check could not fail"


@pytest.mark.parametrize(
    ("left_out", "index"),
    [("coverage", 125), ("regret", 59), ("critic", 122), ("projection", 528)],
)
def test_every_term_is_needed(left_out, index):
    """Instances on which the bound would fail without the term."""
    loss, parts, _ = self_play.third_theorem(self_play.instance(index))
    assert sum(parts.values()) - parts[left_out] < loss <= sum(parts.values())


def test_terms_are_their_formulas():
    terms = play_terms(2.0, 0.9, 0.3, torch.tensor([0.1, 0.3]), torch.tensor([0.0, 0.5]))
    assert math.isclose(terms.regret, 0.9 / (0.3 * 2) + 0.3 * 4 / 8)
    assert math.isclose(terms.projection, 2 * 0.2, rel_tol=1e-6)
    assert math.isclose(terms.critic, 0.25)
    fit = fit_terms(1.0, 2.0, 5.0, 0.1, 0.02)
    kappa = 2 + 2 * math.cosh(1.0)
    assert math.isclose(fit.coverage, kappa * 2 / 5)
    assert math.isclose(fit.labels, 0.5)
    assert math.isclose(fit.shift, 2 * math.sqrt(kappa * 2 * 0.02))


def test_the_best_step_minimises_the_regret():
    def regret(eta):
        return play_terms(1.5, 0.7, eta, torch.zeros(9), torch.zeros(9)).regret

    eta = best_step(1.5, 0.7, 9)
    assert math.isclose(regret(eta), 1.5 * math.sqrt(0.7 / 18))
    assert regret(eta) < min(regret(0.9 * eta), regret(1.1 * eta))


def test_bad_input():
    with pytest.raises(InputError, match="must both be"):
        play_terms(1.0, 0.1, 1.0, torch.zeros(2), torch.zeros(3))
    with pytest.raises(InputError, match="eta is 0"):
        play_terms(1.0, 0.1, 0.0, torch.zeros(2), torch.zeros(2))
