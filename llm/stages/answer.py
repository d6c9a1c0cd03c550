"""Which iterate is the answer of a method: the last, the best of the evaluation, or the mixture.

The mixture is the theory's `π̄`, uniform over `π_1 … π_T`: every response is drawn from one of them,
picked afresh. Its value is the mean of theirs. `answer.json` names what was chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from experiments.common.files import read_json, write_json
from llm.models.engines import Engine

ANSWER = "answer.json"
# Columns of the evaluation by which `best` is chosen, and whether more is better.
CRITERIA = {"suboptimality": False, "accuracy": True}


def best_round(reports: Sequence[dict[str, Any]]) -> int:
    """The round (from 0) with the best evaluation; the earlier one where two are equal."""
    name = next(name for name in CRITERIA if name in reports[-1])
    sign = -1 if CRITERIA[name] else 1
    return min(range(len(reports)), key=lambda t: sign * reports[t][name])


def answer(iterate: str, paths: Sequence[str], reports: Sequence[dict[str, Any]]) -> list[str]:
    """The models that make up the answer, from `π_1 … π_{T+1}` and the `T` evaluations."""
    if iterate == "mixture":
        return list(paths[:-1])
    return [paths[1 + best_round(reports)] if iterate == "best" else paths[-1]]


def numbers(iterate: str, reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The line of the table that belongs to the answer."""
    if iterate == "mixture":
        return dict(reports[-1].get("mixture", {}))
    return dict(reports[best_round(reports)] if iterate == "best" else reports[-1])


def write_answer(run: Path, method: str, iterate: str, models: Sequence[str]) -> None:
    """Write `answer.json` of a method; models of the run are named relative to it."""
    inside = [str(Path(m).relative_to(run)) if Path(m).is_relative_to(run) else m for m in models]
    write_json(run / method / ANSWER, {"iterate": iterate, "models": inside})


def models_of(path: str) -> list[str]:
    """The models behind `path`: those of its answer if it is a method's folder, else itself."""
    method = Path(path)
    if not (method / ANSWER).exists():
        return [path]
    names = read_json(method / ANSWER)["models"]
    return [str(method.parent / m) if (method.parent / m).exists() else m for m in names]


class MixtureEngine:
    """Draws every response from one of several engines, picked uniformly; see `Engine`."""

    def __init__(self, engines: Sequence[Engine], samples: int) -> None:
        self.engines, self.samples = engines, samples

    def __call__(self, prompts: Sequence[Sequence[int]], seed: int) -> list[list[list[int]]]:
        """Each engine draws for the rows that need it; a response's own coin says whose it is."""
        coin = torch.Generator().manual_seed(seed)
        shape = (len(prompts), self.samples)
        picks = torch.randint(len(self.engines), shape, generator=coin).tolist()
        answers: list[list[list[int]]] = [[[]] * self.samples for _ in prompts]
        for number, engine in enumerate(self.engines):
            rows = [row for row, pick in enumerate(picks) if number in pick]
            drawn = engine([prompts[row] for row in rows], seed + number) if rows else []
            for row, found in zip(rows, drawn, strict=True):
                for k in range(self.samples):
                    if picks[row][k] == number:
                        answers[row][k] = found[k]
        return answers
