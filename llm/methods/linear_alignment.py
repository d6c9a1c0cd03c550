"""Linear Alignment, Gao et al. (2024), arXiv 2401.11458: a principle, amplified as tokens are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from experiments.common.configuration import AtLeastZero, Positive
from llm.methods import METHODS, Conditions
from llm.methods.kinds import Decoding
from spac_theory.algorithms.linear_alignment import released_step


@METHODS.register("linear_alignment")
@dataclass(frozen=True)
class LinearAlignment(Decoding):
    """`softmax([z_p + ratio (z_p − z)]/T)` on the nucleus of `softmax(z_p/T)`; nothing is trained.

    `z_p` are the logits after the prompt with a principle, `z` those after the prompt alone: two passes a
    token. Where the contrast leaves no mass on the nucleus, the nucleus is played.

    Attributes
    ----------
    principle : put before the prompt; None: on a language, the prompt's own second word, its mood
    ratio : length of the step, `≥ 0`
    temperature : `T > 0`
    top_p : mass of the nucleus
    sample : draw the token; False: the likeliest, as released
    """

    bandit = ("linear_alignment", {"size": 3.0, "temperature": 0.5, "top_p": 0.8})

    principle: str | None = None
    ratio: AtLeastZero = 3.0
    temperature: Positive = 0.5
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.8
    sample: bool = False

    def skip(self, conditions: Conditions) -> str | None:
        """Only a language has a principle of its own."""
        if self.principle is None and not conditions.language:
            return "principle is null, and only a language's prompts have a principle in them"
        return None

    def texts(self, prompt: str) -> tuple[str, str]:
        """The prompt with the principle, and without."""
        if self.principle is None:
            return prompt, prompt.partition(" ")[0]
        return f"{self.principle}\n{prompt}", prompt

    def law(self, told: Tensor, plain: Tensor | None) -> Tensor:
        """The released rule, as in the bandit."""
        assert plain is not None
        decode = "sample" if self.sample else "argmax"
        return released_step(told, plain, self.ratio, self.temperature, self.top_p, decode)
