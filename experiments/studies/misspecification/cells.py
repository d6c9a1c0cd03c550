"""Two instances whose truth leaves the class by `ε`, SPAC on each, and two bounds.

In both `r* = φθ* + ε g` with `sup |Δ_g| = 1`, so the closest member is within `ε`.

`trap`: the data compare a faint relative of an action that they never show, and the class reads the one
from the other. With `ε` the relative looks better than the class thinks it can, the likelihood's favourite
`r°` says that the action is good, and at large `λ` the learner believes it: the loss grows with `λ` and
with `ε`, up to a plateau.
`spread`: a random pattern outside the span of the features, which nothing amplifies.

Two bounds are checked: (T1) with the misspecification term, which grows with `λ`, and (T1) around `r°`, whose
price `ε° = sup|Δ_{r*} − Δ_{r°}|` does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from experiments.common.configuration import Comparisons, Count, Positive, Probability, Several
from experiments.engine.columns import real, text
from experiments.engine.setting import Setting, at_coverage
from experiments.engine.study import Cell, Columns
from spac_theory import (
    InputError,
    checks,
    make_algorithm,
    pair_law,
)
from spac_theory.bandit.contextual import ContextualBandit
from spac_theory.bounds.loosened import misspecification
from spac_theory.bounds.projection import distance, projected_complexity, projection
from spac_theory.bounds.upper import covering_complexity, upper_bound
from spac_theory.concentrability.classes import Design, concentrability_of
from spac_theory.concentrability.coverage import Coverage
from spac_theory.concentrability.linear import AllPolicy
from spac_theory.learning.needs import featured
from spac_theory.learning.trials import make_trial
from spac_theory.problems import Problem, uniform_profile
from spac_theory.rewards.linear import LinearClass

INSTANCES = ("trap", "spread")
FAINT = 0.1
TRAP_CONTEXTS = 8
Epsilons = Several[Annotated[float, Field(ge=0)]]
COLUMNS = {
    "instance": text("trap or spread"),
    "epsilon": real(
        "reward", "ε, how far the true reward leaves the span of the features, sup |Δ|"
    ),
    "term": real("reward", "what misspecification adds to (T1) in `bound_upper`"),
    "bound_projected": real("reward", "(T1) around r°, the class's own limit of the likelihood"),
    "projected_distance": real("reward", "ε° = sup |Δ_r* − Δ_r°|"),
}


@dataclass(frozen=True)
class Dials:
    """`ε` on each instance; an instance left out is not run."""

    trap: Epsilons | None = None
    spread: Epsilons | None = None


@dataclass(frozen=True)
class Settings:
    """The configuration `misspecification`."""

    dials: Dials
    n: Several[Comparisons]
    seeds: Count
    scale: Positive
    coverage: Probability
    delta: Probability
    store: str

    def __post_init__(self) -> None:
        if self.dials == Dials():
            raise InputError("dials is empty; it needs values of ε for trap, spread or both.")


def cells(settings: Settings) -> list[Cell]:
    """Every instance, `ε` and sample size; each instance is built, so that a bad one is refused here."""
    common = {name: getattr(settings, name) for name in ("seeds", "scale", "delta", "coverage")}
    chosen = [
        (name, epsilon) for name in INSTANCES for epsilon in getattr(settings.dials, name) or ()
    ]
    for name, epsilon in chosen:
        missed(name, epsilon, settings.coverage, settings.delta)
    return [
        {"instance": name, "epsilon": float(epsilon), "n": n, **common}
        for name, epsilon in chosen
        for n in settings.n
    ]


def outside(features: Tensor) -> Tensor:
    """A pattern `g (X, A)` orthogonal to the span of features and shifts, with `sup |Δ_g| = 1`."""
    contexts, actions, _ = features.shape
    shifts = torch.eye(contexts, dtype=torch.float64).repeat_interleave(actions, 0)
    basis = torch.cat([features.flatten(0, 1), shifts], -1)
    random = torch.randn(
        contexts * actions, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    fitted = basis @ torch.linalg.lstsq(basis, random[:, None], driver="gelsd").solution
    g = (random - fitted.squeeze(-1)).reshape(contexts, actions)
    return g / (g.amax(-1) - g.amin(-1)).max()


class Misspecified(Problem):
    """A problem whose class does not hold its reward; it says so by its type."""

    def __post_init__(self) -> None:
        """Nothing to check: that is the point."""


@dataclass(frozen=True)
class Instance:
    """A class, its member closest to the truth, and the pattern by which the truth leaves it."""

    reward_class: LinearClass
    member: Tensor
    pattern: Tensor
    rho: Tensor
    name: str


def spread(share: float) -> tuple[Instance, Tensor]:
    """The `linear` problem and the `coverage` behaviour at `share`."""
    here = at_coverage("linear", share)
    bandit = here.problem.bandit
    pattern = outside(bandit.features)
    found = Instance(featured(here.view), bandit.reward, pattern, bandit.rho, bandit.name)
    return found, here.behaviour


def trap(share: float) -> tuple[Instance, Tensor]:
    """Actions: good (`φ = (c_x, 0)`), plain (0), the trap `(0, 1)`, its faint relative `(0, FAINT)`.

    `θ* = (1, −1)`: the trap is the worst action. The behaviour plays the good action with probability
    `share`, never the trap, and the other two alike.
    """
    contexts = TRAP_CONTEXTS
    features = torch.zeros(contexts, 4, 2, dtype=torch.float64)
    features[:, 0, 0] = torch.linspace(0.1, 0.9, contexts, dtype=torch.float64)
    features[:, 2, 1], features[:, 3, 1] = 1.0, FAINT
    member = features @ torch.tensor([1.0, -1.0], dtype=torch.float64)
    pattern = torch.zeros(contexts, 4, dtype=torch.float64)
    pattern[:, 3] = 1.0
    rho = torch.full((contexts,), 1 / contexts, dtype=torch.float64)
    rest = (1 - share) / 2
    mu = torch.tensor([[share, rest, 0.0, rest]] * contexts, dtype=torch.float64)
    return Instance(LinearClass(features, norm_bound=2.0), member, pattern, rho, "trap"), mu


def missed(name: str, epsilon: float, share: float, delta: float) -> Setting:
    """An instance with its truth moved out of the class by `epsilon`; `C` is the class's own."""
    checks.choice("instance", name, INSTANCES)
    instance, mu = {"trap": trap, "spread": spread}[name](share)
    bandit = ContextualBandit(
        rho=instance.rho,
        features=instance.reward_class.features,
        reward=instance.member + epsilon * instance.pattern,
        name=f"{instance.name}-missed-{epsilon:g}",
    )
    problem = Misspecified(bandit, instance.reward_class, uniform_profile(*bandit.shape))
    design = Design(instance.member, bandit.rho, pair_law(mu), mu)
    c = concentrability_of(instance.reward_class, design, bandit.optimal_policy)
    known = Coverage(c.value, AllPolicy(0.0, float("inf")), c.kind)
    return Setting.of(replace(make_trial(problem, mu, delta=delta), known=known))


