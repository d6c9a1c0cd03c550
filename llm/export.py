"""`python -m llm.export ITERATE TARGET`: merged weights in safetensors, tokenizer, model card.

`ITERATE` is a `train/model` folder of a run. Adapters are merged into their base.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from llm.artifacts import model_digest, read_json
from llm.run import guarded
from spac_theory.checks import InputError

CARD = """---
library_name: transformers
tags: [preference-optimisation, spac]
---
# {name}

A language model trained with practical SPAC (Ji et al., 2024, arXiv 2406.04274).

| | |
|---|---|
| start of the round | `{policy}` (hash of its weights) |
| rows with reference log-probs | `{streams}` (hash) |
| objective | {objective} |
| training | {train} |
| steps, final loss | {steps}, {loss} |
| hash of these weights | `{weights}` |
"""


def export(iterate: Path, target: Path) -> None:
    """Write `target/` whole or not at all."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not (iterate / "config.json").exists() and not (iterate / "adapter_config.json").exists():
        raise InputError(f"{iterate} holds no model; name a train/model folder of a run.")
    if target.exists():
        raise InputError(f"{target} exists already; choose another target or remove it.")
    model: Any
    if (iterate / "adapter_config.json").exists():
        from peft import AutoPeftModelForCausalLM

        model = AutoPeftModelForCausalLM.from_pretrained(iterate).merge_and_unload()
    else:
        model = AutoModelForCausalLM.from_pretrained(iterate)
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary)
    AutoTokenizer.from_pretrained(iterate).save_pretrained(temporary)
    (temporary / "README.md").write_text(card(iterate, target.name, temporary), encoding="utf-8")
    os.replace(temporary, target)


def card(iterate: Path, name: str, saved: Path) -> str:
    """The model card: what the stage's record says of these weights."""
    record = iterate.parent / "stage.json"
    stage = read_json(record) if record.exists() else {"inputs": {}, "outputs": {}}
    given, made = stage["inputs"], stage["outputs"]
    return CARD.format(
        name=name,
        policy=given.get("policy"),
        streams=given.get("streams"),
        objective=_words(given.get("objective")),
        train=_words(given.get("train")),
        steps=made.get("steps"),
        loss=made.get("final_loss"),
        weights=model_digest(saved),
    )


def _words(values: dict[str, Any] | None) -> str:
    return ", ".join(f"{k} {v}" for k, v in (values or {}).items())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="llm.export", description=__doc__.split("\n")[0])
    parser.add_argument("iterate", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    sys.exit(guarded(lambda: export(arguments.iterate, arguments.target)))


if __name__ == "__main__":
    main()
