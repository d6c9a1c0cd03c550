"""Nash-MD, Munos et al. (2023), arXiv 2312.00886: play against a mixture of oneself and the start."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from experiments.common.configuration import Positive
from llm.methods import METHODS, Batch, Conditions, Method, Metrics, Stream, sharded_steps
from llm.methods.duels import Portion


@METHODS.register("nash_md")
@dataclass(frozen=True)
class NashMd(Method):
    """`max_π E P(y ≻ y') − β KL(π ‖ π_1)`, `y ~ π`, `y' ~ π^{1−c} π_1^c` held fixed, by policy gradient.

    The rival writes token by token from the geometric mixture of both policies. The divergence is that of
    whole sequences, `∇ ½ log²(π/π_1)`; TRL multiplies each token's log-ratio by that token's own score
    alone, which is another, biased gradient.

    Attributes
    ----------
    beta : weight `β > 0` of the divergence
    mixture : the share `c` of `π_1` in the rival
    """

    bandit = ("nash_md", {"tau": 0.1, "eta": 5.0})  # c = ητ

    beta: Positive = 0.1
    mixture: Portion = 0.5

    def skip(self, conditions: Conditions) -> str | None:
        """Sampling at every step needs the whole model on each process."""
        return sharded_steps(conditions)

    def streams(self) -> tuple[Stream, ...]:
        """A rival and an own response, judged at every step."""
        rival = Stream("rival", 1, "current", "step", pull=self.mixture)
        own = Stream("own", 1, "current", "step", ("initial",), "pairwise", against="rival")
        return (rival, own)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The value with the score function's gradient; no gradient goes through the rival."""
        wins = batch.wins["own"]
        win_rate = batch.expect_pairs(wins, "own", "rival").mean()
        f = batch.ratio("own", "initial").detach()
        divergence = batch.expect("own", f).mean()
        gain = batch.expect_pairs((wins - 0.5) * batch.logp["own"].unsqueeze(-1), "own", "rival")
        score = self.beta * batch.expect("own", f * batch.logp["own"]).mean() - gain.mean()
        loss = self.beta * divergence - win_rate + score - score.detach()
        return loss, {"nash_md/win_rate": win_rate, "nash_md/kl": divergence}
