"""One of two gloo processes: losses, gradients and rows, sharded or in parallel."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from llm.files import processes


def batch_rows(count):
    from llm.data.row import Row

    return [
        Row(
            [1, 3 + i % 5],
            {
                "chosen": [[8 + i % 4, 9, 2]],
                "rejected": [[10, 2]],
                "own": [[11 + i % 3, 12, 13, 2]],
            },
            {"current": {"chosen": [-9.0], "rejected": [-6.0], "own": [-12.0]}},
        )
        for i in range(count)
    ]


def spac():
    """The method and its streams, one own response a row."""
    from llm.methods import streams_of
    from llm.methods.spac import Spac

    return Spac(lam=3.0, beta=0.3), streams_of(Spac(), samples=1)


def loss_and_gradient(model, rows, chunk):
    from llm.models.logprobs import sequence_logps
    from llm.training.batches import SEQUENCES, StreamCollator, read

    method, streams = spac()
    batch = StreamCollator(0, streams)(rows)
    logps = sequence_logps(model, *(batch[name] for name in SEQUENCES), chunk=chunk)
    loss, _ = method.loss(read(batch, logps, streams))
    loss.backward()
    return float(loss.detach())


def sharded():
    from conftest import tiny_mistral
    from torch.distributed.fsdp import fully_shard

    from llm.models.logprobs import with_logps

    rows = batch_rows(8)
    whole = with_logps(tiny_mistral(dtype=torch.float64))
    expected = loss_and_gradient(whole, rows, chunk=5)
    model = with_logps(tiny_mistral(dtype=torch.float64))
    for layer in model.model.layers:
        fully_shard(layer)
    fully_shard(model)
    rank = dist.get_rank()
    mean = torch.tensor(loss_and_gradient(model, rows[4 * rank : 4 * rank + 4], chunk=5))
    dist.all_reduce(mean)
    assert abs(float(mean) / 2 - expected) < 1e-6, (mean, expected)
    for (name, p), q in zip(model.named_parameters(), whole.parameters(), strict=True):
        difference = (p.grad.full_tensor() - q.grad).abs().max()
        assert float(difference) < 1e-10, (name, difference)


def data_parallel(folder):
    """Train with the global batch split over the processes; the main one stores what came out."""
    from conftest import tiny_mistral
    from transformers import TrainingArguments

    from llm.training.batches import StreamCollator
    from llm.training.trainer import MethodTrainer

    model = tiny_mistral(dtype=torch.float64)
    method, streams = spac()
    trainer = MethodTrainer(
        model,
        method=method,
        streams=streams,
        args=TrainingArguments(
            output_dir=str(folder),
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            per_device_train_batch_size=8 // processes.world(),
            num_train_epochs=2,
            learning_rate=1e-3,
            logging_steps=1,
        ),
        train_dataset=batch_rows(32),
        data_collator=StreamCollator(0, streams),
    )
    trainer.train()
    if trainer.is_world_process_zero():
        from safetensors.torch import save_file

        losses = [e["loss"] for e in trainer.state.log_history if "loss" in e]
        weights = torch.cat([p.detach().flatten() for p in model.parameters()])
        out = {"losses": torch.tensor(losses, dtype=torch.float64), "weights": weights}
        save_file(out, f"{folder}/world-{processes.world()}.safetensors")


def streams(folder):
    """Sampling and the reference pass of a tiny model, dealt out to the processes."""
    from llm.data.row import Row
    from llm.files.digests import read_rows
    from llm.methods import streams_of
    from llm.methods.spac import Spac
    from llm.models.engines import GenerationSettings, TransformersEngine
    from llm.models.load import ModelSettings
    from llm.stages.reference import reference
    from llm.stages.sample import sample
    from llm.worlds import tiny

    tok, rows = tiny.tokenizer(), batch_rows(40)
    model = ModelSettings(f"{folder}/model", None, "float32", "sdpa", None, None, {})
    settings = GenerationSettings("transformers", 2, 1.0, 1.0, 4, 6)  # seven parts
    target = Path(folder) / f"streams-{processes.world()}"
    sample(
        target,
        "own",
        rows,
        lambda: TransformersEngine(model.name, model, tok, settings),
        settings,
        tok.eos_token_id,
        "test",
    )
    processes.barrier()  # as between two stages of a run
    own = read_rows(target / "samples.parquet")
    rows = [Row.of(row.record() | more) for row, more in zip(rows, own, strict=True)]
    streams = streams_of(Spac(), samples=2)
    reference(target, rows, streams, {"current": model.name}, model, tok.pad_token_id, 7)


if __name__ == "__main__":
    data_parallel(sys.argv[1])  # first, because the Trainer starts the process group
    streams(sys.argv[1])
    sharded()
    dist.destroy_process_group()
    Path(sys.argv[1], f"rank-{processes.rank()}-done").touch()
