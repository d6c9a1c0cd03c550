"""The prepare stage: rows from a language or from files, checked and tokenised."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from experiments.common.files import write_json
from llm.data import columns, formats, templates
from llm.data import held_out as held
from llm.data.row import Row, write_native
from llm.data.validate import Limits
from llm.data.validate import prepare as validate
from llm.files.digests import file_digest, read_rows, write_rows
from llm.models.load import ModelSettings, load_tokenizer
from llm.settings import DataSettings, LanguageSettings
from llm.stages import respond
from llm.worlds import tiny
from llm.worlds.world import make_world


def identity(data: DataSettings, model: ModelSettings, seed: int) -> dict[str, Any]:
    """What the prepared rows depend on: settings, and the hash of a source file."""
    source = Path(data.source or "").expanduser()
    return {
        "data": asdict(data),
        "source": file_digest(source) if source.is_file() else None,
        "template": templates.source(data.chat_template),
        "model": model.identity,
        "seed": seed,
    }


def make_tokenizer(data: DataSettings, model: ModelSettings) -> Any:
    """The language's own tokenizer, or the base model's, with the template asked for."""
    tok = tiny.tokenizer() if data.language else load_tokenizer(model.name, model.revision)
    return templates.check(templates.install(tok, data.chat_template))


def prepare(
    folder: Path,
    data: DataSettings,
    model: ModelSettings,
    seed: int,
    responses: Path | None = None,
) -> dict[str, Any]:
    """Stage: `rows.parquet`, `test.parquet` or `demonstrations.parquet`, `tokenizer/`, a report.

    With `responses`, the file of that stage, rows are taken as they are there.
    """
    tok = make_tokenizer(data, model)
    limits = Limits(data.max_prompt_length, data.max_length, data.identical_pairs)
    outputs: dict[str, Any] = {"rows": "rows.parquet", "report": "report.json"}
    if data.language is not None:
        raw = language_rows(data.language, seed)
        write_rows(folder / "demonstrations.parquet", demonstrations(data.language, tok, seed))
        outputs["demonstrations"] = "demonstrations.parquet"
        rows, report = validate(raw, tok, limits)
    elif responses is not None:
        made = read_rows(responses)
        test = [row for row in made if row["split"] == "test"]
        rows, report = respond.native(made, "train"), respond.summary(made)
        outputs |= _held_out(folder, respond.native(made, "test"), test, "subjects of its own")
    else:
        assert data.source is not None
        raw, test, origin = _splits(data, seed)
        held_out: frozenset[str] = frozenset()
        if test:
            test_rows, report_test = validate(test, tok, limits)
            write_json(folder / "report_test.json", report_test)
            held_out = frozenset(row.key for row in test_rows)
            outputs |= _held_out(folder, test_rows, test, origin)
        rows, report = validate(raw, tok, limits, held_out)
    write_native(folder / "rows.parquet", rows)
    write_json(folder / "report.json", report)
    tok.save_pretrained(folder / "tokenizer")
    return outputs


def _splits(data: DataSettings, seed: int) -> tuple[list[Any], list[Any], str]:
    """Training rows, held-out rows, and where the latter come from, in words."""
    assert data.source is not None

    def read(split: str) -> list[Any]:
        found = formats.load(str(data.source), split, data.revision)
        return columns.renamed(found, data.columns)

    raw = read(data.split)[: data.max_rows]
    if data.test_split is not None:
        return raw, read(data.test_split), f"the split {data.test_split}"
    rows, test = held.cut(raw, data.test_share, seed)
    share = f"{data.test_share:.0%} of the prompts, cut out of {data.split} with their rows"
    return rows, test, f"{share} (data.test_split is null)"


def _held_out(folder: Path, rows: list[Row], raw: list[Any], origin: str) -> dict[str, str]:
    """Write the held-out rows, and the words of some of them for people to read."""
    write_native(folder / "test.parquet", rows)
    write_json(folder / "held_out.json", {"origin": origin, "rows": held.texts(raw)})
    return {"test": "test.parquet", "held_out": "held_out.json"}


def _turn(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def language_rows(settings: LanguageSettings, seed: int) -> list[dict[str, Any]]:
    """Preference rows of a language, as conversations."""
    language = make_world(settings.name, settings.coverage, settings.scale)
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

    language = make_world(settings.name, settings.coverage, settings.scale)
    g = torch.Generator().manual_seed(1_000_003 + seed)  # another stream than the pairs'
    x = torch.randint(len(language.prompts), (settings.demonstrations,), generator=g)
    y = torch.multinomial(language.behaviour[x], 1, generator=g).squeeze(-1)
    prompts = [prompt_ids(tokenizer, _turn(p)) for p in language.prompts]
    answers = [response_ids(tokenizer, _turn("sun calm"), r) for r in language.responses]
    return [
        {"prompt_ids": prompts[i], "response_ids": answers[j]}
        for i, j in zip(x.tolist(), y.tolist(), strict=True)
    ]
