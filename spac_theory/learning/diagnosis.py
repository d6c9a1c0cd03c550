"""What a user's own preference data cover, without the true reward.

For a policy `π` and data `D`: how much of `π` lies on actions that were never compared, its
empirical concentrability, and what the theory certifies of its value. With probability at least
`1 − δ`, if the class contains the true reward, `E_D(r*) ≤ min_r E_D(r) + ε_n` by the lemma (H); then

    J(π) − J(ν) ≥ min_r G(π, r) − λ (min_r E_D(r) + ε_n)      for every π and λ ≥ 0 at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from spac_theory import checks
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.checks import InputError
from spac_theory.concentrability.seen_norm import SeenNorm
from spac_theory.learning import lambda_rules
from spac_theory.learning.needs import featured, offers
from spac_theory.rewards.base import FEATURES, likeliest_member
from spac_theory.view import LearnerView

DUST = 1e-8  # mass that a solver leaves behind; a concentrability of infinity must not come from it
LARGEST_BATCH = 2**19  # cells (λ, x, a) that are answered at once
MULTIPLES = (0.0, 0.01, 0.03, *lambda_rules.GRID)  # of √n: the λ tried for the lower bounds


@dataclass(frozen=True)
class ContextReport:
    """How the comparisons of one context hang together.

    Attributes
    ----------
    context : its index
    comparisons : labelled comparisons of two different actions
    compared_actions : how many actions took part in one
    components : connected parts of the graph of compared actions; above 1, a table cannot rank
        actions of different parts (shared features may)
    """

    context: int
    comparisons: int
    compared_actions: int
    components: int


@dataclass(frozen=True)
class PolicyReport:
    """What the data say of one policy.

    Attributes
    ----------
    unseen_mass : share of its mass on actions never compared at their context, in [0, 1]
    concentrability : `‖ψ(π) − ψ(ν)‖²` in the inverse of the data's `Σ_D`; infinite where the data
        do not reach an action of probability `DUST` or more
    pessimistic_value : certified lower bound on `min_r G(π, r) − λ min_r E_D(r)` at `λ = √n`: the
        value over `ν` under the worst reward, each paying for how badly it fits; 0 for `ν`
    improvement : lower bound on `J(π) − J(ν)` with the theorem's `ε_n`, valid with probability
        `1 − δ`; the best over a grid of `λ`
    improvement_asymptotic : the same with Wilks' radius, valid as `n → ∞`
    """

    unseen_mass: float
    concentrability: float
    pessimistic_value: float
    improvement: float
    improvement_asymptotic: float


def contexts_report(data: WinnerCounts) -> list[ContextReport]:
    """One report a context of the first data set."""
    return [_context(x, counts, data.unit) for x, counts in enumerate(data.compared[0])]


def _context(context: int, compared: Tensor, unit: int) -> ContextReport:
    """`compared (A, A)` is symmetric with an empty diagonal: every comparison is in it twice."""
    present = (compared.sum(-1) > 0).nonzero().flatten()
    graph = coo_matrix(compared[present][:, present].numpy(force=True))
    parts = connected_components(graph, directed=False)[0] if len(present) else 0
    return ContextReport(context, int(compared.sum()) // (2 * unit), len(present), int(parts))


def appearances(data: WinnerCounts) -> Tensor:
    """The behaviour policy estimated from the data: how often each action was shown, `(X, A)`.

    Both sides of a comparison count. A context without comparisons gets the uniform policy.
    """
    wins = data.wins[0].to(torch.float64)
    shown = wins.sum(-1) + wins.sum(-2)
    total = shown.sum(-1, keepdim=True)
    return torch.where(total > 0, shown / total.clamp_min(1), 1 / shown.shape[-1])


def context_weights(data: WinnerCounts) -> Tensor:
    """`ρ̂`: the share of comparisons at each context, `(X,)`."""
    return data.fraction[0].sum((-2, -1))


def policies_report(
    view: LearnerView,
    data: WinnerCounts,
    policies: Mapping[str, Tensor],
    multiples: Sequence[float] = MULTIPLES,
) -> dict[str, PolicyReport]:
    """One report a policy; `data` holds one data set, `policies` tables `(X, A)`.

    `multiples` of `√n` are the `λ` tried for the lower bounds; 1 must be among them.

    Raises InputError for another class than a linear one, more than one data set, or a policy that
    is no probability.
    """
    if FEATURES not in offers(view.reward_class):
        raise InputError("reward_class must be linear (or tabular) for a diagnosis.")
    if len(data.n) != 1:
        raise InputError(f"data holds {len(data.n)} data sets; a diagnosis takes one at a time.")
    if not policies:
        return {}
    names = list(policies)
    shape = view.reward_class.shape
    tables = torch.stack([checks.probabilities(f"policy {k!r}", policies[k], shape) for k in names])
    columns = (
        _unseen_mass(view, data, tables),
        _concentrability(view, data, tables),
        *_certified(view, data, tables, multiples),
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {name: PolicyReport(*row) for name, row in zip(names, rows, strict=True)}


def _unseen_mass(view: LearnerView, data: WinnerCounts, tables: Tensor) -> Tensor:
    """`E_x π(never compared | x)`, `(P,)`."""
    unseen = data.compared[0].sum(-1) == 0
    return (view.rho[:, None] * tables * unseen).sum((-2, -1))


def _concentrability(view: LearnerView, data: WinnerCounts, tables: Tensor) -> Tensor:
    """`‖ψ(π) − ψ(ν)‖²` in the inverse of `Σ_D = (1/n) Σ (φ⁺ − φ⁻)(φ⁺ − φ⁻)ᵀ`, `(P,)`."""
    tables = torch.where(tables < DUST, 0.0, tables)
    tables = tables / tables.sum(-1, keepdim=True)
    features = featured(view).features
    seen = SeenNorm.of(features, data.fraction[0])
    return seen.squared_norm(view.rho[:, None] * (tables - view.baseline))


def _certified(
    view: LearnerView, data: WinnerCounts, tables: Tensor, multiples: Sequence[float]
) -> tuple[Tensor, ...]:
    """The pessimistic value at `λ = √n`, and the two lower bounds on the improvement, each `(P,)`.

    Policies are taken a few at a time: every `λ` of every policy is a lane of its own.
    """
    root, cells = data.n.to(torch.float64).sqrt(), tables[0].numel()
    grid = torch.tensor(multiples, dtype=torch.float64) * root
    few = max(1, LARGEST_BATCH // (len(grid) * cells))
    value = torch.cat([_pessimistic(view, data, part, grid) for part in tables.split(few)], 1)
    fit = likeliest_member(view.reward_class, data.fraction, view.link)
    bounds = []
    for radius in ("theorem", "wilks"):
        level = fit.value + lambda_rules.loss_radius(view, data, radius)
        bounds.append((value - grid[:, None] * level).max(0).values)
    return value[list(multiples).index(1.0)] - root * fit.value, *bounds


def _pessimistic(view: LearnerView, data: WinnerCounts, tables: Tensor, grid: Tensor) -> Tensor:
    """Certified lower bounds on `min_r G(π, r)`, `(len(grid), P)`."""
    lam = grid.repeat_interleave(len(tables))
    lanes = replace(data, wins=data.wins.expand(len(lam), -1, -1, -1))
    linear = view.rho[:, None] * (tables.repeat(len(grid), 1, 1) - view.baseline)
    response = view.reward_class.best_response(linear, lam, lanes.fraction, view.link)
    return (response.value - response.gap).reshape(len(grid), len(tables))