def projected_distance(here: Setting) -> float:
    """`ε° = sup|Δ_{r*} − Δ_{r°}|`, and `r°` from the exact law of a label."""
    return distance(here.problem.bandit.reward, projection(here.view.reward_class, here.law))


def compute(cell: Cell) -> Columns:
    """Suboptimality of SPAC at `λ = scale √n`, both bounds, and what each adds to (T1)."""
    epsilon, delta = cell["epsilon"], cell["delta"]
    here = missed(cell["instance"], epsilon, cell["coverage"], delta)
    data = here.data(cell["n"], cell["seeds"])
    fit = make_algorithm("spac", scale=cell["scale"]).fit(here.view, data)
    cls, reward, link = here.view.reward_class, here.problem.bandit.reward, here.view.link
    assert fit.lam is not None
    assert fit.gap is not None
    c, far = here.coverage.single, projected_distance(here)
    # κ must bound |Δ_{r*}| too, and the truth may leave the range of the class.
    r = max(cls.difference_bound, float((reward.amax(-1) - reward.amin(-1)).max()))
    size = covering_complexity(cls, data.n, delta, link)
    bound = upper_bound(r, c, size, fit.lam, fit.gap, link).total
    term = misspecification(epsilon, fit.lam, data.n, delta, r, c, link)
    around = projected_complexity(cls, data.n, delta)
    projected = upper_bound(cls.difference_bound, c, around, fit.lam, fit.gap).total + far
    return {
        "suboptimality": here.suboptimality(fit.policy.probabilities()).tolist(),
        "bound_upper": (bound + term).tolist(),
        "bound_projected": projected.tolist(),
        "term": term.tolist(),
        "projected_distance": far,
        "lam": fit.lam.tolist(),
        "gap": fit.gap.tolist(),
        "n": cell["n"],
        "epsilon": epsilon,
        "concentrability": c,
        "coverage": cell["coverage"],
        "delta": delta,
        "instance": cell["instance"],
    }
