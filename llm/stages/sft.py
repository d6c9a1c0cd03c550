"""Supervised fine-tuning of a model made from scratch: `π_1`, close to the behaviour policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llm.files.digests import read_rows
from llm.settings import Settings


def sft(folder: Path, settings: Settings, tokenizer: Any) -> dict[str, Any]:
    """Stage: a fresh tiny Mistral trained on the demonstrations of `prepare`."""
    from llm.training.assembly import sft_trainer
    from llm.training.fit import fit
    from llm.worlds import tiny

    assert settings.sft is not None
    rows = read_rows(folder.parent / "prepare" / "demonstrations.parquet")
    model = tiny.model(tokenizer, settings.seed, **settings.model.architecture)
    trainer = sft_trainer(model, rows, settings.sft, folder, tokenizer, settings.seed)
    return fit(trainer, folder, tokenizer, settings.sft.ema)
