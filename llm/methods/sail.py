"""SAIL, Ding et al. (2024), arXiv 2406.15567: DPO whose responses or labels the policy makes itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.common.configuration import AtLeastZero, Positive
from llm.methods import (
    METHODS,
    Batch,
    Conditions,
    Method,
    Metrics,
    Stream,
    data,
    reward_metrics,
    sharded_steps,
)
from llm.methods.duels import Portion, margins
from spac_theory.checks import InputError
from spac_theory.objective import preference_loss


@METHODS.register("sail")
@dataclass(frozen=True)
class Sail(Method):
    """A mixture of offline DPO and three laws of pairs that depend on the policy, as expectations.

    DDP: the data's pairs, labels by the policy's own `σ(m)`; DPP: own pairs, own labels; DPR: own pairs,
    the judge's labels. Each adds to DPO's gradient what comes of drawing from the policy: `ℓ ∇log σ`
    where it labels, `ℓ (∇log π(y_w) + ∇log π(y_l))` where it writes. The release routes each row to one
    law at random; here each row counts with the shares, which is the mean of that.

    Attributes
    ----------
    beta : `β > 0` of DPO
    ddp, dpp, dpr : shares of the three laws; the rest is offline DPO
    rho, pi, gamma : coefficients of the added terms of DDP, DPP and DPR; 1 makes a gradient exact
    hard : DPR: the response that the judge finds likelier to win wins for sure
    """

    bandit = ("sail", {"variant": "dpr", "share": 0.3, "gamma": 0.3, "beta": 0.1})

    beta: Positive = 0.1
    ddp: Portion = 0.0
    dpp: Portion = 0.0
    dpr: Portion = 0.3
    rho: AtLeastZero = 0.2
    pi: AtLeastZero = 0.2
    gamma: AtLeastZero = 0.3
    hard: bool = True

    def __post_init__(self) -> None:
        if self.ddp + self.dpp + self.dpr > 1 + 1e-12:
            raise InputError(
                f"ddp + dpp + dpr is {self.ddp + self.dpp + self.dpr:g}; shares sum to at most 1, the "
                "rest being offline DPO."
            )

    def skip(self, conditions: Conditions) -> str | None:
        """Own pairs are drawn at every step."""
        return sharded_steps(conditions) if self.dpp or self.dpr else None

    def streams(self) -> tuple[Stream, ...]:
        """The data's two, and an own pair where a law asks for one."""
        if not self.dpp and not self.dpr:
            return data("initial")
        labels = "pairwise" if self.dpr else None
        return (*data("initial"), Stream("own", 2, "current", "step", ("initial",), labels))

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The shares of the laws; the terms that only steer the gradient have the value 0."""
        chosen, rejected = (
            self.beta * batch.ratio(name, "initial")[:, 0] for name in ("chosen", "rejected")
        )
        offline = preference_loss(chosen - rejected)
        found = {"dpo": offline, **self._laws(batch, chosen - rejected)}
        shares = {"ddp": self.ddp, "dpp": self.dpp, "dpr": self.dpr}
        loss = (1 - sum(shares.values())) * offline
        for name, share in shares.items():
            if share:
                loss = loss + share * found[name]
        metrics: Mapping[str, Tensor] = {f"sail/{name}": value for name, value in found.items()}
        return loss, {**reward_metrics(batch, chosen, rejected), **metrics}

    def _laws(self, batch: Batch, margin: Tensor) -> dict[str, Tensor]:
        """The loss of each law that has a share."""
        found: dict[str, Tensor] = {}
        if self.ddp:
            label = torch.sigmoid(margin.detach())
            found["ddp"] = pair_loss(margin, label, None, 0.0, self.rho).mean()
        if not self.dpp and not self.dpr:
            return found
        own, logp = margins(batch, self.beta, "own", "own"), batch.logp["own"]
        written = logp.unsqueeze(-1) + logp.unsqueeze(-2)
        if self.dpp:
            label = torch.sigmoid(own.detach())
            pairs = pair_loss(own, label, written, self.pi, self.pi)
            found["dpp"] = batch.expect_pairs(pairs, "own").mean()
        if self.dpr:
            wins = batch.wins["own"]
            label = ((wins - 0.5).sign() + 1) / 2 if self.hard else wins
            pairs = pair_loss(own, label, written, self.gamma, 0.0)
            found["dpr"] = batch.expect_pairs(pairs, "own").mean()
        return found


def pair_loss(
    margin: Tensor, label: Tensor, written: Tensor | None, response: float, own: float
) -> Tensor:
    """`E_label [ℓ − (own/2) ℓ² + response · sg[ℓ] (log π(y_w) + log π(y_l))]` of each pair.

    `label` is the probability that the first wins, held fixed; `written` is `log π(y) + log π(y')`.
    The last term has a gradient and the value 0.
    """
    first, second = (preference_loss(m.unsqueeze(-1)) for m in (margin, -margin))
    losses = torch.stack([first, second], -1)
    law = torch.stack([label, 1 - label], -1)
    loss = (law * (losses - own / 2 * losses.square())).sum(-1)
    if written is None:
        return loss
    steer = (law * losses).sum(-1).detach() * written
    return loss + response * (steer - steer.detach())
