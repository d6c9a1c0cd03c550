"""The guarantee (T1) against simulation, and its parts against their definitions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from experiments.claims.games.instances import random_simplex
from spac_theory import (
    LearnerView,
    PreferenceModel,
    coverage,
    make_algorithm,
    make_behaviour,
    make_problem,
    pair_law,
    sample_winner_counts,
    winner_law,
)
from spac_theory.bounds.upper import (
    best_upper_bound,
    covering_complexity,
    finite_complexity,
    oracle_lambda,
    upper_bound,
)
from spac_theory.concentrability.classes import Design, concentrability_of
from spac_theory.keys import generator
from spac_theory.links import BRADLEY_TERRY

DELTA = 0.1


def clopper_pearson(violations, trials, level=0.95):
    """Upper end of the exact one-sided interval for a frequency."""
    return float(stats.beta.ppf(level, violations + 1, trials - violations))


@pytest.mark.parametrize(
    ("problem", "options"),
    [
        ("tabular", {"contexts": 2, "actions": 3}),
        ("rare_lucky", {"contexts": 1, "actions": 4}),
        ("finite", {"contexts": 2, "actions": 3, "members": 16}),
        ("linear", {"contexts": 4, "actions": 3, "dimension": 2, "norm_bound": 1.0}),
    ],
)
def test_theorem_holds_on_simulated_data(problem, options):
    """For π* and two other comparators at once; at the largest n the bound is far from vacuous."""
    built = make_problem(problem, **options)
    bandit, cls = built.bandit, built.reward_class
    behaviour = make_behaviour("coverage").policy(built, 0.3)
    pairs = pair_law(behaviour)
    law = winner_law(bandit.rho, pairs, PreferenceModel.from_reward(bandit.reward))
    view = LearnerView(cls, bandit.rho, behaviour, behaviour, delta=DELTA)
    rng = generator("comparators", problem)
    comparators = [bandit.optimal_policy, *(random_simplex(rng, *bandit.shape) for _ in range(2))]
    design = Design(bandit.reward, bandit.rho, pairs, behaviour)
    violations = trials = 0
    for n in (100, 10**4, 10**7):
        data = sample_winner_counts(law, n, range(20), "theorem", problem)
        size = covering_complexity(cls, data.n, DELTA)
        for scale in (0.1, 1.0):
            fit = make_algorithm("spac", scale=scale).fit(view, data)
            value = bandit.value(fit.policy.probabilities())
            failed = torch.zeros(20, dtype=torch.bool)
            for comparator in comparators:
                c = concentrability_of(cls, design, comparator).value
                bound = upper_bound(cls.difference_bound, c, size, fit.lam, fit.gap).total
                failed |= bandit.value(comparator) - value > bound
            violations, trials = violations + int(failed.sum()), trials + 20
    assert violations == 0
    assert clopper_pearson(violations, trials) < DELTA
    c = concentrability_of(cls, design, bandit.optimal_policy).value
    assert float(best_upper_bound(cls.difference_bound, c, size)[0]) < 0.1 * cls.difference_bound


@given(st.floats(0, 20))
def test_kappa_is_the_inverse_variance_of_the_widest_comparison(bound):
    sigma = 1 / (1 + math.exp(-bound))
    assert BRADLEY_TERRY.kappa(bound) == pytest.approx(
        1 / (sigma * (1 / (1 + math.exp(bound)))), rel=1e-9
    )
    assert BRADLEY_TERRY.kappa(bound) == pytest.approx(
        2 + math.exp(bound) + math.exp(-bound), rel=1e-12
    )


@given(st.floats(0.05, 6), st.floats(-1, 1), st.floats(-1, 1))
def test_lemma_k(bound, u, v):
    """`(u − v)² ≤ 4κ h²` for `|u|, |v| ≤ R`, with `h²` of two Bernoulli laws by its definition."""
    u, v = u * bound, v * bound
    p, q = (np.array([1 / (1 + np.exp(-t)), 1 / (1 + np.exp(t))]) for t in (u, v))
    hellinger = float(((np.sqrt(p) - np.sqrt(q)) ** 2).sum())
    assert (u - v) ** 2 <= 4 * BRADLEY_TERRY.kappa(bound) * hellinger * (1 + 1e-9) + 1e-12


@given(st.floats(0.1, 5), st.floats(0.01, 100), st.integers(10, 10**9), st.integers(1, 10**6))
def test_lambda_star_minimises_the_first_two_terms(bound, c, n, members):
    size = finite_complexity(members, torch.tensor([n]), DELTA)

    def total(log_lambda):
        lam = torch.tensor([math.exp(log_lambda)], dtype=torch.float64)
        return float(upper_bound(bound, c, size, lam).total)

    star = oracle_lambda(bound, c, size)
    found = optimize.minimize_scalar(
        total, bounds=(math.log(float(star)) - 5, math.log(float(star)) + 5), method="bounded"
    )
    assert total(math.log(float(star))) <= found.fun * (1 + 1e-9)
    assert total(math.log(float(star))) == pytest.approx(
        float(best_upper_bound(bound, c, size)), rel=1e-9
    )


@given(st.floats(0.1, 5), st.floats(0.01, 50), st.integers(10, 10**8), st.floats(0.1, 1e4))
def test_the_bound_is_monotone(bound, c, n, lam):
    """Down in `n`, up in `R`, `C`, the gap and the confidence."""
    cls = make_problem("tabular", contexts=2, actions=2).reward_class
    counts, at = torch.tensor([n]), torch.tensor([lam], dtype=torch.float64)

    def total(r=bound, conc=c, m=counts, delta=DELTA, gap=0.0):
        return float(upper_bound(r, conc, covering_complexity(cls, m, delta), at, gap).total)

    assert total(m=2 * counts) <= total()
    assert total(r=1.1 * bound) >= total()
    assert total(conc=2 * c) >= total()
    assert total(delta=DELTA / 2) >= total()
    assert total(gap=0.3) == pytest.approx(total() + 0.3)


def test_uncovered_means_infinite_and_the_baseline_costs_no_coverage():
    size = finite_complexity(10, torch.tensor([100, 1000]), DELTA)
    lam = torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert torch.isinf(upper_bound(1.0, math.inf, size, lam).total).all()
    assert torch.isinf(best_upper_bound(1.0, math.inf, size)).all()
    assert (upper_bound(1.0, 0.0, size, lam).coverage == 0).all()
    assert (upper_bound(1.0, 0.0, size, 0 * lam).total == 0).all()
    assert torch.isinf(upper_bound(1.0, 0.5, size, 0 * lam).total).all()


def test_finite_complexity_is_the_lemma():
    size = finite_complexity(64, torch.tensor([200]), 0.05)
    assert float(size.epsilon_n) == pytest.approx(2 / 200 * math.log(64 / 0.05))
    finite = make_problem("finite", members=64).reward_class
    torch.testing.assert_close(
        covering_complexity(finite, torch.tensor([200]), 0.05).epsilon_n, size.epsilon_n
    )


def test_lemma_h_frequency():
    """`h²(r) ≤ E_D(r) − E_D(r*) + ε_n` for every member at once, on 300 data sets."""
    built = make_problem("finite", contexts=2, actions=3, members=32)
    bandit, members = built.bandit, built.reward_class.members
    behaviour = random_simplex(generator("lemma H"), 2, 3)
    pairs = pair_law(behaviour)
    law = winner_law(bandit.rho, pairs, PreferenceModel.from_reward(bandit.reward))
    p = [PreferenceModel.from_reward(m).probability for m in members]
    weight = bandit.rho[:, None, None] * pairs
    hellinger = torch.stack(
        [
            (weight * ((q.sqrt() - p[0].sqrt()) ** 2 + ((1 - q).sqrt() - (1 - p[0]).sqrt()) ** 2)).sum()
            for q in p
        ]
    )  # fmt: skip
    for n in (30, 1000):
        data = sample_winner_counts(law, n, range(300), "lemma H")
        losses = torch.stack([-(data.fraction * q.log()).sum((-3, -2, -1)) for q in p], -1)
        epsilon = 2 / n * math.log(32 / DELTA)
        violations = (hellinger > losses - losses[:, :1] + epsilon).any(-1)
        assert clopper_pearson(int(violations.sum()), 300) < DELTA


def test_coverage_of_an_experiment_is_what_the_bound_uses():
    built = make_problem("tabular", contexts=2, actions=3)
    behaviour = make_behaviour("coverage").policy(built, 0.25)
    assert coverage(built, behaviour).single == pytest.approx((1 / 0.25 - 1) / 2)
