"""The bounded linear class `r = φθ`, and the table as its one-hot case.

Two bounds, either or both: a norm `‖θ‖ ≤ B` (a ball) and a reward range `low ≤ r(x,a) ≤ high` (a
box). The bound is part of every problem solved over the class: without it the critic of an action
that was never compared runs to −∞.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.checks import InputError, brief
from spac_theory.links import Link
from spac_theory.rewards.base import FEATURES, TABLE, BestResponse
from spac_theory.solvers.design import BlockDesign, DenseDesign, Design
from spac_theory.solvers.interior_point import solve
from spac_theory.solvers.program import Program

RANK_TOLERANCE = 1e-10
LARGEST_TABLE = 10_000


@dataclass(frozen=True)
class LinearClass:
    """`𝓡 = {φθ : ‖θ‖ ≤ norm_bound, low ≤ φ(x,a)·θ ≤ high}`.

    Attributes
    ----------
    features : (X, A, d)
        `φ(x,a)`.
    norm_bound : float > 0 or None
        `B`; None for no ball.
    reward_range : (low, high) or None
        Bounds on every reward. For non-tabular features `low < 0 < high` is needed.
    tabular : bool
        The features are the one-hot table; set by :func:`tabular_class`.
    """

    __repr__ = brief

    features: Tensor
    norm_bound: float | None = None
    reward_range: tuple[float, float] | None = None
    tabular: bool = False

    convex = True
    finite = False
    gap_is_bound = True

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "features", checks.as_tensor("features", self.features, (None, None, None))
        )
        if self.norm_bound is None and self.reward_range is None:
            raise InputError(
                "norm_bound and reward_range are both None; the class needs at least one bound."
            )
        if self.norm_bound is not None:
            checks.number("norm_bound", self.norm_bound, low=0, open_low=True, high=1e6)
        if self.reward_range is not None:
            low, high = checks.interval("reward_range", self.reward_range, low=-1e6, high=1e6)
            if not self.tabular and not low < 0 < high:
                raise InputError(
                    f"reward_range is ({low:g}, {high:g}); for features that are not one-hot it must "
                    "contain 0 in its interior."
                )
            object.__setattr__(self, "reward_range", (low, high))
        _ = self.interior, self.radius

    @property
    def offers(self) -> frozenset[str]:
        """Features, and a table where they are one."""
        return frozenset({FEATURES, TABLE} if self.tabular else {FEATURES})

    @property
    def shape(self) -> tuple[int, int]:
        """`(X, A)`."""
        return self.features.shape[0], self.features.shape[1]

    @property
    def dimension(self) -> int:
        """`d`, the number of parameters."""
        return self.features.shape[2]

    @property
    def design(self) -> Design:
        """The map from parameters to rewards."""
        return BlockDesign(*self.shape) if self.tabular else DenseDesign(self.features.unsqueeze(0))

    @property
    def interior(self) -> Tensor:
        """Parameters strictly inside every bound, `(d,)`: where the solvers start."""
        low, high = self.reward_range or (-math.inf, math.inf)
        start = 0.0
        if math.isfinite(low) and not low < 0 < high:
            margin = (high - low) / (2 if self.norm_bound is None else 20)
            start = low + margin if low >= 0 else high - margin
        theta = torch.full((self.dimension,), start, dtype=torch.float64)
        if self.norm_bound is not None and float(theta.norm()) >= self.norm_bound:
            raise InputError(
                f"norm_bound is {self.norm_bound:g}, too small for reward_range ({low:g}, {high:g}): "
                f"rewards of {start:g} already have norm {float(theta.norm()):.4g}."
            )
        return theta

    @property
    def radius(self) -> float:
        """A norm no parameter of the class exceeds: `B`, or what the range implies."""
        if self.norm_bound is not None:
            return self.norm_bound
        assert self.reward_range is not None
        largest = max(abs(v) for v in self.reward_range)
        rows = self.features.flatten(0, 1)
        if self.tabular:
            return largest * math.sqrt(len(rows))
        smallest = float(torch.linalg.svdvals(rows)[-1]) if len(rows) >= rows.shape[1] else 0.0
        if smallest <= RANK_TOLERANCE * float(rows.norm()):
            raise InputError(
                "norm_bound is None and the features are rank deficient, so the range does not bound "
                "the parameters; give a norm_bound."
            )
        return largest * math.sqrt(len(rows)) / smallest

    @property
    def difference_bound(self) -> float:
        """`R = sup_r sup_{x,a,b} |Δ_r(x,a,b)|` over the whole class (the smaller of both bounds)."""
        bounds = []
        if self.reward_range is not None:
            bounds.append(self.reward_range[1] - self.reward_range[0])
        if self.norm_bound is not None:
            spread = torch.cdist(self.features, self.features)
            bounds.append(self.norm_bound * float(spread.max()))
        return min(bounds)

    def log_covering(self, radius: float) -> float:
        """Upper bound on the log covering number in the sup norm, by points of the class.

        Ball: `d log(1 + 2 B L_φ/ε)` with `L_φ = max ‖φ‖`. Range `[l, h]`: `d log(1 + w/ε)`, `w` the
        width of the range (symmetric around 0 unless tabular). Both bound the size of an
        `ε`-separated set, so the smaller one holds for the intersection. A table with a range alone
        has the grid of `⌈w/(2ε)⌉` values a cell.
        """
        epsilon = checks.number("radius", radius, low=0, open_low=True)
        options = []
        if self.norm_bound is not None:
            largest = float(self.features.norm(dim=-1).max())
            options.append(self.dimension * math.log1p(2 * self.norm_bound * largest / epsilon))
        if self.reward_range is not None:
            low, high = self.reward_range
            width = high - low if self.tabular else 2 * max(-low, high)
            options.append(self.dimension * math.log1p(width / epsilon))
            if self.tabular and self.norm_bound is None:
                options.append(self.dimension * math.log(max(1, math.ceil(width / (2 * epsilon)))))
        return min(options)

    def contains(self, reward: Tensor, tolerance: float = 1e-9) -> bool:
        """Whether `reward (X, A)` is realizable: a member up to a shift of each context.

        Preference data and `L` see rewards only up to such shifts. A table takes the shift of
        smallest norm that fits the range; for other features the reward itself is fitted.
        """
        low, high = self.reward_range or (-math.inf, math.inf)
        if self.tabular:
            lowest = (low - reward.min(-1, keepdim=True).values).clamp_min(-1e300)
            highest = (high - reward.max(-1, keepdim=True).values).clamp_max(1e300)
            shift = torch.minimum(torch.maximum(-reward.mean(-1, keepdim=True), lowest), highest)
            parameters = fitted = reward + shift
        else:
            rows = self.features.flatten(0, 1)
            target = reward.flatten().unsqueeze(-1)
            parameters = torch.linalg.lstsq(rows, target, driver="gelsd").solution
            fitted = (rows @ parameters).reshape(reward.shape)
            if float((fitted - reward).abs().max()) > max(tolerance, 1e-8):
                return False
        inside = bool((fitted >= low - tolerance).all() and (fitted <= high + tolerance).all())
        return inside and float(parameters.norm()) <= self.norm_limit + tolerance

    def program(
        self,
        linear: Tensor,
        lam: Tensor,
        win_fraction: Tensor,
        link: Link,
        rho: Tensor | None = None,
    ) -> Program:
        """The convex program over this class: the critic's, or the saddle's when `rho` is given."""
        low, high = self.reward_range or (-math.inf, math.inf)
        return Program(
            linear=linear,
            lam=lam.to(torch.float64),
            win_fraction=win_fraction,
            design=self.design,
            start=self.interior,
            certificate_radius=self.radius,
            rho=rho,
            low=low,
            high=high,
            radius=self.norm_limit,
            link=link,
        )

    def best_response(
        self,
        linear: Tensor,
        lam: Tensor,
        win_fraction: Tensor,
        link: Link,
        tolerance: float = 1e-9,
        warm: Any = None,
    ) -> BestResponse:
        """The critic (4), exact to a certified gap of `tolerance · max(1, |⟨c, r⟩|)`.

        Or of `1e-13 λ` if that is larger, see :func:`fast_saddle`; where neither is reached, `converged` is
        False.
        """
        program = self.program(linear, lam, win_fraction, link)
        # A warm start saves a third of the steps on a ball; from a box's corner it costs steps.
        ball = self.reward_range is None
        solution = solve(program, tolerance, warm=warm if ball else None, keep_warm=ball)
        value = program.value(solution.reward)
        found = solution.reward, value, solution.gap, solution.warm, solution.theta
        return BestResponse(*found, converged=solution.converged)

    def reward_at(self, parameters: Any, points: Tensor) -> Tensor:
        """`φθ` at other contexts: `parameters (S, d)`, features `points (X′, A, d)`."""
        if self.tabular:
            raise InputError("reward_class is a table; it has no rewards at contexts it never saw.")
        points = checks.as_tensor("points", points, (None, None, self.dimension))
        return torch.einsum("sd,xad->sxa", parameters, points)

    @property
    def norm_limit(self) -> float:
        """`B`, or infinity where there is no ball."""
        return math.inf if self.norm_bound is None else self.norm_bound


def one_hot_features(contexts: int, actions: int) -> Tensor:
    """The `(X, A, X A)` features of a table; InputError above `LARGEST_TABLE` cells."""
    if contexts * actions > LARGEST_TABLE:
        raise InputError(
            f"contexts × actions is {contexts * actions}; a table has at most {LARGEST_TABLE} cells (its "
            "features take the square of that in memory); take shared features for more."
        )
    return torch.eye(contexts * actions, dtype=torch.float64).reshape(contexts, actions, -1)


def tabular_class(
    contexts: int,
    actions: int,
    norm_bound: float | None = None,
    reward_range: tuple[float, float] | None = None,
) -> LinearClass:
    """A table of rewards with one bound or both."""
    checks.integer("contexts", contexts, low=1)
    checks.integer("actions", actions, low=2)
    features = one_hot_features(contexts, actions)
    return LinearClass(features, norm_bound, reward_range, tabular=True)
