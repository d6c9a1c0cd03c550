"""AdamW whose moments lie in bfloat16, half the state: rounded at random, so that small steps are not lost.

Loshchilov & Hutter (2019), arXiv 1711.05101. A second moment moves by a thousandth a step, and bfloat16 tells
numbers apart by a hundredth: rounded to the nearest it would stand still. Rounded up with the probability of
what is cut off, it is right in the mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

MOMENTS = ("exp_avg", "exp_avg_sq")
LOW_BITS = 16  # of float32, which bfloat16 does not have


def rounded(values: Tensor, generator: torch.Generator) -> Tensor:
    """`values` (float32) in bfloat16, each to one of its two neighbours, without bias."""
    bits = values.contiguous().view(torch.int32)
    noise = torch.randint(
        2**LOW_BITS, bits.shape, dtype=torch.int32, device=bits.device, generator=generator
    )
    noise.add_(bits).bitwise_and_(-(2**LOW_BITS))
    return noise.view(torch.float32).to(torch.bfloat16)


class AdamWBf16(torch.optim.Optimizer):
    """AdamW with `exp_avg` and `exp_avg_sq` in bfloat16; weights and gradients stay as they are.

    The draws depend on the step and the place of the weight alone: a resumed run makes the same.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As in torch, which widens moments to the dtype of the weights: here they are narrowed again."""
        super().load_state_dict(state_dict)
        for state in self.state.values():
            for name in MOMENTS:
                state[name] = state[name].to(torch.bfloat16)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; `closure` computes the loss again, where one is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        place = 0
        for group in self.param_groups:
            for weight in group["params"]:
                place += 1
                if weight.grad is not None:
                    self._move(weight, group, place)
        return loss

    def _move(self, weight: Tensor, group: dict[str, Any], place: int) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros(())
            for name in MOMENTS:
                state[name] = torch.zeros_like(weight, dtype=torch.bfloat16)
        state["step"] += 1
        step = int(state["step"])
        generator = torch.Generator(weight.device).manual_seed(step * 2**20 + place)
        gradient = weight.grad.float()  # type: ignore[union-attr]
        first, second = group["betas"]
        mean = state["exp_avg"].float().lerp_(gradient, 1 - first)
        square = (
            state["exp_avg_sq"].float().mul_(second).addcmul_(gradient, gradient, value=1 - second)
        )
        state["exp_avg"].copy_(rounded(mean, generator))
        state["exp_avg_sq"].copy_(rounded(square, generator))
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        root = square.div_(1 - second**step).sqrt_().add_(group["eps"])
        weight.addcdiv_(
            mean.to(weight.dtype), root.to(weight.dtype), value=-group["lr"] / (1 - first**step)
        )
