"""(T3) and (T4) on random games where every term is exact.

A class is a handful of tables, so the critic's best answer, its gap, `C` and the event (H) are
enumerated. Critics are made to answer badly and policies to be projected badly, on purpose.
Run it as `python -m tests.theory.self_play` for the counts on the theory page.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from experiments.claims.games.instances import random_simplex
from spac_theory import PreferenceModel, pair_law, sample_winner_counts, winner_law
from spac_theory.bounds.self_play import (
    PlayTerms,
    best_step,
    fit_terms,
    play_terms,
    relative_entropy,
    total_variation,
)
from spac_theory.bounds.upper import finite_complexity, upper_bound
from spac_theory.concentrability.classes import Design, claimed, concentrability_of, ratio
from spac_theory.keys import generator
from spac_theory.objective import (
    tabular_game,
    tabular_margins,
    tabular_preference_loss,
    tabular_relative_value,
)
from spac_theory.rewards.finite import FiniteClass

DELTA = 0.1


@dataclass(frozen=True)
class Instance:
    """A random realizable problem: the truth is `members[0]`; `fraction` are winner counts over `n`."""

    index: int
    members: Tensor
    rho: Tensor
    behaviour: Tensor
    baseline: Tensor
    comparator: Tensor
    start: Tensor
    fraction: Tensor
    n: Tensor
    lam: float

    @property
    def truth(self) -> Tensor:
        return self.members[0]

    @property
    def bound(self) -> float:
        """`R`."""
        return FiniteClass(self.members).difference_bound


def instance(index: int) -> Instance:
    """Instance `index`: up to 3 contexts, 5 actions, 20 members, a million pairs."""
    rng = generator("self-play", index)
    x, a, count = int(rng.integers(1, 4)), int(rng.integers(2, 6)), int(rng.integers(2, 20))
    members = torch.from_numpy(rng.standard_normal((count, x, a)) * rng.uniform(0.1, 2))
    rho, behaviour = random_simplex(rng, x), random_simplex(rng, x, a)
    n = int(10 ** rng.uniform(1, 6))
    law = winner_law(rho, pair_law(behaviour), PreferenceModel.from_reward(members[0]))
    data = sample_winner_counts(law, n, [index], "self-play")
    best = one_hot(members[0].argmax(-1), a).double()
    return Instance(
        index,
        members,
        rho,
        behaviour,
        random_simplex(rng, x, a) if rng.random() < 0.5 else behaviour,
        random_simplex(rng, x, a, sparse=True) if rng.random() < 0.3 else best,
        random_simplex(rng, x, a),
        data.fraction[0],
        data.n,
        math.sqrt(n) * float(10 ** rng.uniform(-1, 1)),
    )


def play(problem: Instance, labels: Tensor) -> tuple[float, PlayTerms]:
    """`J(π_c) − J(π̄)` after some rounds against winner fractions `labels`, and `ε_opt`."""
    rng = generator("rounds", problem.index)
    rounds, members = int(rng.integers(1, 40)), problem.members
    spoil, sloppy = float(rng.choice([0.0, 0.1, 1.0])), float(rng.choice([0.0, 0.3, 1.0]))
    stray = random_simplex(rng, *problem.start.shape)
    width = float(relative_entropy(problem.comparator, problem.start, problem.rho))
    eta = best_step(problem.bound, width + 1e-3, rounds) * float(10 ** rng.uniform(-1, 1))
    logits, mixture, distances, gaps = problem.start.log(), 0, [], []
    for _ in range(rounds):
        ideal = torch.softmax(logits, -1)
        policy = (1 - spoil) * ideal + spoil * stray
        values = tabular_game(members, policy, problem.baseline, problem.rho, labels, problem.lam)
        best = int(values.argmin())
        answer = int(rng.integers(len(members))) if rng.random() < sloppy else best
        mixture = mixture + policy / rounds
        distances.append(total_variation(ideal, policy, problem.rho))
        gaps.append(values[answer] - values[best])
        logits = logits + eta * members[answer]
    lost = tabular_relative_value(problem.truth, problem.comparator, mixture, problem.rho)
    terms = play_terms(problem.bound, width, eta, torch.stack(distances), torch.stack(gaps))
    return float(lost), terms


def label_laws(fit: Tensor, truth: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Means over pairs of `KL(fit‖truth)` and `h²(fit, truth)` between the two laws of a label."""
    p, q = (torch.sigmoid(tabular_margins(r)) for r in (fit, truth))
    both = ((p, q), (1 - p, 1 - q))
    total = (-3, -2, -1)
    divergence = sum((weight * a * (a / b).log()).sum(total) for a, b in both)
    return divergence, sum((weight * (a.sqrt() - b.sqrt()) ** 2).sum(total) for a, b in both)


