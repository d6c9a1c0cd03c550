"""Random realizable instances, and how far each is from where the theorem would fail."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from experiments.common.configuration import WHOLE, Count, Probability
from experiments.engine.columns import flag, real, text
from experiments.engine.study import Cell, Columns
from spac_theory import checks
from spac_theory.bandit.preferences import PreferenceModel, WinnerCounts, pair_law, winner_law
from spac_theory.bounds.constraint import constraint_bound
from spac_theory.bounds.upper import Complexity, covering_complexity
from spac_theory.concentrability.classes import Design, concentrability_of
from spac_theory.keys import generator
from spac_theory.links import BRADLEY_TERRY
from spac_theory.objective import tabular_margins, tabular_preference_loss
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.kernel import KernelClass, matern, polynomial, rbf
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


@dataclass(frozen=True)
class Group:
    """Random instances that share a class, context weights and a baseline.

    `truth`, `behaviour` are `(S, X, A)`; `n` and `share` (of `λ*`) are `(S,)`.
    """

    cls: FiniteClass | LinearClass
    rho: Tensor
    baseline: Tensor
    truth: Tensor
    behaviour: Tensor
    n: Tensor
    share: Tensor


def _class(
    kind: str, rng: np.random.Generator, shape: tuple[int, int]
) -> FiniteClass | LinearClass:
    """A random class with `R` of order 1."""
    size = float(rng.uniform(0.3, 1.5))
    if kind == "finite":
        members = int(rng.integers(2, 33))
        return FiniteClass(torch.from_numpy(rng.uniform(-size, size, (members, *shape))))
    dimension = int(rng.integers(1, 6))
    points = torch.from_numpy(rng.standard_normal((*shape, dimension)))
    if kind == "linear":
        return LinearClass(points / points.norm(dim=-1, keepdim=True), norm_bound=size)
    options = (
        rbf(float(rng.uniform(0.5, 3))),
        matern(1.5, float(rng.uniform(0.5, 3))),
        polynomial(2),
    )
    kernel = options[int(rng.integers(3))]
    flat = points.flatten(0, 1)
    largest = float(kernel(flat, flat).diagonal().max().sqrt())
    return KernelClass.of(points, kernel, size / largest)


def _truths(cls: FiniteClass | LinearClass, rng: np.random.Generator, count: int) -> Tensor:
    """Members: of a ball one in three on the boundary, the others anywhere inside."""
    if isinstance(cls, FiniteClass):
        return cls.members[torch.from_numpy(rng.integers(0, len(cls.members), count))]
    assert cls.norm_bound is not None
    theta = torch.from_numpy(rng.standard_normal((count, cls.dimension)))
    inside = np.where(rng.uniform(size=count) < 1 / 3, 1.0, rng.uniform(size=count))
    theta = theta / theta.norm(dim=-1, keepdim=True) * torch.from_numpy(inside)[:, None]
    return torch.einsum("sd,xad->sxa", cls.norm_bound * theta, cls.features)


def draw_group(kind: str, index: int, count: int) -> Group:
    """Group `index` of a kind of class: `count` instances of 1 to 5 contexts, 2 to 4 actions."""
    rng = generator("violations", kind, index)
    shape = (int(rng.integers(1, 6)), int(rng.integers(2, 5)))
    cls = _class(kind, rng, shape)
    spread = 10 ** rng.uniform(-1, 1, (count, 1, 1))
    gamma = rng.standard_gamma(np.broadcast_to(spread, (count, *shape))) + 1e-4
    behaviour = torch.from_numpy(gamma / gamma.sum(-1, keepdims=True))
    return Group(
        cls,
        torch.from_numpy(rng.dirichlet(np.full(shape[0], 2.0))),
        torch.from_numpy(rng.dirichlet(np.ones(shape[1]), shape[0])),
        _truths(cls, rng, count),
        behaviour,
        torch.from_numpy((10 ** rng.uniform(0.5, 6, count)).astype(np.int64)),
        torch.from_numpy(10 ** rng.uniform(-1.5, 1, count)),
    )


def draw_data(group: Group, kind: str, index: int) -> WinnerCounts:
    """One data set for each instance."""
    rng = generator("violations", "data", kind, index)
    rows = []
    for truth, mu, n in zip(group.truth, group.behaviour, group.n.tolist(), strict=True):
        law = winner_law(group.rho, pair_law(mu), PreferenceModel.from_reward(truth))
        cells = law.flatten().numpy()
        rows.append(torch.from_numpy(rng.multinomial(n, cells / cells.sum())).reshape(law.shape))
    return WinnerCounts(torch.stack(rows))


@dataclass(frozen=True)
class Instances:
    """A group with its data, the comparator `best (S, X, A)`, its `C (S,)`, and `ε_n`."""

    group: Group
    data: WinnerCounts
    best: Tensor
    concentrability: Tensor
    size: Complexity

    def game(self, lam: Tensor) -> Game:
        """The game (3) of every instance."""
        group = self.group
        return Game(group.cls, self.data, lam, group.rho, group.baseline)

    def loss(self, policy: Tensor) -> Tensor:
        """`J(π_c) − J(π)`, `(S,)`."""
        gain = (self.best - policy) * self.group.truth
        return (self.group.rho[:, None] * gain).sum((-2, -1))


def draw_instances(settings: Cell) -> Instances:
    """The instances of a cell."""
    kind, index = settings["class"], settings["group"]
    group = draw_group(kind, index, settings["instances"])
    best = torch.nn.functional.one_hot(group.truth.argmax(-1), group.truth.shape[-1]).double()
    size = covering_complexity(group.cls, group.n, settings["delta"])
    c = [
        concentrability_of(
            group.cls, Design(truth, group.rho, pair_law(mu), group.baseline), policy
        ).value
        for truth, mu, policy in zip(group.truth, group.behaviour, best, strict=True)
    ]
    c_tensor = torch.tensor(c, dtype=torch.float64)
    return Instances(group, draw_data(group, kind, index), best, c_tensor, size)


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
