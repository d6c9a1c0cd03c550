"""Reward classes against each other."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from experiments.claims import CLAIMS, Outcome
from experiments.engine.setting import Setting, at_coverage
from spac_theory import Game, WinnerCounts, make_algorithm, make_problem
from spac_theory.bandit.preferences import (
    PreferenceModel,
    pair_law,
    sample_winner_counts,
    winner_law,
)
from spac_theory.bounds.lower import local_lower_bound
from spac_theory.learning.needs import featured
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.kernel import KernelClass, polynomial
from spac_theory.saddle.solve import solve_saddle


@CLAIMS.register("linear_kernel_is_linear")
def linear_kernel_is_linear(size: str) -> Outcome:
    """The kernel class of the linear kernel has the game value of the linear class to 1e-8."""
    seeds = 5 if size == "small" else 50
    here = at_coverage("linear", 0.2)
    linear = featured(here.view)
    kernel = KernelClass.of(linear.features, polynomial(1, 0.0), 1.0)
    data = here.data(1000, seeds)
    values = []
    for cls in (linear, kernel):
        game = Game(cls, data, data.n.double().sqrt(), here.view.rho, here.view.baseline)
        certificate = solve_saddle(game, 1e-10).certificate
        values.append((certificate.lower + certificate.upper) / 2)
    difference = float((values[0] - values[1]).abs().max())
    return Outcome(
        difference <= 1e-8, f"largest difference {difference:.1e} over {seeds} data sets"
    )


@CLAIMS.register("grid_approaches_linear")
def grid_approaches_linear(size: str) -> Outcome:
    """A grid of members approaches the linear class.

    A finite class of a grid of linear parameters has a game value that approaches the linear
    class's as the grid is refined, within the Lipschitz bound of the grid.
    """
    steps = (5, 9, 17) if size == "small" else (5, 9, 17, 33)
    problem = make_problem("linear", contexts=5, actions=4, dimension=2)
    here = at_coverage(problem, 0.2)
    cls = featured(here.view)
    data = here.data(300, 5)
    lam = data.n.double().sqrt()
    exact = solve_saddle(Game(cls, data, lam, here.view.rho, here.view.baseline)).certificate.upper
    errors, bounds = [], []
    for count in steps:
        line = torch.linspace(-1, 1, count, dtype=torch.float64)
        theta = torch.tensor(list(itertools.product(line.tolist(), repeat=2)), dtype=torch.float64)
        theta = theta / theta.norm(dim=-1, keepdim=True).clamp_min(1)  # a net of the disc
        members = torch.einsum("fd,xad->fxa", theta, cls.features)
        game = Game(FiniteClass(members), data, lam, here.view.rho, here.view.baseline)
        errors.append(float((solve_saddle(game).certificate.upper - exact).abs().max()))
        # |Δ| moves by at most 2 × the distance to the grid, √2 · step / 2, and G by (1 + λ) of it
        bounds.append(float(2 * (1 + lam.max())) * (2 / (count - 1)) * 2**0.5 / 2)
    falls = all(a > b for a, b in itertools.pairwise(errors))
    holds = falls and all(e <= b for e, b in zip(errors, bounds, strict=True))
    return Outcome(holds, "error " + " → ".join(f"{e:.4f}" for e in errors) + f" at {steps} a side")


@CLAIMS.register("network_recovers_linear")
def network_recovers_linear(size: str) -> Outcome:
    """A network recovers the linear solution.

    On a linear truth with 30,000 comparisons, SPAC with a network as critic reaches the value of
    SPAC with the linear class to 0.02, and its estimated gap is below 0.02.
    """
    seeds = 2 if size == "small" else 20
    network = at_coverage("neural", 0.2)
    linear = at_coverage(make_problem("linear", contexts=10, actions=5, dimension=3), 0.2)
    data = linear.data(30_000, seeds)
    fits = [make_algorithm("spac").fit(p.view, data) for p in (network, linear)]
    losses = [linear.suboptimality(fit.policy.probabilities()) for fit in fits]
    difference = float((losses[0] - losses[1]).abs().max())
    assert fits[0].gap is not None
    gap = float(fits[0].gap.max())
    return Outcome(
        difference <= 0.02 and gap <= 0.02 and fits[0].gap_kind == "estimate",
        f"values differ by at most {difference:.4f} over {seeds} data sets; mean suboptimality "
        f"{float(losses[0].mean()):.4f} (network), {float(losses[1].mean()):.4f} (linear); gap {gap:.4f}",
    )


def worse_of_two(
    here: Setting, n: int, seeds: int, algorithms: tuple[str, ...]
) -> tuple[float, ...]:
    """The maximised two-point bound at `n`, and the worse mean of each algorithm over both problems."""
    bandit, pairs = here.problem.bandit, pair_law(here.behaviour)
    cls = here.problem.reward_class
    found = local_lower_bound(cls, bandit.rho, bandit.reward, pairs, torch.tensor([n]))
    worst = dict.fromkeys(algorithms, 0.0)
    for name, reward in (("truth", bandit.reward), ("rival", found.rival[0])):
        law = winner_law(bandit.rho, pairs, PreferenceModel.from_reward(reward))
        data = sample_winner_counts(law, n, range(seeds), bandit.name, "two-point", name)
        for algorithm in algorithms:
            policy = make_algorithm(algorithm).fit(here.view, data).policy.probabilities()
            gaps = reward.amax(-1, keepdim=True) - reward
            mean = float((bandit.rho[:, None] * policy * gaps).sum((-2, -1)).mean())
            worst[algorithm] = max(worst[algorithm], mean)
    return (float(found.value), *worst.values())


@CLAIMS.register("lower_bound_holds")
def lower_bound_holds(size: str) -> Outcome:
    """No algorithm beats the lower bound at both problems.

    The two-point lower bound, maximised over the class, lies below the worse of the two problems
    it speaks of for SPAC and for greedy maximum likelihood: tabular, linear, kernel and finite
    classes, n from 30 to 1e5, wherever the bound is large enough for the seeds to tell (above R/10 over
    their number; seeds that all happen to be right could contradict a smaller one).
    """
    seeds, sizes = (30, (30, 300)) if size == "small" else (400, (30, 300, 3000, 30_000, 100_000))
    ratios, tested, untested = [], [], 0
    for name in ("tabular", "linear", "kernel", "finite"):
        here = at_coverage(name, 0.2)
        for n in sizes:
            bound, *measured = worse_of_two(here, n, seeds, ("spac", "mle_greedy"))
            if bound < here.problem.reward_class.difference_bound / (10 * seeds):
                untested += 1
                continue
            tested.append(bound)
            ratios += [bound / max(value, 1e-300) for value in measured]
    return Outcome(
        len(tested) >= 4 and max(ratios) <= 1,
        f"{len(ratios)} comparisons of {seeds} seeds: bound/measured up to {max(ratios):.3f}, bounds from "
        f"{min(tested):.1e} to {max(tested):.1e}; {untested} pairs of class and n too small to test",
    )


ORDERED = ("spac", "spac_t", "mle_greedy", "kl_rlhf", "behaviour_cloning", "uniform")


TUNED: dict[str, tuple[dict[str, Any], ...]] = {
    "spac": tuple({"scale": k} for k in (0.3, 1.0, 3.0, 10.0)),
    "spac_t": tuple({"scale": k} for k in (0.3, 1.0, 3.0, 10.0)),
    "mle_greedy": tuple({"ridge": k} for k in (0.1, 1.0, 3.0, 10.0)),
    "kl_rlhf": tuple({"beta": k} for k in (0.01, 0.03, 0.1, 0.3)),
}


def means_of(here: Setting, data: WinnerCounts, truth: Setting, tuned: bool) -> dict[str, float]:
    """Mean suboptimality of every algorithm of `ORDERED` on the same data; tuned: at its best option."""
    rounds = {"spac_t": {"iterations": 30}}
    means = {}
    for name in ORDERED:
        options = TUNED.get(name, ({},)) if tuned else ({},)
        makers = [make_algorithm(name, **rounds.get(name, {}), **chosen) for chosen in options]
        policies = [maker.fit(here.view, data).policy.probabilities() for maker in makers]
        means[name] = min(float(truth.suboptimality(policy).mean()) for policy in policies)
    return means


def worst_reversal(ours: dict[str, float], theirs: dict[str, float]) -> tuple[float, str]:
    """The pair most clearly ordered one way in `theirs` and the other way in `ours`: by how much, who."""
    worst, which = 0.0, "none"
    for a, b in itertools.permutations(ours, 2):
        by = min(ours[a] - ours[b], theirs[b] - theirs[a])
        if by > worst:
            worst, which = by, f"{a} over {b}"
    return worst, which


def order_kept(size: str, tuned: bool) -> Outcome:
    """Sweep coverage and n with the linear class and with networks, and compare the orders."""
    small = size == "small"
    seeds = 4 if small else 20 if tuned else 30
    shares = (0.2, 0.5)[tuned:] if small else (0.05, 0.1, 0.2, 0.5)
    sizes = (10_000,) if small else (1000, 10_000)
    worst, text = 0.0, []
    for share in shares:
        linear = at_coverage(make_problem("linear", contexts=10, actions=5, dimension=3), share)
        network = at_coverage("neural", share)
        found = []
        for n in sizes:
            data = linear.data(n, seeds)
            exact = means_of(linear, data, linear, tuned)
            found.append((*worst_reversal(means_of(network, data, linear, tuned), exact), n))
        reversal, which, n = max(found)
        worst = max(worst, reversal)
        text.append(f"coverage {share:g}: {reversal:.4f} ({which}, n = {n})")
    count = f"{len(shares)} × {len(sizes)} cells of {seeds} seeds"
    return Outcome(worst <= 0.02, f"worst reversal in {count}: " + "; ".join(text))


@CLAIMS.register("network_keeps_the_order")
def network_keeps_the_order(size: str) -> Outcome:
    """A network keeps the order of the algorithms, at every coverage.

    A sweep of coverage and n on a linear truth, once with the linear class and once with networks: no two
    of SPAC, SPAC-T, greedy maximum likelihood, KL-RLHF, behaviour cloning and uniform are ordered one
    way by the one and the other way by the other, by more than 0.02 in both.
    """
    return order_kept(size, tuned=False)


@CLAIMS.register("network_keeps_the_order_tuned")
def network_keeps_the_order_tuned(size: str) -> Outcome:
    """A network keeps the order of the algorithms when each has its own best option.

    The same sweep, every algorithm at the best of four values of its main option in each cell and for
    each class. (A class with a larger `C` asks for a larger `λ`: at `λ = √n` the order is not kept where
    coverage is low, see `network_keeps_the_order`. This claim was made after that one had failed.)
    """
    return order_kept(size, tuned=True)
