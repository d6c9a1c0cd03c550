"""The prepare stage: rows from a language or from files, checked and tokenised."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from experiments.common.files import write_json
from llm.data import formats, templates
from llm.data.validate import Limits
from llm.data.validate import prepare as validate
from llm.files.digests import file_digest, write_rows
from llm.models.load import ModelSettings, load_tokenizer
from llm.settings import DataSettings, LanguageSettings
from llm.worlds import tiny
from llm.worlds.language import Language


def identity(data: DataSettings, model: ModelSettings, seed: int) -> dict[str, Any]:
    """What the prepared rows depend on: settings, and the hash of a source file."""
    source = Path(data.source or "").expanduser()
    return {
        "data": asdict(data),
        "source": file_digest(source) if source.is_file() else None,
        "template": templates.source(data.chat_template),
        "model": {"name": model.name, "revision": model.revision},
        "seed": seed,
    }


def make_tokenizer(data: DataSettings, model: ModelSettings) -> Any:
    """The language's own tokenizer, or the base model's, with the template asked for."""
    tok = tiny.tokenizer() if data.language else load_tokenizer(model.name, model.revision)
    return templates.install(tok, data.chat_template)


def prepare(folder: Path, data: DataSettings, model: ModelSettings, seed: int) -> dict[str, Any]:
    """Stage: `rows.parquet`, `test.parquet` or `demonstrations.parquet`, `tokenizer/`, a report."""
    tok = make_tokenizer(data, model)
    limits = Limits(data.max_prompt_length, data.max_length, data.identical_pairs)
    outputs: dict[str, Any] = {"rows": "rows.parquet", "report": "report.json"}
    if data.language is not None:
        raw = language_rows(data.language, seed)
        write_rows(folder / "demonstrations.parquet", demonstrations(data.language, tok, seed))
        outputs["demonstrations"] = "demonstrations.parquet"
        rows, report = validate(raw, tok, limits)
    else:
        assert data.source is not None
        raw = formats.load(data.source, data.split, data.revision)[: data.max_rows]
        held_out: frozenset[str] = frozenset()
        if data.test_split is not None:
            test = formats.load(data.source, data.test_split, data.revision)
            test_rows, report_test = validate(test, tok, limits)
            write_rows(folder / "test.parquet", test_rows)
            write_json(folder / "report_test.json", report_test)
            held_out = frozenset(row["prompt_key"] for row in test_rows)
            outputs["test"] = "test.parquet"
        rows, report = validate(raw, tok, limits, held_out)
    write_rows(folder / "rows.parquet", rows)
    write_json(folder / "report.json", report)
    tok.save_pretrained(folder / "tokenizer")
    return outputs


def _turn(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def language_rows(settings: LanguageSettings, seed: int) -> list[dict[str, Any]]:
    """Preference rows of a language, as conversations."""
    language = Language(settings.name, settings.coverage, settings.scale)
    prompts, responses = language.prompts, language.responses
    return [
        {"prompt": _turn(prompts[x]), "chosen": responses[a], "rejected": responses[b]}
        for x, a, b in zip(
            *(t.tolist() for t in language.sample_pairs(settings.pairs, seed)), strict=True
        )
    ]


def demonstrations(settings: LanguageSettings, tokenizer: Any, seed: int) -> list[dict[str, Any]]:
    """Unlabelled draws from the behaviour policy, for supervised fine-tuning."""
    from llm.data.encode import prompt_ids, response_ids

    language = Language(settings.name, settings.coverage, settings.scale)
    g = torch.Generator().manual_seed(1_000_003 + seed)  # another stream than the pairs'
    x = torch.randint(len(language.prompts), (settings.demonstrations,), generator=g)
    y = torch.multinomial(language.behaviour[x], 1, generator=g).squeeze(-1)
    prompts = [prompt_ids(tokenizer, _turn(p)) for p in language.prompts]
    answers = [response_ids(tokenizer, _turn("sun calm"), r) for r in language.responses]
    return [
        {"prompt_ids": prompts[i], "response_ids": answers[j]}
        for i, j in zip(x.tolist(), y.tolist(), strict=True)
    ]
