"""REBEL, Gao et al. (2024), arXiv 2404.16767: regress reward differences on log-ratios."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from experiments.common.configuration import AtLeastZero, Positive
from llm.methods import METHODS, Batch, Conditions, Method, Metrics, Stream


@METHODS.register("rebel")
@dataclass(frozen=True)
class Rebel(Method):
    """`E (h_t(y) − h_t(y') − η[r(y) − r(y')])²`, `h_t = log π/π_t`, `y, y' ~ π_t`, `r` from the judge.

    `r` is the judge's score minus `kl · log π_t/π_1`, as released for summaries. The data's answers are
    not read. With more than two responses the mean runs over all pairs.

    Attributes
    ----------
    eta : `η > 0`
    kl : weight of the KL penalty inside the reward, `≥ 0`
    """

    bandit = ("rebel", {"eta": 1.0, "kl": 0.05})

    eta: Positive = 1.0
    kl: AtLeastZero = 0.05

    def skip(self, conditions: Conditions) -> str | None:
        """Needs a judge."""
        return None if conditions.judge else "it needs scores, and judge is null"

    def streams(self) -> tuple[Stream, ...]:
        """Two own responses a prompt and round, scored."""
        return (Stream("own", 2, anchors=("current", "initial"), labels="score"),)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The squared residual of all differences within a row."""
        penalty = batch.anchor["current"]["own"] - batch.anchor["initial"]["own"]
        reward = batch.score["own"] - self.kl * penalty
        residual = batch.ratio("own", "current") - self.eta * reward
        loss = batch.spread("own", residual).mean()
        return loss, {
            "rebel/reward": batch.expect("own", batch.score["own"]).mean(),
            "logps/selfplay": batch.expect("own", batch.logp["own"]).mean(),
        }
