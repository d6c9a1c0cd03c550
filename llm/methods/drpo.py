"""DRPO, Singla et al. (2024), arXiv 2411.08733: a system prompt, found by beam search under a judge."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import one_hot

from experiments.common.configuration import Count, Natural
from llm.methods import METHODS, Conditions
from llm.methods.kinds import Decoding
from llm.worlds.world import MOODS


@METHODS.register("drpo")
@dataclass(frozen=True)
class Drpo(Decoding):
    """The start, greedy, shown the best system prompt of a beam search; nothing is trained.

    At each level every path answers the same query with its prompt and with `proposals` new ones; the judge
    scores each answer from 1 to 5 on criteria of that query. A path is worth the mean of its rewards (of a
    beam of one, the last), `beam` paths are kept. A prompt whose last reward is above 4.5 is kept as it is,
    and such a level makes the search one deeper, at most `extend` times. The release's other half, rewritten
    examples retrieved into the context, is not here.

    Attributes
    ----------
    prompt : the system prompt that the search starts from
    judge : "language" (one criterion, `1 + 4 r*/max r*`), `module:function` or the folder of a chat model
    proposer : "language" (its moods, and none), `module:function` or the folder of a chat model
    proposals, beam, depth, extend : of the search; the released depth 20 counts the root
    """

    prompt: str = "You are a helpful assistant."
    judge: str = "language"
    proposer: str = "language"
    proposals: Count = 3
    beam: Count = 2
    depth: Count = 19
    extend: Natural = 10

    def skip(self, conditions: Conditions) -> str | None:
        """Only a language can judge and propose by itself."""
        if "language" in (self.judge, self.proposer) and not conditions.language:
            return "judge or proposer is language, and data.language is null"
        return None

    def texts(self, prompt: str) -> tuple[str, None]:
        """The system prompt and the prompt; a mood as system prompt takes the place of a language's own."""
        if self.prompt in MOODS:
            return f"{prompt.partition(' ')[0]} {self.prompt}", None
        return (f"{self.prompt}\n{prompt}" if self.prompt else prompt), None

    def law(self, told: Tensor, plain: Tensor | None) -> Tensor:
        """All mass on the likeliest token."""
        return one_hot(told.argmax(-1), told.shape[-1]).to(told.dtype)
