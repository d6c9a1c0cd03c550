"""A link other than Bradley–Terry gets its own constants in every bound that a caller prints."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from scipy import stats

from experiments.engine.referee import theorem_bound
from experiments.engine.setting import Setting, at_coverage
from spac_theory import PROBIT, Oracle, PreferenceModel, make_algorithm
from spac_theory.bandit.preferences import pair_law, sample_winner_counts, winner_law
from spac_theory.learning.lambda_rules import choose, loss_radius

N = 4000


def slope_by_hand(r: float) -> float:
    """`|log Φ|′(−R)`, the slope of the loss at the end of the range."""
    return stats.norm.pdf(r) / stats.norm.cdf(-r)


def kappa_by_hand(r: float) -> float:
    """`((x/2)/sin(x/2))²/I(R)`: for the probit the information falls away from 0."""
    p = stats.norm.cdf(r)
    x = math.asin(math.sqrt(p)) - math.asin(math.sqrt(1 - p))
    information = stats.norm.pdf(r) ** 2 / (p * (1 - p))
    return (x / 2 / math.sin(x / 2)) ** 2 / information


@pytest.mark.parametrize("name", ["tabular", "linear", "finite"])
def test_probit_all_the_way(name):
    here = at_coverage(name, 0.2)
    view = replace(here.view, link=PROBIT)
    bandit, cls = here.problem.bandit, view.reward_class
    model = PreferenceModel.from_reward(bandit.reward, PROBIT)
    law = winner_law(bandit.rho, pair_law(here.behaviour), model)
    data = sample_winner_counts(law, N, range(2), "probit", name)
    c, r = here.coverage.single, cls.difference_bound
    radius = 0.0 if cls.finite else 1 / N
    statistical = 2 / N * (cls.log_covering(1 / N) + math.log(1 / view.delta))
    epsilon = 2 * slope_by_hand(r) * radius + statistical
    kappa = kappa_by_hand(r)

    chosen = choose("oracle", 2.0, view, data, Oracle(c))
    star = math.sqrt(kappa * c / epsilon)
    assert chosen.lam.tolist() == pytest.approx([2 * star] * 2, rel=1e-6)
    assert loss_radius(view, data, "theorem").tolist() == pytest.approx([epsilon] * 2, rel=1e-9)

    algorithm = make_algorithm("spac", lam="oracle")
    fit = algorithm.fit(view, data, Oracle(c))
    place_ = Setting(here.problem, here.behaviour, view, here.coverage)
    found = theorem_bound(place_, data.n, fit, algorithm)
    by_hand = 2 * math.sqrt(kappa * c * epsilon) + 2 * radius * min(1, math.sqrt(c))
    assert (found - fit.gap).tolist() == pytest.approx([by_hand] * 2, rel=1e-6)
    logistic = 2 + 2 * math.cosh(r)
    assert not math.isclose(kappa, logistic, rel_tol=0.05)  # the test can tell the links apart
    # The lower bound too speaks of the link of the data.
    rivals = place_.rivals
    assert rivals is not None
    index = int(rivals.bound(data.n[:1]).value.numel() - 1)
    rival = rivals.reward[index]
    kl = 0.0
    for x in range(bandit.shape[0]):
        p = stats.norm.cdf((bandit.reward[x][:, None] - bandit.reward[x]).numpy())
        q = stats.norm.cdf((rival[x][:, None] - rival[x]).numpy())
        mu = here.behaviour[x].numpy()
        kl += float(bandit.rho[x]) * float(
            (mu[:, None] * mu * stats.entropy([p, 1 - p], [q, 1 - q], axis=0)).sum()
        )
    assert float(rivals.divergence[index]) == pytest.approx(kl, rel=1e-6, abs=1e-14)
