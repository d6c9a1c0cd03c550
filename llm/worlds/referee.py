"""The judges that a synthetic language has: one knows the true reward, the other goes round in circles."""

from __future__ import annotations

import torch
from torch import Tensor

from llm.worlds.bandit import grouped
from llm.worlds.language import Language
from llm.worlds.world import World
from spac_theory.learning.preference_game import exploitability


class LanguageJudge:
    """Scores `scale · r*(x, y)`; texts outside the language have the reward of the worst response."""

    def __init__(self, language: World) -> None:
        self.scale, reward = language.scale, language.reward.tolist()
        self.worst = float(language.reward.min())
        self.table = {
            prompt: dict(zip(language.responses, reward[x], strict=True))
            for x, prompt in enumerate(language.prompts)
        }

    def __call__(self, prompts: list[str], answers: list[str]) -> list[float]:
        """One score a pair."""
        return [
            self.scale * self.table[words(p)].get(a, self.worst)
            for p, a in zip(prompts, answers, strict=True)
        ]


def words(text: str) -> str:
    """The two words of a prompt, whatever turn marks are around them."""
    return " ".join(word for word in text.split() if not word.startswith("["))


BEATS = ((0, -1, -1, -1), (1, 0, -1, 1), (1, 1, 0, -1), (1, -1, 1, 0))  # by the number k of symbols


def cyclic_preferences(language: Language) -> Tensor:
    """`P(k ≻ k')` `(4, 4)`: two beats one, three beats two, one beats three, and all beat none.

    No reward explains it. Its only equilibrium, whatever the scale, has a third of the mass on each of
    `k = 1, 2, 3`.
    """
    return torch.sigmoid(language.scale * torch.tensor(BEATS, dtype=torch.float64))


def cyclic_exploitability(language: Language, policy: Tensor) -> float:
    """`E_x max_y P(y ≻ π|x) − ½` of probabilities `(X, A)`, or `(X, A+1)` with other texts last."""
    inside = policy[:, : language.count.shape[-1]]
    mass = grouped(language, inside)
    mass[:, 0] += 1 - inside.sum(-1)
    chances = cyclic_preferences(language).expand(len(mass), -1, -1)
    rho = torch.full((len(mass),), 1 / len(mass), dtype=torch.float64)
    return float(exploitability(mass, chances, rho))


class CyclicJudge:
    """`P(first ≻ second)` by :func:`cyclic_preferences`; texts outside the language count as `k = 0`."""

    def __init__(self, language: Language) -> None:
        self.chances = cyclic_preferences(language).tolist()
        self.count = {
            prompt: dict(zip(language.responses, language.count[x].tolist(), strict=True))
            for x, prompt in enumerate(language.prompts)
        }

    def __call__(self, prompts: list[str], first: list[str], second: list[str]) -> list[float]:
        """One chance a pair."""
        return [
            self.chances[self.count[words(p)].get(a, 0)][self.count[words(p)].get(b, 0)]
            for p, a, b in zip(prompts, first, second, strict=True)
        ]
