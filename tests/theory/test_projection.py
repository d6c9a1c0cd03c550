"""A class that misses the truth: the projection, the two prices, and an instance where both show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from experiments.engine import study
from experiments.studies.misspecification import cells as program
from experiments.studies.misspecification.analysis import BOUNDS
from spac_theory import InputError, PreferenceModel, make_algorithm, pair_law, winner_law
from spac_theory.bounds.projection import distance, projected_complexity, projection
from spac_theory.bounds.upper import upper_bound
from spac_theory.objective import tabular_preference_loss
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.linear import LinearClass


def test_projection_by_another_minimiser():
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.standard_normal((3, 3, 2)))
    cls = LinearClass(features, norm_bound=0.7)
    rho, mu = (torch.from_numpy(rng.dirichlet(np.ones(3), size)) for size in (None, 3))
    truth = torch.from_numpy(rng.uniform(0, 3, (3, 3)))
    law = winner_law(rho, pair_law(mu), PreferenceModel.from_reward(truth))

    def loss(theta: np.ndarray) -> float:
        return float(tabular_preference_loss(features @ torch.from_numpy(theta), law))

    ball = {"type": "ineq", "fun": lambda t: 0.49 - (t**2).sum()}
    found = optimize.minimize(loss, np.zeros(2), constraints=[ball], tol=1e-12)
    assert torch.allclose(projection(cls, law), features @ torch.from_numpy(found.x), atol=1e-4)


def test_projection_of_a_member_is_itself():
    features = torch.from_numpy(np.random.default_rng(1).standard_normal((3, 3, 2)))
    member = features @ torch.tensor([0.3, -0.4], dtype=torch.float64)
    rho, mu = (torch.full(size, 1 / 3, dtype=torch.float64) for size in ((3,), (3, 3)))
    law = winner_law(rho, pair_law(mu), PreferenceModel.from_reward(member))
    assert distance(projection(LinearClass(features, 1.0), law), member) < 1e-4


@pytest.mark.parametrize("bound", [0.5, 2.0])
def test_bernstein_lemma_of_the_projection_by_simulation(bound):
    """`E_μ[(Δ_r − Δ_r°)²] ≤ 4κ (E_D(r) − E_D(r°) + ε°_n)`: one pair, any law, all margins at once."""
    rng = np.random.default_rng(2)
    grid = np.linspace(-bound, bound, 41)
    kappa, delta = 2 + 2 * np.cosh(bound), 0.1
    epsilon = (2 * kappa + 2 * bound / 3) * np.log(len(grid) / delta)
    for n, p in ((20, 0.95), (500, 0.5), (5000, 0.99)):
        best = np.clip(np.log(p / (1 - p)), -bound, bound)
        wins = rng.binomial(n, p, 2000)[:, None] / n

        def loss(z, share=wins):
            return share * np.log1p(np.exp(-z)) + (1 - share) * np.log1p(np.exp(z))

        excess = loss(grid) - loss(best)
        broken = ((grid - best) ** 2 > 4 * kappa * (excess + epsilon / n)).any(1)
        assert stats.binomtest(int(broken.sum()), 2000).proportion_ci().low <= delta


def trap_cell(dial: float, n: int, scale: float = 1.0) -> study.Columns:
    settings = {"epsilon": dial, "n": n, "scale": scale, "seeds": 5, "delta": 0.1}
    return program.compute({"instance": "trap", "coverage": 0.2, **settings})


def test_the_trap_grows_with_lambda_and_dial_and_both_bounds_hold():
    losses = []
    for scale in (0.1, 1.0, 10.0, 100.0):  # λ alone grows, the data stay
        found = trap_cell(0.2, 10**6, scale)
        loss = torch.tensor(found["suboptimality"])
        losses.append(float(loss.mean()))
        for name in BOUNDS:
            assert (loss <= torch.tensor(found[name])).all()
    assert losses[0] < 0.2
    assert losses == sorted(losses)
    assert losses[-1] > 1.4
    by_dial = [float(np.mean(trap_cell(dial, 10**8)["suboptimality"])) for dial in (0.0, 0.13, 0.2)]
    assert by_dial[0] < 0.01 < by_dial[1] < by_dial[2]


def test_only_convex_classes_have_the_bound_around_the_projection():
    with pytest.raises(InputError, match="convex"):
        projected_complexity(FiniteClass(torch.rand(2, 2, 2)), torch.tensor([10]), 0.1)


def test_the_price_of_the_projection_does_not_grow_with_lambda():
    """At `λ = √n` the whole bound around `r°` falls in `n`, to `ε°`."""
    here = program.missed("trap", 0.2, 0.2, 0.1)
    far = program.projected_distance(here)
    n = torch.tensor([10**4, 10**8, 10**14])
    size = projected_complexity(here.view.reward_class, n, 0.1)
    lam = n.double().sqrt()
    r = here.view.reward_class.difference_bound
    total = upper_bound(r, here.coverage.single, size, lam).total + far
    assert (total.diff() < 0).all()
    assert far == pytest.approx(2.0, abs=1e-3)  # the trap is worth −1 and r° says +1
    assert float(total[-1]) == pytest.approx(far, rel=1e-2)
    fit = make_algorithm("spac").fit(here.view, here.data(10**8, 2))
    assert fit.converged is None or bool(fit.converged.all())
