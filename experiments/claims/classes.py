"""Reward classes against each other."""

from __future__ import annotations

import itertools

import torch

from experiments.claims import CLAIMS, Outcome
from experiments.trials import Place, place
from spac_theory import Game, LinearClass, make_algorithm, make_problem
from spac_theory.lower_bound import local_lower_bound
from spac_theory.preferences import PreferenceModel, pair_law, sample_winner_counts, winner_law
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.kernel import KernelClass, polynomial
from spac_theory.saddle.solve import solve_saddle


@CLAIMS.register("linear_kernel_is_linear")
def linear_kernel_is_linear(size: str) -> Outcome:
    """The kernel class of the linear kernel has the game value of the linear class to 1e-8."""
    seeds = 5 if size == "small" else 50
    here = place("linear", 0.2)
    linear = here.problem.reward_class
    assert isinstance(linear, LinearClass)
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
    here = place(problem, 0.2)
    cls = problem.reward_class
    assert isinstance(cls, LinearClass)
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
    network = place("neural", 0.2)
    linear = place(make_problem("linear", contexts=10, actions=5, dimension=3), 0.2)
    data = linear.data(30_000, seeds)
    fits = [make_algorithm("spac").fit(p.view, data) for p in (network, linear)]
    losses = [linear.suboptimality(fit.policy.probabilities()) for fit in fits]
    difference = float((losses[0] - losses[1]).abs().max())
    assert fits[0].gap is not None
    gap = float(fits[0].gap.max())
    return Outcome(
        difference <= 0.02 and gap <= 0.02 and fits[0].certified == "estimate",
        f"values differ by at most {difference:.4f} over {seeds} data sets; mean suboptimality "
        f"{float(losses[0].mean()):.4f} (network), {float(losses[1].mean()):.4f} (linear); gap {gap:.4f}",
    )


def worse_of_two(here: Place, n: int, seeds: int, algorithms: tuple[str, ...]) -> tuple[float, ...]:
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
    """The lower bound lies below what it bounds.

    The two-point lower bound, maximised over the class, lies below the worse of the two problems
    it speaks of for SPAC and for greedy maximum likelihood: tabular, linear, kernel and finite
    classes, n from 100 to 1e5.
    """
    seeds, sizes = (30, (100, 3000)) if size == "small" else (400, (100, 1000, 10_000, 100_000))
    algorithms = ("spac", "mle_greedy")
    ratios, lowest = [], []
    for name in ("tabular", "linear", "kernel", "finite"):
        here = place(name, 0.2)
        for n in sizes:
            bound, *measured = worse_of_two(here, n, seeds, algorithms)
            # a mean of 0 over S data sets only says that the expectation is below 3R/S (95 %)
            resolution = 3 * here.view.reward_class.difference_bound / seeds
            ratios += [bound / (value or resolution) for value in measured]
            lowest.append(bound)
    return Outcome(
        max(ratios) <= 1 and max(lowest) > 0,
        f"{len(ratios)} comparisons of {seeds} seeds: bound/measured up to {max(ratios):.3f}; bounds "
        f"from {min(lowest):.1e} to {max(lowest):.1e}",
    )
