"""A softmax of the true reward: from greedy to uniform."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.behaviours import BEHAVIOURS
from spac_theory.options import Options, flag
from spac_theory.problems import Problem


@BEHAVIOURS.register("temperature")
@dataclass(frozen=True)
class Temperature(Options):
    """`μ ∝ exp(sign · r*/dial)`; a low temperature concentrates.

    With `adversarial` the sign is negative: the lower the temperature, the worse the behaviour.
    """

    adversarial: bool = flag(
        True, "true: the lower the temperature, the worse the behaviour; false: the better"
    )

    dial_name = "temperature"
    dial_range = (0.02, 10.0)

    def policy(self, problem: Problem, dial: float) -> Tensor:
        """The behaviour at temperature `dial > 0`."""
        temperature = checks.number("dial", dial, low=0, open_low=True)
        sign = -1.0 if self.adversarial else 1.0
        return torch.softmax(sign * problem.bandit.reward / temperature, -1)
