"""One generate → reference → train cycle of a random Mistral, beside `plan`'s estimate; see README.md."""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import torch

from llm.data.row import Row
from llm.methods import streams_of
from llm.methods.spac import Spac
from llm.models.flops import cost_of
from llm.models.logprobs import sequence_logps, with_logps
from llm.planning.memory import Hardware, memory
from llm.planning.size import measure
from llm.run import composed
from llm.settings import Settings, build
from llm.stages.reference import score
from llm.training.batches import SEQUENCES, StreamCollator, read
from llm.training.throughput import load_of, peak_arithmetic

GIB = 2**30
METHOD = Spac(lam=3.0, beta=0.1)
STREAMS = streams_of(METHOD, samples=1)
TINY = ("hidden_size=64", "intermediate_size=128", "num_attention_heads=4", "num_key_value_heads=2")


def settings(a):
    """The 7B configuration with the lengths, layers and micro-batch of this measurement."""
    overrides = ["model=mistral-7b", f"train.micro_batch={a.micro_batch}"]
    overrides += [f"train.batch={a.micro_batch}", f"data.max_length={2 * a.length}"]
    overrides += [f"model.architecture.num_hidden_layers={a.layers}"]
    overrides += [f"model.architecture.{change}" for change in (TINY if a.tiny else ())]
    return build(Settings, composed("run", *overrides))


class Meter:
    """Seconds and peak memory of pieces of work, on a GPU or (peak of the process) on a CPU."""

    def __init__(self, device):
        self.gpu, self.found = device == "cuda", {}

    def __call__(self, name, work):
        if self.gpu:
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if self.gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        peak = (
            torch.cuda.max_memory_allocated()
            if self.gpu
            else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        )
        self.found[name] = {"seconds": seconds, "peak_gib": peak / GIB}


class Cycle:
    """The model, the rows, and the three stages."""

    def __init__(self, a, chosen):
        from transformers import MistralConfig, MistralForCausalLM

        self.a, self.train_settings, self.flop = a, chosen.train, 0.0
        torch.manual_seed(0)
        with torch.device(a.device):
            self.model = MistralForCausalLM(MistralConfig(**chosen.model.architecture))
        with_logps(self.model)
        self.cost = cost_of(self.model)
        self.optimiser = torch.optim.RMSprop(self.model.parameters(), lr=5e-7)
        ids = torch.randint(3, self.model.config.vocab_size, (a.rows, 3, a.length)).tolist()
        self.rows = [Row(p, {"chosen": [c], "rejected": [r]}, {"current": {}}) for p, c, r in ids]

    def cast(self):
        return torch.autocast(self.a.device, torch.bfloat16)

    def generate(self):
        """One sample of full length a row."""
        n = self.a.length
        for start in range(0, len(self.rows), 64):
            part = self.rows[start : start + 64]
            prompts = torch.tensor([r.prompt for r in part], device=self.a.device)
            with torch.no_grad(), self.cast():
                out = self.model.generate(
                    prompts,
                    attention_mask=torch.ones_like(prompts),
                    do_sample=True,
                    min_new_tokens=n,
                    max_new_tokens=n,
                    pad_token_id=0,
                )
            for row, sample in zip(part, out[:, n:].tolist(), strict=True):
                row.responses["own"] = [sample]

    def reference(self):
        """Log-probs of the three streams."""
        for start in range(0, len(self.rows), 4):
            part = self.rows[start : start + 4]
            with self.cast():
                values = score(self.model, part, [s.name for s in STREAMS], 0)
            for row, logps in zip(part, values, strict=True):
                row.logp["current"].update(logps)

    def train(self):
        """One pass over the rows with activation checkpointing."""
        self.model.gradient_checkpointing_enable()
        self.model.train()
        collate = StreamCollator(0, STREAMS)
        for start in range(0, len(self.rows), self.a.micro_batch):
            batch = collate(self.rows[start : start + self.a.micro_batch])
            self.flop += self.cost.training(load_of(batch))
            batch = {k: v.to(self.a.device) for k, v in batch.items()}
            self.optimiser.zero_grad()
            with self.cast():
                chunk = self.train_settings.logp_chunk
                logps = sequence_logps(self.model, *(batch[n] for n in SEQUENCES), chunk=chunk)
            METHOD.loss(read(batch, logps, STREAMS))[0].backward()
            self.optimiser.step()

    def held(self):
        """GiB of what stays in memory between steps, by part."""

        def size(tensors):
            return sum(t.numel() * t.element_size() for t in tensors) / GIB

        state = [v for s in self.optimiser.state.values() for v in s.values()]
        return {
            "trained weights": size(self.model.parameters()),
            "gradients": size(p.grad for p in self.model.parameters() if p.grad is not None),
            "optimiser state": size(v for v in state if torch.is_tensor(v)),
        }


def show(parts, held, peak):
    """Print plan's parts beside what was measured."""
    from rich.console import Console
    from rich.table import Table

    table = Table("part", "plan, GiB", "measured, GiB")
    for name, value in parts.items():
        table.add_row(name, f"{value:.3f}", f"{held[name]:.3f}" if name in held else "")
    rest = sum(v for k, v in parts.items() if k not in held)
    table.add_row("all that is not held", f"{rest:.3f}", f"{peak - sum(held.values()):.3f}")
    table.add_row("training, peak", f"{sum(parts.values()):.3f}", f"{peak:.3f}")
    Console(width=100).print(table)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--length", type=int, default=512, help="tokens of prompt, and of answer")
    parser.add_argument("--micro-batch", type=int, default=2)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a width of 64, to try the script")
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    chosen = settings(a)
    size = measure(chosen)
    parts = {k: v for k, v in memory(chosen, size, Hardware(gpus=1)).items() if v}
    cycle, meter = Cycle(a, chosen), Meter(a.device)
    for stage in ("generate", "reference", "train"):
        meter(stage, getattr(cycle, stage))
    found, held = meter.found, cycle.held()
    peak, seconds = peak_arithmetic(), found["train"]["seconds"]
    results = {
        "device": torch.cuda.get_device_name() if a.device == "cuda" else "cpu",
        "arguments": vars(a) | {"out": str(a.out)},
        "stages": found,
        "held_gib": held,
        "plan_gib": parts,
        "generated_tokens_per_second": a.rows * a.length / found["generate"]["seconds"],
        "reference_pairs_per_second": a.rows / found["reference"]["seconds"],
        "train_pairs_per_second": a.rows / seconds,
        "train_flop": cycle.flop,
        "train_mfu": cycle.flop / seconds / peak if peak else None,
    }
    a.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps({k: v for k, v in results.items() if k != "plan_gib"}, indent=1))
    show(parts, held, found["train"]["peak_gib"])


if __name__ == "__main__":
    main()
