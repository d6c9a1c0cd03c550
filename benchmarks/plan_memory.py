"""The planner's memory against what training takes: `python -m benchmarks.plan_memory`.

Every line is one training of two steps or more in a process of its own, on rows of one length. Measured is
the largest resident memory less what the libraries take before the model is there; planned is the sum of
`llm.plan`'s parts for the same pass. The C library is told to give back large pieces at once, so that
resident memory is what is in use; `--keep` leaves it as it is, with what it holds back for later.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.training import GIB, child, fixed_rows
from experiments.common.files import write_json
from experiments.common.table import Table, make_console

PROMPT, ANSWER = 100, 70
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}  # glibc
LLAMA = {
    "vocab_size": 8192, "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8,
    "num_attention_heads": 8, "num_key_value_heads": 4,
}  # fmt: skip
BASE = {
    "device": "cpu", "streams": 2, "batch": 4, "micro_batch": 4, "tokens": None,
    "warm": 0, "logp_chunk": 1024,
    "learning_rate": 1e-6, "optimiser": "adamw", "bf16": False, "checkpointing": False,
}  # fmt: skip
CASES = {
    "packed": {"system": "packed"},
    "padded": {"system": "padded"},
    "packed, recomputed": {"system": "packed", "checkpointing": True},
    "packed, two passes a step": {"system": "packed", "batch": 8},
    "packed, chunks of 128": {"system": "packed", "logp_chunk": 128},
    "packed, rmsprop": {"system": "packed", "optimiser": "rmsprop"},
    "packed, three streams": {"system": "packed", "streams": 3},
}


def settings_of(model: str, spec: dict[str, Any]) -> Any:
    """The settings of a run that trains as the specification says."""
    from llm.recipes import settled
    from llm.run import composed
    from llm.settings import Settings, build

    words = [
        "model=smollm2-135m",
        "train=full",
        f"methods=[{'dpo' if spec['streams'] == 2 else 'spac'}]",
    ]
    words += [
        f"train.{k}={spec[v]}" for k, v in (("batch", "batch"), ("micro_batch", "micro_batch"))
    ]
    words += [f"train.gradient_checkpointing={spec['checkpointing']}", "train.bf16=false"]
    words += [f"train.optimiser={spec['optimiser']}", f"train.logp_chunk={spec['logp_chunk']}"]
    words += [f"train.packing={spec['system'] == 'packed'}", "train.report_to=[]"]
    if model == "small-llama":
        words += [f"model.architecture.{k}={v}" for k, v in LLAMA.items()]
        words += ["model.architecture.tie_word_embeddings=false"]
    return build(Settings, settled(composed("run", *words)))


def planned(model: str, spec: dict[str, Any]) -> dict[str, float]:
    """GiB by part."""
    from llm.planning.memory import Hardware, memory
    from llm.planning.reading import Pass
    from llm.planning.size import measure

    settings, rows, count = settings_of(model, spec), spec["micro_batch"], spec["streams"]
    tree, padded = PROMPT + count * ANSWER, PROMPT + ANSWER
    packed = spec["system"] == "packed"
    one = Pass(
        rows * (tree if packed else count * padded),
        rows * count * ANSWER,
        rows * (tree**2 if packed else count * padded**2),
        packed,
    )
    here = Hardware(gpus=1, overhead=0.0, gpu=False)
    return memory(settings, measure(settings), here, one)


def compare(model: str, name: str, prefix: str | None) -> dict[str, Any]:
    """One line."""
    spec = BASE | CASES[name] | {"model": model, "shape": LLAMA if model == "small-llama" else {}}
    spec["rows"] = fixed_rows(2 * spec["batch"], PROMPT, ANSWER, spec["streams"])
    found = child(spec, sys.executable, prefix)
    parts = planned(model, spec)
    measured = (found["peak_bytes"] - found["libraries_bytes"]) / GIB
    total = sum(parts.values())
    print(f"{model}, {name}: planned {total:.3f}, measured {measured:.3f} GiB", flush=True)
    return {
        "model": model,
        "case": name,
        "planned_gib": total,
        "measured_gib": measured,
        "libraries_gib": found["libraries_bytes"] / GIB,
        "parts_gib": parts,
    }


def main() -> None:
    """Print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["small-llama", "smollm2-135m"])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--prefix", help='words before each command, such as "taskset -c 1 nice"')
    parser.add_argument("--keep", action="store_true", help="the C library as it is")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/plan_memory.json"))
    a = parser.parse_args()
    os.environ.update({} if a.keep else GIVE_BACK)
    found = [compare(model, name, a.prefix) for model in a.models for name in a.cases]
    a.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(a.out, json.loads(json.dumps(found)))
    lines = [
        [
            f"{f['model']}, {f['case']}",
            f"{f['planned_gib']:.3f}",
            f"{f['measured_gib']:.3f}",
            f"{f['planned_gib'] / f['measured_gib']:.2f}",
        ]
        for f in found
    ]
    header = ["training", "planned, GiB", "measured, GiB", "planned / measured"]
    Table("", header, lines).show(make_console())


if __name__ == "__main__":
    main()
