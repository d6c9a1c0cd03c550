"""The judge that a synthetic language has: it knows the true reward."""

from __future__ import annotations

from llm.worlds.world import World


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
            self.scale * self.table[self._prompt(p)].get(a, self.worst)
            for p, a in zip(prompts, answers, strict=True)
        ]

    def _prompt(self, text: str) -> str:
        """The two words of a prompt, whatever turn marks are around them."""
        return " ".join(word for word in text.split() if not word.startswith("["))
