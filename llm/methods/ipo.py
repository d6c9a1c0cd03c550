"""IPO: identity preference optimisation, Azar et al. (2023), arXiv 2310.12036."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from experiments.common.configuration import Positive
from llm.methods import METHODS, Batch, Method, Metrics, Stream, data, reward_metrics


@METHODS.register("ipo")
@dataclass(frozen=True)
class Ipo(Method):
    """`E_D (h(y⁺) − h(y⁻) − 1/(2τ))²`, `h = log π/π_1`.

    Attributes
    ----------
    tau : `τ > 0`
    per_token : divide `h` by the response's length, as TRL does; the paper has no such division
    """

    bandit = ("ipo", {"tau": 0.1})

    tau: Positive = 0.1
    per_token: bool = False

    def streams(self) -> tuple[Stream, ...]:
        """The data's two, against `π_1`."""
        return data("initial")

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The squared distance of the margin from `1/(2τ)`."""
        chosen, rejected = (self._height(batch, name) for name in ("chosen", "rejected"))
        loss = (chosen - rejected - 1 / (2 * self.tau)).square().mean()
        return loss, reward_metrics(batch, self.tau * chosen, self.tau * rejected)

    def _height(self, batch: Batch, stream: str) -> Tensor:
        ratio = batch.ratio(stream, "initial")
        return (ratio / batch.length[stream] if self.per_token else ratio)[:, 0]
