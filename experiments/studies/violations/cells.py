"""Random realizable instances, and how far each is from where the theorem would fail."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from experiments.common.configuration import WHOLE, Count, Probability
from experiments.engine.columns import flag, real, text
from experiments.engine.study import Cell, Columns
from experiments.studies.violations.instances import Group, Instances, draw_instances
from spac_theory import checks
from spac_theory.bandit.preferences import WinnerCounts, pair_law
from spac_theory.bounds.constraint import constraint_bound
from spac_theory.bounds.upper import Complexity
from spac_theory.links import BRADLEY_TERRY
from spac_theory.objective import tabular_margins, tabular_preference_loss
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.linear import LinearClass
from spac_theory.saddle.constrained import constrained_saddle
from spac_theory.saddle.game import Game
from spac_theory.saddle.solve import solve_saddle

CLASSES = ("finite", "linear", "kernel")
DIRECTIONS = 12
ROUNDING = 1e-12
COLUMNS = {
    "reward_class": text("kind of the random class: finite, linear or kernel"),
    "t1": real("", "suboptimality over the bound (T1); above 1 it is violated"),
    "textbook": real("", "suboptimality over (T1) with κ² in place of 4κ"),
    "t2": real("", "suboptimality of the constraint form over (T2); above 1 it is violated"),
    "t2_gap": real("reward", "certified gap of the constrained game"),
    "t2_useful": flag("whether (T2) is below R"),
    "h": real("", "largest ratio of the two sides of the event (H); above 1 it fails"),
    "useful": flag("whether (T1) is below R"),
}


@dataclass(frozen=True)
class Settings:
    """The configuration `violations`."""

    instances: Annotated[int, WHOLE, Field(ge=3, le=10**7)]
    per_group: Count
    delta: Probability
    store: str


def hellinger(group: Group, reward: Tensor) -> Tensor:
    """`h²(r)` of rewards `(..., S, X, A)` against each truth, `(..., S)`."""
    ours, theirs = tabular_margins(reward), tabular_margins(group.truth)
    p, q = torch.sigmoid(ours), torch.sigmoid(theirs)
    cell = (p.sqrt() - q.sqrt()) ** 2 + ((1 - p).sqrt() - (1 - q).sqrt()) ** 2
    pairs = group.rho[:, None, None] * pair_law(group.behaviour)
    return (pairs * cell).sum((-3, -2, -1))


def event_h(group: Group, data: WinnerCounts, candidates: Tensor, size: Complexity) -> Tensor:
    """Largest `h(r) / (√(E_D(r) − E_D(r*) + ε_n)_+ + ε/2)` of candidates `(K, S, X, A)`, `(S,)`.

    At most 1 on the event (H): every `r` is within `ε/2` in Hellinger distance of a point of the
    net. For a finite class `ε = 0` and the candidates are all members.
    """
    truth = tabular_preference_loss(group.truth, data.fraction)
    excess = torch.stack([tabular_preference_loss(r, data.fraction) for r in candidates]) - truth
    allowed = (excess + size.epsilon_n).clamp_min(0).sqrt() + size.net_radius / 2
    distance = hellinger(group, candidates).clamp_min(0).sqrt()
    return torch.where(distance > 1e-9, distance / allowed.clamp_min(1e-300), 0.0).amax(0)


def _candidates(group: Group, game: Game, critic: Tensor, best: Tensor) -> Tensor:
    """Members at which (H) is tried: all of a finite class, else those that the proof and data favour.

    For a ball: the critic of the saddle, the members that minimise `E_D` plus or minus shrinking multiples
    of the comparator's claim (the last of them the likeliest member), and around the truth and around the
    likeliest member the two ends of the ball in `DIRECTIONS` random directions and points on the way, in
    the parameters: `1 + 6 + 2 · 2 · 3 · DIRECTIONS` members.
    """
    cls = group.cls
    if isinstance(cls, FiniteClass):
        return cls.members[:, None].expand(-1, len(group.n), -1, -1)
    fraction, one = game.data.fraction, torch.ones_like(game.lam)
    towards = group.rho[:, None] * (best - group.baseline)
    found = [critic]
    for lam in (game.lam, 10 * game.lam, 1e6 * one):
        for sign in (1.0, -1.0):
            answer = cls.best_response(sign * towards, lam, fraction, BRADLEY_TERRY, 1e-4)
            found.append(answer.reward)
    return torch.cat([torch.stack(found), _rays(cls, group.truth, found[-1])])


def _rays(cls: LinearClass, *centres: Tensor) -> Tensor:
    """Members on random rays from each centre `(S, X, A)` to the edge of the ball, `(K, S, X, A)`."""
    assert cls.norm_bound is not None
    rows = cls.features.flatten(0, 1)
    inverse = torch.linalg.pinv(rows)
    rng = torch.Generator().manual_seed(0)
    shape = (DIRECTIONS, 1, cls.dimension)
    way = torch.nn.functional.normalize(
        torch.randn(shape, generator=rng, dtype=torch.float64), dim=-1
    )
    found = []
    for centre in centres:
        theta = centre.flatten(1) @ inverse.T  # (S, d)
        along = (theta * way).sum(-1)  # (K, S)
        left = (cls.norm_bound**2 - (theta**2).sum(-1)).clamp_min(0)
        for sign in (1.0, -1.0):
            reach = (along**2 + left).sqrt() - sign * along
            for share in (1.0, 0.3, 0.03):
                found.append((theta + sign * share * reach.unsqueeze(-1) * way) @ rows.T)
    return torch.cat(found).unflatten(-1, cls.shape)


def constraint_ratio(drawn: Instances) -> Columns:
    """Measured over (T2) for every instance, infinite where the solver gave no number."""
    group, size, c = drawn.group, drawn.size, drawn.concentrability
    solved = constrained_saddle(drawn.game(torch.zeros_like(c)), size.epsilon_n, 1e-7)
    gap, bound = solved.saddle.certificate.gap, group.cls.difference_bound
    # Each instance has a `C` of its own, so (T2) is put together here from its terms at `C = 1`.
    unit = constraint_bound(bound, 1.0, size, solved.fit_gap, gap)
    total = unit.statistics * c.sqrt() + unit.net * c.sqrt().clamp_max(1) + gap
    ratio = drawn.loss(solved.saddle.policy) / (total + ROUNDING)
    return {
        "t2": torch.where(torch.isnan(ratio), torch.inf, ratio).tolist(),
        "t2_gap": gap.tolist(),
        "t2_useful": (total < bound).tolist(),
    }


def compute_constraint(settings: Cell) -> Columns:
    """(T2) alone: what its claim needs."""
    return {**constraint_ratio(draw_instances(settings)), "reward_class": settings["class"]}


def compute(settings: Cell) -> Columns:
    """Measured over bound for every instance of a group."""
    drawn = draw_instances(settings)
    group, size, c = drawn.group, drawn.size, drawn.concentrability
    k = BRADLEY_TERRY.kappa(group.cls.difference_bound)
    known = torch.where(torch.isfinite(c) & (c > 0), c, 1.0)
    lam = group.share * (k * known / size.epsilon_n).sqrt()
    game = drawn.game(lam)
    saddle = solve_saddle(game, 1e-7)
    loss = drawn.loss(saddle.policy)
    rest = (
        lam * size.epsilon_n + 2 * size.net_radius * c.sqrt().clamp_max(1) + saddle.certificate.gap
    )
    bounds = {"t1": k * c / lam + rest, "textbook": k**2 / 4 * c / lam + rest}
    candidates = _candidates(group, game, saddle.reward, drawn.best)
    inside = event_h(group, drawn.data, candidates, size)
    for name, number in {**bounds, "h": inside, "suboptimality": loss}.items():
        checks.is_number(name, number)
    return {
        **{name: (loss / bound).tolist() for name, bound in bounds.items()},
        **constraint_ratio(drawn),
        "h": inside.tolist(),
        "suboptimality": loss.tolist(),
        "concentrability": c.tolist(),
        "n": group.n.tolist(),
        "gap": saddle.certificate.gap.tolist(),
        "lam": lam.tolist(),
        "useful": (bounds["t1"] < group.cls.difference_bound).tolist(),
        "reward_class": settings["class"],
        "delta": settings["delta"],
    }


def cells_of(instances: int, per_group: int, delta: float) -> list[Cell]:
    """Groups of each class, at least `instances` instances in all."""
    groups = math.ceil(instances / per_group / len(CLASSES))
    return [
        {"class": kind, "group": index, "instances": per_group, "delta": delta}
        for kind in CLASSES
        for index in range(groups)
    ]


def cells(settings: Settings) -> list[Cell]:
    """All groups that a configuration asks for."""
    return cells_of(settings.instances, settings.per_group, settings.delta)
