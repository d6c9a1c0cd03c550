"""Our trainer, padded and packed, against TRL's DPO trainer: `python -m benchmarks.training`.

    python -m benchmarks.training                                    # SmolLM2-135M on a CPU, minutes
    python -m benchmarks.training --model small-llama                # random weights, seconds
    python -m benchmarks.training --trl-python other-env/bin/python  # TRL installed apart
    python -m benchmarks.training --rows rows.jsonl                  # lengths of one's own rows

One model, the same rows, batches, order and reference log-probs (computed before, not timed), AdamW in
float32, every system in a process of its own. Two streams (chosen, rejected) are DPO; three (with one sample
of the policy's) are SPAC, which TRL has not. Where TRL is not installed it is left out, and that is said.
The losses of all steps are compared: systems that differ did not do the same work.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from experiments.common.files import write_json
from experiments.common.table import Table, make_console

# Medians of prompt and answers in tokens, and the spread (standard deviation of the logarithm).
LENGTHS = {"short": (30, 60, 0.6), "usual": (100, 70, 0.6), "long": (300, 100, 0.6)}
STREAMS = ("chosen", "rejected", "own")
GIB = 2**30


def drawn_rows(kind: str, count: int, vocabulary: int, longest: int) -> list[dict[str, Any]]:
    """Rows of random tokens with log-normal lengths."""
    dice = random.Random(kind)
    prompt, answer, spread = LENGTHS[kind]

    def ids(median: float) -> list[int]:
        size = min(longest, max(2, round(dice.lognormvariate(0, spread) * median)))
        return [dice.randrange(3, vocabulary) for _ in range(size)]

    return [
        {"prompt": ids(prompt), "responses": {name: ids(answer) for name in STREAMS}}
        for _ in range(count)
    ]


def fixed_rows(count: int, prompt: int, answer: int, streams: int) -> list[dict[str, Any]]:
    """Rows of one length, with a made-up reference."""
    dice = random.Random(0)

    def ids(size: int) -> list[int]:
        return [dice.randrange(3, 2000) for _ in range(size)]

    names = STREAMS[:streams]
    return [
        {
            "prompt": ids(prompt),
            "responses": {name: ids(answer) for name in names},
            "reference": {name: [-100.0] for name in names},
        }
        for _ in range(count)
    ]


def stored_rows(path: str, count: int) -> list[dict[str, Any]]:
    """The first rows of a run's Parquet file (`prepare/rows.parquet`) as they are, ids and all.

    Where nothing was sampled, the rejected answer of the next row is the third.
    """
    from llm.data.row import read_native

    rows = read_native(Path(path))[:count]
    after = rows[1:] + rows[:1]
    return [
        {
            "prompt": list(row.prompt),
            "responses": {"own": list(other.responses["rejected"][0])}
            | {name: list(row.responses[name][0]) for name in STREAMS if name in row.responses},
        }
        for row, other in zip(rows, after, strict=True)
    ]


def lengths(rows: list[dict[str, Any]], streams: int) -> dict[str, Any]:
    """What has to be said of the rows: tokens of prompts and answers, and the padding of a whole batch."""
    prompts = sorted(len(r["prompt"]) for r in rows)
    answers = sorted(len(r["responses"][s]) for r in rows for s in STREAMS[:streams])
    return {
        name: {"least": v[0], "median": v[len(v) // 2], "mean": sum(v) / len(v), "most": v[-1]}
        for name, v in (("prompt", prompts), ("answer", answers))
    }


def once(rows: list[dict[str, Any]], streams: int) -> float:
    """Tokens a pair, the prompt counted once."""
    sizes = [
        len(r["prompt"]) + sum(len(r["responses"][s]) for s in STREAMS[:streams]) for r in rows
    ]
    return sum(sizes) / len(sizes)


def child(spec: dict[str, Any], python: str, core: str | None) -> dict[str, Any]:
    """One specification in a process of its own; raises RuntimeError if it fails."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "found.json"
        told = Path(place) / "spec.json"
        told.write_text(json.dumps(spec | {"out": str(out)}))
        command = [*(core.split() if core else []), python, "-m", "benchmarks._systems", str(told)]
        quiet = {**os.environ, "PYTHONWARNINGS": "ignore", "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            command, env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{spec['system']} failed:\n{done.stderr[-4000:]}")
        return dict(json.loads(out.read_text()))


def trl_version(python: str) -> str | None:
    """The version of TRL beside this interpreter, None where there is none."""
    words = "import trl, transformers; print(trl.__version__)"
    done = subprocess.run([python, "-c", words], capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1] if done.returncode == 0 else None


def systems_of(streams: int, a: argparse.Namespace) -> list[str]:
    """What is compared: TRL has two streams alone."""
    return [s for s in a.systems if s != "trl" or (streams == 2 and a.trl)]


