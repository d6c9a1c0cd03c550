"""One generate → reference → train cycle of a random Mistral-7B; see README.md for the command."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from llm.batches import PreferenceCollator
from llm.logprobs import sequence_logps, with_logps
from llm.objective import Objective
from llm.reference import score

SHAPE = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32768,
    "sliding_window": None,
}


def measure(name, work, results):
    """Run `work`, record its seconds and the peak memory."""
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    start = time.perf_counter()
    value = work()
    torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    results[name] = {"seconds": seconds, "peak_gib": torch.cuda.max_memory_allocated() / 2**30}
    return value


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--length", type=int, default=512, help="tokens of prompt, and of answer")
    parser.add_argument("--micro-batch", type=int, default=2)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    with torch.device("cuda"):
        model = MistralForCausalLM(MistralConfig(num_hidden_layers=a.layers, **SHAPE))
    with_logps(model)
    results = {"device": torch.cuda.get_device_name(), "arguments": vars(a) | {"out": str(a.out)}}
    ids = torch.randint(3, 32000, (a.rows, 3, a.length)).tolist()
    rows = [
        {"prompt_ids": p, "chosen_ids": c, "rejected_ids": r, "selfplay_ids": []} for p, c, r in ids
    ]

    def generate():
        for start in range(0, a.rows, 64):
            prompts = torch.tensor([r["prompt_ids"] for r in rows[start : start + 64]]).cuda()
            with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
                out = model.generate(
                    prompts,
                    attention_mask=torch.ones_like(prompts),
                    do_sample=True,
                    min_new_tokens=a.length,
                    max_new_tokens=a.length,
                    pad_token_id=0,
                )
            for row, sample in zip(rows[start:], out[:, a.length :].tolist(), strict=False):
                row["selfplay_ids"] = [sample]

    def reference():
        for start in range(0, a.rows, 4):
            part = rows[start : start + 4]
            with torch.autocast("cuda", torch.bfloat16):
                values = score(model, part, 0)
            for row, logps in zip(part, values, strict=True):
                row["ref_chosen_logps"], row["ref_rejected_logps"] = logps[:2]
                row["ref_selfplay_logps"] = logps[2:]

    def train():
        model.gradient_checkpointing_enable()
        model.train()
        optimiser = torch.optim.RMSprop(model.parameters(), lr=5e-7)
        collate, objective = PreferenceCollator(0), Objective(lam=3.0, beta=0.1)
        for start in range(0, a.rows, a.micro_batch):
            batch = {k: v.cuda() for k, v in collate(rows[start : start + a.micro_batch]).items()}
            table = batch.pop("reference").float()
            with torch.autocast("cuda", torch.bfloat16):
                logps = sequence_logps(model, **batch)
            objective(logps.view_as(table), table)[0].backward()
            optimiser.step()
            optimiser.zero_grad()

    measure("generate", generate, results)
    measure("reference", reference, results)
    measure("train", train, results)
    matmul = sum(p.numel() for p in model.parameters()) - 32000 * 4096
    flop = 6 * matmul * a.rows * 3 * 2 * a.length
    results["generated_tokens_per_second"] = a.rows * a.length / results["generate"]["seconds"]
    results["reference_pairs_per_second"] = a.rows / results["reference"]["seconds"]
    results["train_pairs_per_second"] = a.rows / results["train"]["seconds"]
    results["train_mfu_of_989e12"] = flop / results["train"]["seconds"] / 989e12
    a.out.write_text(json.dumps(results, indent=1) + "\n")
    print(a.out.read_text())


if __name__ == "__main__":
    main()
