"""The evaluate stage: exact values on a language, held-out preference accuracy elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from experiments.common.files import write_json
from llm.data.encode import prompt_ids, response_ids
from llm.files import processes
from llm.files.digests import Rows, read_rows
from llm.models.load import ModelSettings, load_model
from llm.models.logprobs import with_logps
from llm.settings import Settings
from llm.stages.reference import score
from llm.worlds import exact
from llm.worlds.language import Language


def evaluate(
    folder: Path, settings: Settings, tokenizer: Any, iterates: list[str], start: str
) -> dict[str, Any]:
    """Stage: a report on the last of `iterates` (`π_1 … π_{t+1}`), and on their mixture.

    Exact on a language; elsewhere the accuracy of the implicit reward `β log(π/π_1)` on test rows.
    """
    if settings.data.language is not None:
        report = exact_report(folder, settings, tokenizer, iterates, start)
    else:
        report = held_out_report(folder, settings, tokenizer, iterates[-1], start)
    write_json(folder / "report.json", report)
    return {"report": "report.json", **report}


def language_of(settings: Settings) -> Language:
    """The synthetic language of a run."""
    assert settings.data.language is not None
    s = settings.data.language
    return Language(s.name, s.coverage, s.scale)


def _table(language: Language, path: str, model: ModelSettings, tokenizer: Any) -> torch.Tensor:
    """`log π(y|x)` of a saved iterate; kept beside the model, since later rounds need it again."""
    from safetensors.torch import load_file, save_file

    cache = Path(path).parent / "policy.safetensors"
    if cache.exists():
        return load_file(cache)["logps"]
    turns = [[{"role": "user", "content": p}] for p in language.prompts]
    table = exact.policy_table(
        load_model(path, model),
        [prompt_ids(tokenizer, turn) for turn in turns],
        [response_ids(tokenizer, turns[0], response) for response in language.responses],
        tokenizer.pad_token_id,
    )
    from experiments.common.files import write_atomically

    write_atomically(cache, lambda p: save_file({"logps": table}, p))
    return table


def exact_report(
    folder: Path, settings: Settings, tokenizer: Any, iterates: list[str], start: str
) -> dict[str, Any]:
    """Exact numbers of the last iterate, and the value of the uniform mixture of all of them."""
    language = language_of(settings)
    assert settings.data.language is not None
    pairs = language.sample_pairs(settings.data.language.pairs, settings.seed)
    tables = [_table(language, path, settings.model, tokenizer) for path in iterates]
    first = _table(language, start, settings.model, tokenizer)
    report = exact.report(language, tables[-1], first, pairs)
    played = tables[:-1] or tables  # theory: π̄ averages π_1 … π_T
    mixture = torch.stack([exact.closed(t) for t in played]).mean(0)
    best = report["value"] + report["suboptimality"]
    report["mixture_value"] = exact.table_value(language, mixture)
    report["mixture_suboptimality"] = best - report["mixture_value"]
    inside = mixture[:, : first.shape[-1]].log()
    return {**report, "mixture": exact.report(language, inside, first, pairs)}


def held_out_report(
    folder: Path, settings: Settings, tokenizer: Any, path: str, start: str
) -> dict[str, Any]:
    """Preference accuracy and mean log-probs on the test rows (empty without a test split)."""
    test = Path(settings.run_dir) / "prepare" / "test.parquet"
    if not test.exists():
        return {}
    rows = [dict(row, selfplay_ids=[]) for row in read_rows(test)]
    now, then = (_scores(p, rows, settings, tokenizer) for p in (path, start))
    ratio = now - then
    return {
        "accuracy": float((ratio[:, 0] > ratio[:, 1]).double().mean()),
        "logp_chosen": float(now[:, 0].mean()),
        "logp_rejected": float(now[:, 1].mean()),
    }


@torch.no_grad()
def _scores(path: str, rows: Rows, settings: Settings, tokenizer: Any) -> torch.Tensor:
    model = with_logps(load_model(path, settings.model).to(processes.device()).eval())
    size = settings.reference_batch
    parts = [
        score(model, rows[i : i + size], tokenizer.pad_token_id) for i in range(0, len(rows), size)
    ]
    return torch.tensor([row for part in parts for row in part], dtype=torch.float64)
