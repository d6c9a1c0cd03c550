"""χPO, Huang et al. (2024), arXiv 2407.13399: DPO with `φ(z) = z + log z` for `log z`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from experiments.common.configuration import Positive
from llm.methods import METHODS, Batch, Method, Metrics, Stream, data, reward_metrics
from spac_theory.objective import preference_loss


@METHODS.register("chi_po")
@dataclass(frozen=True)
class ChiPo(Method):
    """`−E_D log σ( clip_{±2R}( β[φ(z⁺) − φ(z⁻)] ) )`, `z = π/π_1`.

    Attributes
    ----------
    beta : `β > 0`
    reward_range : `R > 0`, the width of the range of rewards; no gradient beyond `±2R`
    largest : `z` is `exp` of the log-ratio, cut off above at `largest`
    """

    bandit = ("chi_po", {"beta": 0.3})

    beta: Positive = 0.3
    reward_range: Positive = 2.0
    largest: Annotated[float, Field(gt=0, le=80)] = 20.0

    def streams(self) -> tuple[Stream, ...]:
        """The data's two, against `π_1`."""
        return data("initial")

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The logistic loss of the clipped margin."""
        chosen, rejected = (self._reward(batch, name) for name in ("chosen", "rejected"))
        margin = (chosen - rejected).clamp(-2 * self.reward_range, 2 * self.reward_range)
        return preference_loss(margin), reward_metrics(batch, chosen, rejected)

    def _reward(self, batch: Batch, stream: str) -> Tensor:
        """`β φ(z)`, `(B,)`."""
        ratio = batch.ratio(stream, "initial")[:, 0]
        return self.beta * (ratio.clamp_max(self.largest).exp() + ratio)
