"""All-policy coverage at fixed single-policy coverage: the other actions starve."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.behaviours import BEHAVIOURS
from spac_theory.options import Options, number
from spac_theory.problems import Problem


@BEHAVIOURS.register("starving")
@dataclass(frozen=True)
class Starving(Options):
    """`π*` keeps the share `optimal`; of the rest, all but one action share `dial`.

    For a table with `ν = μ`, `C(π*)` depends on the share of the optimal action alone and stays
    fixed, while `sup_π C(π)` grows like `1/dial` and is infinite at 0. The action that keeps the
    rest is the one the problem's profile likes best.
    """

    optimal: float = number(
        0.2,
        "share of the optimal action, which stays fixed",
        low=0,
        high=1,
        open_low=True,
        open_high=True,
    )

    dial_name = "share of the starved actions"
    dial_range = (0.0, 1.0)

    def policy(self, problem: Problem, dial: float) -> Tensor:
        """The behaviour with starved share `dial` in [0, 1]."""
        share = checks.number("dial", dial, low=0, high=1)
        best = problem.bandit.optimal_policy
        free = (best == 0).to(torch.float64)
        liked = torch.where(best == 0, problem.profile, -1.0).argmax(-1, keepdim=True)
        kept = torch.zeros_like(free).scatter_(-1, liked, 1.0)
        starved = free - kept
        count = starved.sum(-1, keepdim=True)
        rest = (1 - share) * kept + share * starved / count.clamp_min(1)
        rest = torch.where(count > 0, rest, kept)
        return self.optimal * best + (1 - self.optimal) * rest
