"""Smooth minimisation over policies: one batched, multi-start BFGS for everything not convex.

Direct methods minimise a function of the policy `π ∝ π_ref exp(ℓ)`, where `ℓ = Mθ` are logits
relative to `log π_ref`. For a table the problem splits over contexts into `S·X` lanes of dimension
`A`; shared features leave `S` lanes of dimension `d`. Every start of every lane advances at once.
Nothing here is called exact: what is certified is stationarity, and beside it stands the spread of
the values that different starts reached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.learning.needs import featured
from spac_theory.view import LearnerView

Function = Callable[..., Tensor]
SMALLEST_REFERENCE = 1e-30
BACKTRACKS = 20


@dataclass(frozen=True)
class Minimum:
    """Lanes of a batched minimisation: points `(L, p)`, values, gradient norms, both `(L,)`.

    `converged` says that the gradient fell by the promised factor.
    """

    point: Tensor
    value: Tensor
    gradient_norm: Tensor
    converged: Tensor


def value_and_gradient(
    objective: Function, point: Tensor, data: Sequence[Tensor] = ()
) -> tuple[Tensor, Tensor]:
    """`f (L,)` and `∇f (L, p)` of lanes that do not see one another."""
    leaf = point.detach().requires_grad_(True)
    value = objective(leaf, *data)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), gradient


def minimise(
    objective: Function,
    start: Tensor,
    data: Sequence[Tensor] = (),
    tolerance: float = 1e-8,
    max_iterations: int = 300,
) -> Minimum:
    """Minimise `objective(point (L, p), *data) -> (L,)` on each lane from `start (L, p)` by BFGS.

    `data` are tensors with the lanes first; lanes that are done leave the batch. A lane stops when
    its gradient norm is below `tolerance` times the one it started with (or below 1e-13), or when
    no step along the descent direction lowers it.
    """
    point = start.clone()
    value, gradient = value_and_gradient(objective, point, data)
    goal = (tolerance * gradient.norm(dim=-1)).clamp_min(1e-13)
    final = point.clone(), value.clone(), gradient.clone()
    lanes = torch.arange(len(start))
    eye = torch.eye(start.shape[-1], dtype=start.dtype)
    inverse = eye / gradient.norm(dim=-1).clamp_min(1e-300)[:, None, None]
    fresh = torch.ones(len(start), dtype=torch.bool)
    going = gradient.norm(dim=-1) > goal
    for _ in range(max_iterations):
        if not bool(going.all()):
            for whole, part in zip(final, (point, value, gradient), strict=True):
                whole[lanes[~going]] = part[~going]
            lanes, point, value, gradient = (v[going] for v in (lanes, point, value, gradient))
            inverse, fresh, data = inverse[going], fresh[going], [d[going] for d in data]
        if not len(lanes):
            break
        direction = -(inverse @ gradient.unsqueeze(-1)).squeeze(-1)
        uphill = (direction * gradient).sum(-1) >= 0
        direction = torch.where(uphill[:, None], -gradient, direction)
        step, moved, (new_value, new_gradient) = _advance(
            objective, point, value, gradient, direction, data
        )
        inverse, fresh = _update(inverse, moved - point, new_gradient - gradient, fresh, eye)
        point, value, gradient = moved, new_value, new_gradient
        going = (step > 0) & (gradient.norm(dim=-1) > goal[lanes])
    for whole, part in zip(final, (point, value, gradient), strict=True):
        whole[lanes] = part
    norm = final[2].norm(dim=-1)
    return Minimum(final[0], final[1], norm, norm <= (1e3 * goal).clamp_min(1e-9))


def _advance(
    objective: Function,
    point: Tensor,
    value: Tensor,
    gradient: Tensor,
    direction: Tensor,
    data: Sequence[Tensor],
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Step lengths `(L,)`, where they lead, and value and gradient there.

    The whole step is the usual one, so it is tried together with its gradient; the line search is for
    the lanes that refuse it.
    """
    slope, slack = (direction * gradient).sum(-1), 4e-16 * value.abs()
    step, moved = torch.ones_like(value), point + direction
    ahead, uphill = value_and_gradient(objective, moved, data)
    refused = (~(ahead <= value + 1e-4 * slope + slack)).nonzero().flatten()
    if len(refused):
        part = [d[refused] for d in data]
        base, low, fall, room, way = (v[refused] for v in (point, value, slope, slack, direction))
        shorter = _backtrack(objective, base, low, fall, room, way, part, len(value))
        landed = base + shorter[:, None] * way
        step[refused], moved[refused] = shorter, landed
        ahead[refused], uphill[refused] = value_and_gradient(objective, landed, part)
    return step, moved, (ahead, uphill)


