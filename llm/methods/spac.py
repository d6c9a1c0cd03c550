"""SPAC, theory (9) and (10), Ji et al. (2024), arXiv 2406.04274, and its corners DPO and SPIN.

The loss itself is :func:`spac_theory.objective.practical_loss`; nothing of it is repeated here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from experiments.common.configuration import AtLeastZero, Positive
from llm.methods import METHODS, Batch, Method, Metrics, Stream, data, reward_metrics
from spac_theory.objective import practical_loss, relative_value


@METHODS.register("spac")
@dataclass(frozen=True)
class Spac(Method):
    """The practical objective on `s(x,y) = β log(π(y|x)/π_ref(y|x))`.

    Attributes
    ----------
    lam : `λ ≥ 0`, weight of the preference likelihood
    beta : `β > 0`, scale of the log-ratio
    beta_c : the critic's `β_c > 0` (None: `β`)
    w : weight of the critic term, `≥ 0`
    baseline : which data responses stand for `ν`: "both", "chosen" or "rejected"
    form : theory (9) ("linear", unbounded below) or (10) ("smoothed")
    reference : "previous" (`π_t`, the iterate the round starts from) or "initial" (`π_1`)

    With `w = 0` the smoothed form is `λ` × DPO (Rafailov et al., 2023, arXiv 2305.18290); with `λ = 0`
    and `baseline = "chosen"` it is SPIN (Chen et al., 2024, arXiv 2401.01335).
    """

    bandit = ("spac_practical", {"beta": 0.3, "lam": "fixed", "scale": 3.0, "rounds": 1})

    lam: AtLeastZero = 3.0
    beta: Positive = 0.3
    beta_c: Positive | None = None
    w: AtLeastZero = 1.0
    baseline: Literal["both", "chosen", "rejected"] = "both"
    form: Literal["smoothed", "linear"] = "smoothed"
    reference: Literal["previous", "initial"] = "previous"

    @property
    def uses_selfplay(self) -> bool:
        """Whether the loss reads self-play samples at all (with `w = 0` form (10) does not)."""
        return self.form == "linear" or self.w > 0

    @property
    def _anchor(self) -> str:
        return "current" if self.reference == "previous" else "initial"

    def streams(self) -> tuple[Stream, ...]:
        """The data's two, and self-play `y' ~ π_t` where the critic is on."""
        own = (Stream("own", anchors=(self._anchor,)),) if self.uses_selfplay else ()
        return (*data(self._anchor), *own)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """Theory (9) or (10)."""
        chosen, rejected = (
            self.beta * batch.ratio(name, self._anchor)[:, 0] for name in ("chosen", "rejected")
        )
        # Without samples the critic term is weighted by 0; any finite value may stand in.
        selfplay = (
            self.beta * batch.ratio("own", self._anchor)
            if self.uses_selfplay
            else torch.zeros_like(chosen)
        )
        loss = practical_loss(
            chosen,
            rejected,
            selfplay,
            lam=self.lam,
            beta=self.beta,
            beta_c=self.beta_c,
            w=self.w,
            baseline=self.baseline,
            form=self.form,
            selfplay_weight=batch.weight.get("own") if self.uses_selfplay else None,
        )
        metrics = reward_metrics(batch, chosen, rejected)
        metrics |= {"spac/preference": loss.preference, "spac/critic": loss.critic}
        if self.uses_selfplay:
            own = batch.expect("own", selfplay)
            metrics["rewards/selfplay"] = own.mean()
            metrics["logps/selfplay"] = batch.expect("own", batch.logp["own"]).mean()
            metrics["spac/critic_gap"] = relative_value(own, torch.cat([chosen, rejected]))
        return loss.total, metrics
