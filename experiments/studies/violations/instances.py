"""Random realizable instances of the theorems: a group shares a class, its instances nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from experiments.engine.study import Cell
from spac_theory.bandit.preferences import PreferenceModel, WinnerCounts, pair_law, winner_law
from spac_theory.bounds.upper import Complexity, covering_complexity
from spac_theory.concentrability.classes import Design, concentrability_of
from spac_theory.keys import generator
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.kernel import KernelClass, matern, polynomial, rbf
from spac_theory.rewards.linear import LinearClass
from spac_theory.saddle.game import Game


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
