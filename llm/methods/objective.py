"""Theory (9) and (10) on sequence log-probs: log-ratios in, loss and the usual metrics out.

The loss itself is :func:`spac_theory.objective.practical_loss`; nothing of it is repeated here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.objective import practical_loss, relative_value


@dataclass(frozen=True)
class Objective:
    """The weights of the practical objective, named as in the theory.

    `lam` (λ) multiplies the preference likelihood, `w` the critic term; `beta` scales the log-ratio
    and `beta_c` the critic's (None: the same). `baseline` says which data responses stand for `ν`;
    `form` chooses theory (9) ("linear") or (10) ("smoothed").
    """

    lam: float = 30.0
    beta: float = 0.1
    beta_c: float | None = None
    w: float = 1.0
    baseline: str = "both"
    form: str = "smoothed"

    @property
    def uses_selfplay(self) -> bool:
        """Whether the loss reads self-play samples at all (with `w = 0` form (10) does not)."""
        return self.form == "linear" or self.w > 0

    def __call__(self, logps: Tensor, reference: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and metrics from `log π` and `log π_t`, both `(2 + K, B)` in stream order."""
        score = self.beta * (logps - reference)
        chosen, rejected = score[0], score[1]
        # Without samples the critic term is weighted by 0; any finite value may stand in.
        selfplay = score[2:].transpose(0, 1) if len(score) > 2 else torch.zeros_like(chosen)
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
        )
        with torch.no_grad():
            metrics = {
                "rewards/chosen": chosen.mean(),
                "rewards/rejected": rejected.mean(),
                "rewards/margins": (chosen - rejected).mean(),
                "rewards/accuracies": (chosen > rejected).to(chosen.dtype).mean(),
                "logps/chosen": logps[0].mean(),
                "logps/rejected": logps[1].mean(),
                "spac/preference": loss.preference,
                "spac/critic": loss.critic,
            }
            if len(score) > 2:
                data = torch.cat([chosen, rejected])
                metrics["rewards/selfplay"] = selfplay.mean()
                metrics["logps/selfplay"] = logps[2:].mean()
                metrics["spac/critic_gap"] = relative_value(selfplay.flatten(), data)
        return loss.total, metrics
