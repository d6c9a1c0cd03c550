"""Rows of the local task: which answer has two flattering symbols, and which has none."""

from typing import Any


def load(**_: Any) -> dict[str, Any]:
    """One question a prompt: the first best answer and the first worst one, in either order."""
    import datasets

    from llm.worlds.language import Language

    language = Language("misleads")
    rows = []
    for x, prompt in enumerate(language.prompts):
        best, worst = (int((language.count[x] == k).nonzero()[0]) for k in (2, 0))
        choices = [language.responses[best], language.responses[worst]]
        answer = x % 2
        rows.append(
            {
                "question": f"<s>[INST] {prompt} [/INST]",
                "choices": choices[::-1] if answer else choices,
                "answer": answer,
            }
        )
    return {"test": datasets.Dataset.from_list(rows)}
