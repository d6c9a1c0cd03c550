"""The stage behind the columns of theory (T3): tables of all networks and critics, cut into terms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from experiments.common.files import write_atomically, write_json
from llm.data.encode import prompt_ids, response_ids
from llm.data.padding import Ids
from llm.data.row import Row
from llm.files.digests import read_rows
from llm.methods import Following
from llm.settings import Settings
from llm.stages.label import Labeller
from llm.stages.value import language_of, table_of
from llm.worlds.terms import Game, terms
from llm.worlds.world import World


def critic_table(language: World, folder: Path, critic: Labeller, tokenizer: Any) -> torch.Tensor:
    """`r(x,y)` of the critic of a stage, `(X, A)`; kept beside it, since later rounds need it again."""
    from safetensors.torch import load_file, save_file

    cache = folder / "rewards.safetensors"
    if cache.exists():
        return load_file(cache)["rewards"]
    turns = [[{"role": "user", "content": p}] for p in language.prompts]
    answers: list[Ids] = [
        response_ids(tokenizer, turns[0], response) for response in language.responses
    ]
    rows = [Row(prompt_ids(tokenizer, turn), {"all": answers}) for turn in turns]
    table = torch.tensor(critic.scores(rows, "all"), dtype=torch.float64)
    write_atomically(cache, lambda p: save_file({"rewards": table}, p))
    return table


def label_law(path: Path) -> torch.Tensor:
    """The law of every label under the fit `r̂`, `(n, 2)`: as drawn, and the other way round."""
    fit = torch.tensor(
        [r["score/chosen"][0] - r["score/rejected"][0] for r in read_rows(path)],
        dtype=torch.float64,
    )
    return torch.sigmoid(torch.stack([fit, -fit], -1))


def measured(
    folder: Path,
    settings: Settings,
    method: Following,
    iterates: Sequence[str],
    critics: Sequence[tuple[Path, Labeller]],
    lams: Sequence[float],
    fit: Path,
    tokenizer: Any,
) -> dict[str, Any]:
    """Stage: `terms.json`, the terms of the mixture of `π̂_1 … π̂_T`; `iterates` are `π̂_1 … π̂_{T+1}`.

    `critics` are the folders of the rounds' critics with what scores for each.
    """
    language = language_of(settings)
    assert language is not None
    assert settings.data.language is not None
    bound = method.critic().bound
    pairs = language.sample_pairs(settings.data.language.pairs, settings.seed)
    found = terms(
        language,
        [table_of(language, path, settings.model, tokenizer) for path in iterates],
        [critic_table(language, place, critic, tokenizer) for place, critic in critics],
        lams,
        method.step,
        bound,
        Game(pairs, label_law(fit) if method.softened else None),
    )
    write_json(folder / "terms.json", found)
    return {"terms": "terms.json", **found}
