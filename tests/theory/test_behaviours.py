"""Behaviour families: valid over their range, and their dials do what they say."""

import math

import pytest
import torch

from spac_theory import BEHAVIOURS, InputError, coverage, make_behaviour, make_problem

PROBLEM = make_problem("tabular", contexts=4, actions=5)


@pytest.mark.parametrize("name", list(BEHAVIOURS))
@pytest.mark.parametrize("problem", ["tabular", "linear", "rare_lucky"])
def test_valid_over_the_whole_range(name, problem):
    built, family = make_problem(problem), make_behaviour(name)
    low, high = family.dial_range
    for share in [0.0, 1e-6, 0.1, 0.37, 0.5, 0.9, 1 - 1e-6]:
        policy = family.policy(built, low + share * (high - low))
        assert policy.dtype == torch.float64
        assert (policy >= 0).all()
        assert (policy.sum(-1) - 1).abs().max() < 1e-12


def test_coverage_dial_moves_single_policy_coverage_monotonically():
    family = make_behaviour("coverage")
    values = [
        coverage(PROBLEM, family.policy(PROBLEM, p)).single for p in (0, 0.01, 0.1, 0.3, 0.6, 0.95)
    ]
    assert math.isinf(values[0])
    assert values == sorted(values, reverse=True)
    # π* has mass p, everything else is off it: χ² = 1/p − 1
    assert values[2] == pytest.approx((1 / 0.1 - 1) / 2)


def test_starving_leaves_the_comparator_alone_and_all_policies_grow():
    family = make_behaviour("starving", optimal=0.3)
    dials = (0.5, 0.1, 0.01, 1e-3)
    found = [coverage(PROBLEM, family.policy(PROBLEM, d)) for d in dials]
    for one in found:
        assert one.single == pytest.approx((1 / 0.3 - 1) / 2, rel=1e-6)
    everything = [one.all.upper for one in found]
    assert everything == sorted(everything)
    assert everything[3] / everything[2] == pytest.approx(10, rel=0.05)  # like 1/dial
    assert math.isinf(coverage(PROBLEM, family.policy(PROBLEM, 0.0)).all.upper)


def test_temperature_goes_from_worst_to_uniform():
    family = make_behaviour("temperature")
    values = [float(PROBLEM.bandit.value(family.policy(PROBLEM, t))) for t in (0.02, 0.2, 1.0, 9.0)]
    assert values == sorted(values)
    hot = family.policy(PROBLEM, 1e6)
    torch.testing.assert_close(hot, torch.full_like(hot, 0.2), atol=1e-5, rtol=0)
    kind = make_behaviour("temperature", adversarial=False)
    cold = kind.policy(PROBLEM, 1e-4)
    torch.testing.assert_close(cold, PROBLEM.bandit.optimal_policy)


def test_bad_expert_interpolates_between_best_and_worst():
    family = make_behaviour("bad_expert", noise=0.0)
    bandit = PROBLEM.bandit
    assert float(bandit.suboptimality(family.policy(PROBLEM, 0.0))) == pytest.approx(0, abs=1e-15)
    worst = float((bandit.rho * bandit.reward.amin(-1)).sum())
    assert float(bandit.value(family.policy(PROBLEM, 1.0))) == pytest.approx(worst)
    half = float(bandit.value(family.policy(PROBLEM, 0.3)))
    assert half == pytest.approx(0.7 * bandit.optimal_value + 0.3 * worst)


@pytest.mark.parametrize(
    ("name", "dial"),
    [("coverage", 1.0), ("coverage", -0.1), ("starving", 1.5), ("temperature", 0.0),
     ("temperature", float("nan")), ("bad_expert", 2.0), ("bad_expert", "half")],
)  # fmt: skip
def test_a_dial_outside_its_range_is_refused(name, dial):
    with pytest.raises(InputError, match=r"dial is .*; it must be"):
        make_behaviour(name).policy(PROBLEM, dial)
