"""`python -m llm.export ITERATE TARGET`: merged weights in safetensors, tokenizer, model card.

`ITERATE` is a method's folder of a run (its answer: last iterate, best, or mixture) or one `train/model`
folder. Adapters are merged into their base. A mixture becomes a folder of models and `mixture.json`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from experiments.common.files import read_json, write_json
from experiments.common.program import guarded
from llm.files.digests import model_digest
from llm.models.bundled import MARK
from llm.stages.answer import models_of
from spac_theory.checks import InputError

CARD = """---
library_name: transformers
pipeline_tag: text-generation
base_model: {base}
license: {licence}
tags: [preference-optimisation, spac]
---
# {name}

{base}, trained on preference pairs by the method below.

```python
from transformers import pipeline

write = pipeline("text-generation", model="FOLDER")  # where these files are
{usage}
```

The licence is that of the base model ({terms}); the data may add conditions of their own.

| | |
|---|---|
| base model | {base} {weights_of_base} |
| data | {data} |
| start of the round | `{policy}` (hash of its weights) |
| rows with reference log-probs | `{streams}` (hash) |
| method | {method} |
| training | {train} |
| steps, final loss | {steps}, {loss} |
| hash of these weights | `{weights}` |
"""


def export(iterate: Path, target: Path) -> None:
    """Write `target/` whole or not at all."""
    models = [Path(model) for model in models_of(str(iterate))]
    for model in models:
        if not any((model / name).exists() for name in ("config.json", "adapter_config.json")):
            raise InputError(
                f"{model} holds no model; name a method's folder of a finished run, or one of its "
                "train/model folders."
            )
    if target.exists():
        raise InputError(f"{target} exists already; choose another target or remove it.")
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    if len(models) == 1:
        save(models[0], temporary, target.name)
    else:
        parts = [f"component-{number:02d}" for number in range(1, len(models) + 1)]
        for model, part in zip(models, parts, strict=True):
            save(model, temporary / part, f"{target.name}, {part}")
        weight = 1 / len(parts)
        write_json(temporary / "mixture.json", {part: weight for part in parts})
    os.replace(temporary, target)


def save(iterate: Path, folder: Path, name: str) -> None:
    """One merged model with tokenizer and card."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any
    if (iterate / "adapter_config.json").exists():
        from peft import AutoPeftModelForCausalLM

        model = AutoPeftModelForCausalLM.from_pretrained(
            iterate, trust_remote_code=False
        ).merge_and_unload()
    else:
        model = AutoModelForCausalLM.from_pretrained(iterate, trust_remote_code=False)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(iterate, trust_remote_code=False).save_pretrained(folder)
    (folder / "README.md").write_text(card(iterate, name, folder), encoding="utf-8")


def card(iterate: Path, name: str, saved: Path) -> str:
    """The model card: what the stage's record says of these weights."""
    record = iterate.parent / "stage.json"
    stage = read_json(record) if record.exists() else {"inputs": {}, "outputs": {}}
    given, made = stage["inputs"], stage["outputs"]
    return CARD.format(
        **origin(iterate, saved),
        name=name,
        policy=given.get("policy"),
        streams=given.get("streams"),
        method=_words(given.get("method")),
        train=_words(given.get("train")),
        steps=made.get("steps"),
        loss=made.get("final_loss"),
        weights=model_digest(saved),
    )


def origin(iterate: Path, saved: Path) -> dict[str, str]:
    """Base model, its licence, data and a line of usage, from the run's `prepare` stage."""
    records = (folder / "prepare" / "stage.json" for folder in iterate.resolve().parents)
    record = next((path for path in records if path.is_file()), None)
    found = read_json(record)["inputs"] if record else {}
    base, data = found.get("model") or {}, found.get("data") or {}
    mark = _mark(iterate)
    chat = any((saved / name).exists() for name in ("chat_template.jinja",))
    asked = (
        '[{"role": "user", "content": "…"}]'
        if chat and not data.get("sentiment")
        else '"In short,"'
    )
    return {
        "base": str(mark.get("name") or base.get("name") or "unknown"),
        "weights_of_base": f"`{base['weights']}`" if base.get("weights") else "",
        "licence": str(mark.get("licence") or "other").lower(),
        "terms": str(mark.get("terms") or mark.get("licence") or "not recorded here; look it up"),
        "data": _data(data, found.get("source")),
        "usage": f"print(write({asked}, max_new_tokens=64))",
    }


def _mark(iterate: Path) -> dict[str, Any]:
    """What a bundled base says of itself."""
    adapter = iterate / "adapter_config.json"
    base = Path(str(read_json(adapter)["base_model_name_or_path"])) if adapter.exists() else iterate
    return dict(read_json(base / MARK)) if (base / MARK).is_file() else {}


def _data(data: dict[str, Any], digest: str | None) -> str:
    """The rows in a few words."""
    if data.get("sentiment"):
        return f"the model's own answers, labelled by a lexicon ({_words(data['sentiment'])})"
    if data.get("language"):
        return f"a synthetic language ({_words(data['language'])})"
    if not data.get("source"):
        return "unknown"
    at = data.get("revision") or (f"hash {digest}" if digest else None)
    return f"{Path(data['source']).name}, split {data['split']}" + (f", {at}" if at else "")


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
