"""Every constant of the bounds against something independent."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from experiments.studies.violations import cells as violations
from spac_theory import BRADLEY_TERRY, PROBIT, InputError, make_problem
from spac_theory.bandit.preferences import pair_law
from spac_theory.bounds import (
    Complexity,
    best_upper_bound,
    covering_complexity,
    divergence,
    greedy_contexts,
    local_lower_bound,
    misspecification,
    oracle_lambda,
    ridge_statistics,
    separation,
    two_point_bound,
    upper_bound,
)
from spac_theory.concentrability.linear import ridge_concentrability
from spac_theory.links import Link
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.linear import LinearClass, tabular_class


@pytest.mark.parametrize("link", [BRADLEY_TERRY, PROBIT])
@pytest.mark.parametrize("bound", [0.1, 1.0, 3.0])
def test_kappa_on_a_grid(link, bound):
    z = torch.linspace(-bound, bound, 301, dtype=torch.float64)
    p = link.probability(z)
    h = (p.sqrt()[:, None] - p.sqrt()) ** 2 + ((1 - p).sqrt()[:, None] - (1 - p).sqrt()) ** 2
    ratio = (z[:, None] - z) ** 2 / (4 * h.clamp_min(1e-300))
    largest = float(ratio[h > 1e-12].max())
    assert largest <= link.kappa(bound) * (1 + 1e-9)
    assert largest >= 0.5 * link.kappa(bound)  # a constant, not a catch-all


@pytest.mark.parametrize("link", [BRADLEY_TERRY, PROBIT])
def test_misspecification_bounds_the_loss_of_the_closest_member(link):
    """The worst mean excess loss of `v` with `|u − v| ≤ ε` is a divergence below `sε²/2`."""
    bound, n, delta = 2.0, torch.tensor([10**8]), 0.1
    u = torch.linspace(-bound, bound, 401, dtype=torch.float64)
    for epsilon in (0.01, 0.3):
        lam = torch.ones(1, dtype=torch.float64)
        allowed = misspecification(epsilon, lam, n, delta, bound, None, link) - epsilon
        for v in (u + epsilon, u - epsilon):
            inside = v.abs() <= bound
            p = link.probability(u)
            kl = p * (link.loss(v) - link.loss(u)) + (1 - p) * (link.loss(-v) - link.loss(-u))
            assert float(kl[inside].max()) <= float(allowed)
        worst = (link.loss(u) - link.loss(u + epsilon)).abs().max()
        assert float(worst) <= link.slope(bound + epsilon) * epsilon * (1 + 1e-9)


def test_misspecification_vanishes_and_never_exceeds_its_crude_form():
    lam, n = torch.tensor([0.0, 10.0, 1000.0]).double(), torch.tensor([10, 100, 1000])
    assert (misspecification(0.0, lam, n, 0.1) == 0).all()
    assert (misspecification(0.2, lam, n, 0.1) <= 0.2 * (1 + lam)).all()
    more = misspecification(0.2, lam, n, 0.1, concentrability=4.0)
    assert torch.allclose(more - misspecification(0.2, lam, n, 0.1), torch.tensor(0.6).double())


def test_terms_add_up_and_lambda_star_is_the_minimiser():
    size = Complexity(torch.tensor([0.01]).double(), torch.tensor([0.001]).double())
    for link in (BRADLEY_TERRY, PROBIT):
        star = oracle_lambda(1.0, 3.0, size, link)
        best = best_upper_bound(1.0, 3.0, size, link)

        def total(log: float, link: Link = link) -> float:
            lam = torch.tensor([math.exp(log)], dtype=torch.float64)
            return float(upper_bound(1.0, 3.0, size, lam, link=link).total)

        found = optimize.minimize_scalar(total, bounds=(-5, 15), method="bounded")
        assert math.isclose(found.fun, float(best), rel_tol=1e-6)
        assert math.isclose(math.exp(found.x), float(star), rel_tol=1e-2)


def test_finite_classes_need_no_net():
    size = covering_complexity(FiniteClass(torch.rand(7, 2, 3)), torch.tensor([100, 10]), 0.1)
    assert (size.net_radius == 0).all()
    assert torch.allclose(size.epsilon_n, 2 / torch.tensor([100.0, 10.0]).double() * math.log(70))


def test_two_point_bound_is_below_the_minimax_of_two_problems():
    """One context, two actions, `n` comparisons: the minimax is a linear program over `k` wins."""
    for n, gap in ((1, 1.0), (5, 0.5), (20, 0.3)):
        reward = torch.tensor([[0.0, gap]], dtype=torch.float64)
        rival = torch.tensor([[gap / 2, 0.0]], dtype=torch.float64)
        pairs = torch.tensor([[[0.0, 1.0], [0.0, 0.0]]], dtype=torch.float64)
        rho = torch.ones(1, dtype=torch.float64)
        bound = float(two_point_bound(rho, reward, rival, pairs, torch.tensor([n])))
        k = np.arange(n + 1)
        laws = [stats.binom.pmf(k, n, 1 / (1 + math.exp(-d))) for d in (-gap, gap / 2)]
        # variables: probability of action 1 at each k, then the worst of both risks
        above = np.array([[*(-gap * laws[0]), -1], [*(gap / 2 * laws[1]), -1]])
        solved = optimize.linprog(
            [0] * (n + 1) + [1], above, [-gap, 0], bounds=[(0, 1)] * (n + 1) + [(None, None)]
        )
        assert 0 < bound <= solved.fun * (1 + 1e-9)


def test_search_beats_naive_rivals_and_stays_in_the_class():
    generator = torch.Generator().manual_seed(0)
    rho = torch.full((4,), 0.25, dtype=torch.float64)
    mu = torch.softmax(torch.randn(4, 3, generator=generator), -1).double()
    mu = mu / mu.sum(-1, keepdim=True)
    features = torch.randn(4, 3, 3, generator=generator).double()
    theta = torch.tensor([0.5, 0.2, -0.3], dtype=torch.float64)
    n = torch.tensor([100, 10_000])
    table = torch.rand(4, 3, generator=generator).double()
    cases = [
        (LinearClass(features, 1.0), features @ theta),
        (tabular_class(4, 3, reward_range=(0.0, 1.0)), table),
    ]
    for cls, reward in cases:
        found = local_lower_bound(cls, rho, reward, pair_law(mu), n)
        for index in range(2):
            assert cls.contains(found.rival[index], tolerance=1e-7)
            again = two_point_bound(rho, reward, found.rival[index], pair_law(mu), n)[index]
            assert math.isclose(float(again), float(found.value[index]), rel_tol=1e-9)
        moves = torch.randn(200, features.shape[-1], generator=generator).double()
        if cls is cases[0][0]:
            moves = moves / moves.norm(dim=-1, keepdim=True)
            naive = two_point_bound(
                rho, reward, torch.einsum("kd,xad->kxa", moves, features), pair_law(mu), n
            )
        else:
            naive = two_point_bound(
                rho, reward, torch.rand(200, 4, 3, generator=generator).double(), pair_law(mu), n
            )
        assert (found.value >= naive.max(0).values).all()


def test_separation_and_divergence_by_loops():
    generator = torch.Generator().manual_seed(3)
    r, s = torch.rand(2, 2, 3, generator=generator).double()
    rho, mu = torch.tensor([0.3, 0.7]).double(), torch.tensor([[0.2, 0.3, 0.5]] * 2).double()
    kl = total = 0.0
    for x in range(2):
        total += float(rho[x]) * float(r[x].max() + s[x].max() - (r[x] + s[x]).max())
        for a in range(3):
            for b in range(3):
                p, q = (1 / (1 + math.exp(-float(t[x, a] - t[x, b]))) for t in (r, s))
                kl += float(rho[x] * mu[x, a] * mu[x, b]) * stats.entropy([p, 1 - p], [q, 1 - q])
    assert math.isclose(float(separation(rho.double(), r, s)), total, rel_tol=1e-6)
    assert math.isclose(float(divergence(rho.double(), r, s, pair_law(mu))), kl, rel_tol=1e-6)


def test_greedy_policies_deviate_less_than_allowed():
    """The largest deviation over many greedy policies stays below the term; it falls like `1/√n`."""
    generator = torch.Generator().manual_seed(4)
    theta = torch.randn(400, 2, generator=generator).double()
    fresh, prompts = (torch.randn(m, 3, 2, generator=generator).double() for m in (20_000, 100))
    truth = torch.tensor([1.0, -0.5], dtype=torch.float64)

    def losses(features: torch.Tensor) -> torch.Tensor:
        reward = features @ truth
        chosen = (features @ theta.T).argmax(1)
        return reward.amax(-1, keepdim=True) - reward.gather(1, chosen)

    spread = float(losses(fresh).max())
    deviation = (losses(fresh).mean(0) - losses(prompts).mean(0)).max()
    assert float(deviation) <= greedy_contexts(spread, 100, 3, 2, 0.1)
    ratio = greedy_contexts(1.0, 100, 3, 2, 0.1) / greedy_contexts(1.0, 10_000, 3, 2, 0.1)
    assert 6 < ratio < 10


def test_lower_bound_is_zero_where_it_would_underflow_and_never_rounding():
    """Two members a hair or a mile apart at n up to 1e12: nothing is claimed, nothing is NaN."""
    rho, mu = torch.ones(1).double(), torch.full((1, 3), 1 / 3).double()
    reward = torch.tensor([[0.3, 0.2, 0.1]], dtype=torch.float64)
    members = torch.stack([reward, reward + 1e-17, reward.flip(-1), reward * (1 + 1e-15)])
    n = torch.tensor([1, 10**6, 10**12])
    found = local_lower_bound(FiniteClass(members), rho, reward, pair_law(mu), n)
    assert float(found.value[0]) > 0  # the mile at one comparison
    assert (found.value[1:] == 0).all()
    rival = torch.tensor([[0.2, 0.3, 0.1]], dtype=torch.float64)
    small = two_point_bound(rho, reward, rival, pair_law(mu), torch.tensor([10**5, 10**7]))
    assert 0 < float(small[0]) < 1e-50
    assert float(small[1]) == 0


def test_lower_bound_refuses_a_class_it_cannot_search():
    problem = make_problem("neural", contexts=2, actions=2)
    mu = torch.full((2, 2), 0.5, dtype=torch.float64)
    with pytest.raises(InputError, match="NeuralClass"):
        local_lower_bound(
            problem.reward_class,
            problem.bandit.rho,
            problem.bandit.reward,
            pair_law(mu),
            torch.tensor([9]),
        )


def test_ridge_form_bounds_every_members_claim_and_its_price_is_the_minimum_it_says():
    rng = np.random.default_rng(5)
    features = torch.from_numpy(rng.standard_normal((3, 3, 4)))
    rho, mu = (torch.from_numpy(rng.dirichlet(np.ones(3), size)) for size in (None, 3))
    policy = torch.eye(3, dtype=torch.float64)
    ridge, bound, kappa, lam = 0.05, 0.8, 7.0, 3.0
    c = float(ridge_concentrability(features, rho, pair_law(mu), policy, mu, ridge))
    weight = rho[:, None] * (policy - mu)
    for _ in range(200):
        a, b = (torch.from_numpy(rng.standard_normal(4)) for _ in range(2))
        a, b = a / a.norm() * bound, b / b.norm() * bound
        difference = features @ (a - b)
        margins = difference[:, :, None] - difference[:, None, :]
        seen = float((rho[:, None, None] * pair_law(mu) * margins**2).sum())
        claim = float((weight * difference).sum()) ** 2
        assert claim <= c * (seen + ridge * float(((a - b) ** 2).sum())) * (1 + 1e-9)
    v = torch.linspace(0, 50, 2_000_001, dtype=torch.float64)
    worst = float((lam * v - 2 * (c * (kappa * v + ridge * bound**2)).sqrt()).min())
    price = float(ridge_statistics(torch.tensor([lam]).double(), ridge, bound, kappa))
    assert -worst <= kappa * c / lam + price + 1e-6
    assert -worst >= 0.5 * (kappa * c / lam)  # the price is not a catch-all


def test_rays_of_the_event_stay_in_the_ball_and_reach_its_edge():
    group = violations.draw_group("kernel", 3, 5)
    found = violations._rays(group.cls, group.truth)
    rows = torch.linalg.pinv(group.cls.features.flatten(0, 1))
    norms = torch.einsum("dz,ksz->ksd", rows, found.flatten(2)).norm(dim=-1)
    assert float(norms.max()) <= group.cls.norm_bound * (1 + 1e-6)
    assert float(norms.max()) >= group.cls.norm_bound * (1 - 1e-6)
    assert len(found) == 6 * violations.DIRECTIONS