def case(kind: str, streams: int, a: argparse.Namespace) -> dict[str, Any]:
    """All systems on one set of rows."""
    vocabulary = 2000 if a.model == "small-llama" else 30000
    rows = (
        stored_rows(a.rows, a.pairs) if a.rows else drawn_rows(kind, a.pairs, vocabulary, a.longest)
    )
    kept = [
        r | {"responses": {s: r["responses"][s] for s in STREAMS[:streams]}, "reference": {}}
        for r in rows
    ]
    spec = vars(a) | {"streams": streams, "rows": kept, "system": "reference"}
    spec["rows"] = child(spec, sys.executable, a.prefix)["rows"]
    found = dict[str, Any]()
    for system in systems_of(streams, a):
        python = a.trl_python if system == "trl" else sys.executable
        found[system] = child(spec | {"system": system}, python, a.prefix)
        print(
            f"{kind}, {streams} streams, {system}: {rate(found[system], a):.3g} pairs/s", flush=True
        )
    return {
        "rows": a.rows or kind,
        "streams": streams,
        "lengths": lengths(kept, streams),
        "tokens_a_pair": once(kept, streams),
        "systems": found,
        "losses_apart": apart([f["losses"] for f in found.values()]),
    }


def apart(losses: list[list[float]]) -> float:
    """The largest relative difference between the systems' losses, step by step."""
    return max((max(v) - min(v)) / max(map(abs, v)) for v in zip(*losses, strict=True))


def rate(found: dict[str, Any], a: argparse.Namespace) -> float:
    """Pairs a second: of the processor, or of the clock where a GPU computes."""
    return found["pairs"] / found["wall_seconds" if a.device == "cuda" else "processor_seconds"]


def table(cases: list[dict[str, Any]], a: argparse.Namespace) -> Table:
    """A line a system; ratios to the first system of its case."""
    lines = []
    for one in cases:
        for system, found in one["systems"].items():
            base = one["systems"]["trl" if "trl" in one["systems"] else "padded"]
            speed = rate(found, a)
            lines.append(
                [
                    f"{one['rows']}, {one['streams']}",
                    {"trl": f"TRL {a.trl}"}.get(system, f"ours, {system}"),
                    f"{speed:.3f}",
                    f"{speed * one['tokens_a_pair']:.0f}",
                    f"{found['peak_bytes'] / GIB:.2f}",
                    f"{speed / rate(base, a):.2f}",
                    f"{found['peak_bytes'] / base['peak_bytes']:.2f}",
                ]
            )
    header = ["rows, streams", "system", "pairs/s", "tokens/s", "peak, GiB", "× pairs/s", "× peak"]
    return Table("", header, lines, left=2)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--model",
        default="smollm2-135m",
        help="small-llama, mistral-7b (random), a bundle, a folder",
    )
    add(
        "--shape",
        type=json.loads,
        default={},
        help='changes to a random model: {"num_hidden_layers": 8}',
    )
    add("--device", choices=["cpu", "cuda"], default="cpu")
    add("--streams", type=int, nargs="+", choices=[2, 3], default=[2, 3])
    add("--lengths", nargs="+", choices=list(LENGTHS), default=["short", "long"])
    add("--rows", help="a run's rows (prepare/rows.parquet) instead of drawn ones")
    add("--longest", type=int, default=1024, help="cut of a drawn prompt or answer, in tokens")
    add(
        "--systems",
        nargs="+",
        choices=["trl", "padded", "packed"],
        default=["trl", "padded", "packed"],
    )
    add("--pairs", type=int, default=16)
    add("--batch", type=int, default=8)
    add("--micro-batch", type=int, default=4)
    add("--tokens", type=int, help="a budget of tokens a pass for packs, instead of --micro-batch")
    add("--warm", type=int, default=0, help="first steps that are not timed")
    add("--logp-chunk", type=int, default=1024)
    add("--learning-rate", type=float, default=1e-6)
    add("--optimiser", choices=["adamw", "rmsprop"], default="adamw")
    add("--bf16", action="store_true")
    add("--checkpointing", action="store_true", help="recompute activations, in all systems")
    add("--trl-python", default=sys.executable, help="the interpreter of an environment with TRL")
    add("--prefix", help='words before each command, such as "taskset -c 1 nice"')
    add("--out", type=Path, default=Path("build/benchmarks/training.json"))
    return parser.parse_args()


def main() -> None:
    """Run the cases, write JSON, print the table."""
    a = arguments()
    a.trl = trl_version(a.trl_python) if "trl" in a.systems else None
    if a.trl is None:
        print(
            "TRL is not installed here, so it is left out (--trl-python names another environment)."
        )
    out, a.out = a.out, str(a.out)
    kinds = [a.rows] if a.rows else a.lengths
    cases = [case(kind, streams, a) for kind in kinds for streams in a.streams]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, {"arguments": vars(a), "cases": cases})
    table(cases, a).show(make_console())
    for one in cases:
        told = {k: "{median} ({least} to {most})".format(**v) for k, v in one["lengths"].items()}
        words = ", ".join(f"{k} {v} tokens" for k, v in told.items())
        print(
            f"{one['rows']}, {one['streams']} streams: {words}; losses {one['losses_apart']:.1e} apart"
        )


if __name__ == "__main__":
    main()