def _backtrack(
    objective: Function,
    point: Tensor,
    value: Tensor,
    slope: Tensor,
    slack: Tensor,
    direction: Tensor,
    data: Sequence[Tensor],
    budget: int,
) -> Tensor:
    """The first of 1/2, 1/4, … with sufficient decrease; 0 where a lane is stuck.

    As many halvings are tried in one batch as leave it no larger than `budget` lanes.
    """
    step, waiting, done = torch.zeros_like(value), torch.arange(len(value)), 1
    while len(waiting) and done < BACKTRACKS:
        block = min(max(1, budget // len(waiting)), BACKTRACKS - done)
        sizes = 0.5 ** torch.arange(done, done + block, dtype=value.dtype)
        trial = point[waiting] + sizes[:, None, None] * direction[waiting]
        repeated = [d[waiting].repeat(block, *[1] * (d.ndim - 1)) for d in data]
        with torch.no_grad():
            ahead = objective(trial.flatten(0, 1), *repeated).reshape(block, -1)
        allowed = value[waiting] + 1e-4 * sizes[:, None] * slope[waiting] + slack[waiting]
        enough = ahead <= allowed
        found = enough.any(0)
        step[waiting[found]] = sizes[enough.to(torch.int8).argmax(0)[found]]
        waiting, done = waiting[~found], done + block
    return step


def _update(
    inverse: Tensor, s: Tensor, y: Tensor, fresh: Tensor, eye: Tensor
) -> tuple[Tensor, Tensor]:
    """The BFGS update of the inverse Hessian; the first one also sets its scale."""
    sy = (s * y).sum(-1)
    bent = sy > 1e-12 * s.norm(dim=-1) * y.norm(dim=-1)
    safe = torch.where(bent, sy, 1.0)
    scale = (safe / (y**2).sum(-1).clamp_min(1e-300))[:, None, None]
    inverse = torch.where((bent & fresh)[:, None, None], scale * eye, inverse)
    hy = (inverse @ y.unsqueeze(-1)).squeeze(-1)
    yhy = (y * hy).sum(-1)
    outer = s.unsqueeze(-1) * hy.unsqueeze(-2)
    change = ((1 + yhy / safe) / safe)[:, None, None] * (s.unsqueeze(-1) * s.unsqueeze(-2))
    change = change - (outer + outer.transpose(-1, -2)) / safe[:, None, None]
    return torch.where(bent[:, None, None], inverse + change, inverse), fresh & ~bent


@dataclass(frozen=True)
class PolicyFit:
    """The best of several starts for every data set.

    Attributes
    ----------
    logits : (S, X, A) relative to `log π_ref`
    policy : (S, X, A)
    gradient_norm : (S,) stationarity of what was returned
    spread : (S,) how much worse the worst start ended: 0 when all starts agree
    converged : (S,)
    """

    logits: Tensor
    policy: Tensor
    gradient_norm: Tensor
    spread: Tensor
    converged: Tensor


def log_reference(view: LearnerView) -> Tensor:
    """`log π_ref (X, A)`; an action outside its support gets 1e-30, which no data can lift."""
    return view.reference.clamp_min(SMALLEST_REFERENCE).log()


def log_policy(view: LearnerView, logits: Tensor) -> Tensor:
    """`log π` of `π ∝ π_ref exp(logits)`, `(..., X, A)`."""
    return torch.log_softmax(log_reference(view) + logits, -1)


def fit_policy(
    view: LearnerView,
    objective: Function,
    data: Sequence[Tensor],
    starts: Sequence[Tensor],
    ridge: Tensor,
    tolerance: float = 1e-8,
) -> PolicyFit:
    """Minimise `Σ_x f_x(ℓ) + ½ ridge ‖θ‖²` over logits `ℓ = Mθ` relative to `log π_ref`.

    Parameters
    ----------
    objective : `f(log_ratio, log_policy, *data) -> (L, X)`, the `f_x` of a batch, where
        `log_policy = log π (L, X, A)` and `log_ratio = ℓ (L, X, A)` up to a shift of each row
    data : tensors `(S, X, ...)`, or `(1, X, ...)` where all data sets share them
    starts : K tensors `(S, X, A)` of logits (shared features take their projections)
    ridge : (S,) positive weights, the tie-break for actions without data
    """
    cls = featured(view)
    seeds, count = len(ridge), len(starts)
    contexts, actions = cls.shape
    weight = ridge[:, None].expand(-1, contexts if cls.tabular else 1)
    columns = [log_reference(view).unsqueeze(0), *data]
    spread_out = [d.expand(seeds, *d.shape[1:]).repeat(count, *[1] * (d.ndim - 1)) for d in columns]
    if cls.tabular:
        begin = torch.cat(list(starts)).reshape(-1, actions)
        spread_out = [d.flatten(0, 1).unsqueeze(1) for d in spread_out]
    else:
        rows = cls.features.flatten(0, 1)
        target = torch.cat(list(starts)).flatten(1).unsqueeze(-1)
        # A batched product keeps lanes apart; one for all would round by the size of the batch.
        project = torch.linalg.pinv(rows).expand(len(target), -1, -1)
        begin = torch.bmm(project, target).squeeze(-1)
    design = cls.design

    def total(theta: Tensor, gamma: Tensor, base: Tensor, *rest: Tensor) -> Tensor:
        logits = theta.unsqueeze(1) if cls.tabular else design.forward(theta)
        value = objective(logits, torch.log_softmax(base + logits, -1), *rest)
        return value.sum(-1) + gamma / 2 * (theta**2).sum(-1)

    lanes = [weight.flatten().repeat(count), *spread_out]
    found = minimise(total, begin, lanes, tolerance)
    point, norm, spread, done = _best(found, count)
    logits = point.reshape(seeds, contexts, actions) if cls.tabular else design.forward(point)
    norm, spread, done = (v.reshape(seeds, -1) for v in (norm, spread, done))
    policy = log_policy(view, logits).exp()
    return PolicyFit(logits, policy, norm.norm(dim=-1), spread.sum(-1), done.all(-1))


def _best(found: Minimum, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The lowest start of every lane: point, gradient norm, spread of the values, converged."""
    values = found.value.reshape(count, -1)
    pick = values.argmin(0)
    lane = torch.arange(values.shape[1])
    point = found.point.reshape(count, values.shape[1], -1)[pick, lane]
    norm = found.gradient_norm.reshape(count, -1)[pick, lane]
    done = found.converged.reshape(count, -1)[pick, lane]
    return point, norm, values.max(0).values - values.min(0).values, done