def third_theorem(problem: Instance) -> tuple[float, dict[str, float], bool]:
    """`J(π_c) − J(π̄)`, the terms of (T3), and whether the event (H) holds."""
    pairs = pair_law(problem.behaviour)
    design = Design(problem.truth, problem.rho, pairs, problem.baseline)
    c = concentrability_of(FiniteClass(problem.members), design, problem.comparator).value
    size = finite_complexity(len(problem.members), problem.n, DELTA)
    terms = upper_bound(problem.bound, c, size, torch.tensor([problem.lam]).double())
    lost, rest = play(problem, problem.fraction)
    losses = tabular_preference_loss(problem.members, problem.fraction)
    seen = label_laws(problem.members, problem.truth, problem.rho[:, None, None] * pairs)[1]
    event = bool((seen <= losses - losses[0] + size.epsilon_n + 1e-12).all())
    parts = {"coverage": float(terms.coverage), "statistics": float(terms.statistics)}
    return lost, parts | vars(rest), event


def fourth_theorem(problem: Instance) -> tuple[float, dict[str, float]]:
    """`J(π_c) − J(π̄)` and the terms of (T4), with the best member, jolted, as the fit."""
    rng = generator("fit", problem.index)
    losses = tabular_preference_loss(problem.members, problem.fraction)
    jolt = torch.from_numpy(rng.standard_normal(problem.truth.shape)) * rng.choice([0, 0.1, 1.0])
    fit = problem.members[losses.argmin()] + jolt
    weight = (problem.fraction + problem.fraction.mT) / 2
    labels = 2 * weight * torch.sigmoid(tabular_margins(fit))
    apart = problem.members - fit
    design = Design(fit, problem.rho, weight, problem.baseline)
    look = (weight * tabular_margins(apart) ** 2).sum((-3, -2, -1))
    scale = tabular_margins(apart).amax((-3, -2, -1))
    c = float(ratio(claimed(apart, design, problem.comparator), look, scale).max())
    bound = max(problem.bound, float(tabular_margins(fit).max()))
    divergence, hellinger = label_laws(fit, problem.truth, weight)
    first = fit_terms(bound, c, problem.lam, float(divergence), float(hellinger))
    lost, rest = play(problem, labels)
    return lost, vars(first) | vars(rest)


def violations(instances: range) -> dict[str, tuple[int, int, float]]:
    """By theorem: instances, violations, and the largest share of loss in bound."""
    counts = {}
    for name in ("(T3) on (H)", "(T4)"):
        ratios = []
        for problem in map(instance, instances):
            if name == "(T4)":
                lost, parts = fourth_theorem(problem)
            else:
                lost, parts, event = third_theorem(problem)
                if not event:
                    continue
            ratios.append(lost / sum(parts.values()))
        counts[name] = (len(ratios), sum(r > 1 for r in ratios), max(ratios))
    return counts


def main() -> None:
    """Print the counts of 4,000 instances."""
    torch.set_grad_enabled(False)
    for name, (tried, failed, largest) in violations(range(4_000)).items():
        print(f"{name}: {failed} violations of {tried}, loss at most {largest:.3f} of the bound")


if __name__ == "__main__":
    main()
