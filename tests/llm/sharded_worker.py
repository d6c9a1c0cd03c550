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
                "chosen": [[8 + i % 4, *[9] * (1 + i % 5), 2]],
                "rejected": [[10, 2]],
                "own": [[11 + i % 3, *[12] * (i % 3), 13, 2]],
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


def loss_and_gradient(model, rows, chunk, packed=False):
    from llm.data.trees import unpacked
    from llm.models.logprobs import pack_logps, sequence_logps
    from llm.training.batches import SEQUENCES, StreamCollator, read
    from llm.training.trainer import by_stream

    method, streams = spac()
    batch = StreamCollator(0, streams, packed)(rows)
    if packed:
        logps = by_stream(pack_logps(model, unpacked(batch), chunk), batch)
    else:
        logps = sequence_logps(model, *(batch[name] for name in SEQUENCES), chunk=chunk)
    loss, _ = method.loss(read(batch, logps, streams))
    return loss


def fully_sharded(recomputed=False, late=False):
    """A model sharded by layers, asked whether it reads packs before that, or `late`."""
    from conftest import tiny_mistral
    from torch.distributed.fsdp import fully_shard

    from llm.models.logprobs import with_logps
    from llm.models.packs import comes_later, with_packs, with_packs_later

    model = tiny_mistral(dtype=torch.float64)
    assert late or with_packs(with_logps(model))
    if recomputed:
        model.train()
        model.gradient_checkpointing_enable({"use_reentrant": False})
    for layer in model.model.layers:
        fully_shard(layer)
    fully_shard(model)
    if late:
        assert comes_later(model)
        assert with_packs_later(model)
    return model


def sharded():
    """Padded halves and packs, also with recomputed activations, against one process and one padded pass."""
    from conftest import tiny_mistral

    from llm.data.trees import deal
    from llm.models.logprobs import with_logps
    from llm.training.batches import StreamCollator

    rows, rank = batch_rows(9), dist.get_rank()
    whole = with_logps(tiny_mistral(dtype=torch.float64))
    expected = loss_and_gradient(whole, rows, chunk=10**6)
    expected.backward()
    halves = [rows[:5], rows[5:]][rank : rank + 1]
    sizes = StreamCollator(0, spac()[1], True).sizes(rows)
    packs = [[rows[i] for i in pack] for pack in deal(sizes, 30, 2)[rank]]
    assert len(packs) > 1
    for passes, packed, recomputed, late in (
        (halves, 0, 0, 0),
        (packs, 1, 0, 0),
        (packs, 1, 1, 0),
        (packs, 1, 0, 1),
    ):
        model, total = fully_sharded(recomputed, late), torch.zeros((), dtype=torch.float64)
        for number, part in enumerate(passes, 1):
            model.set_requires_gradient_sync(number == len(passes))
            loss = loss_and_gradient(model, part, 5, packed) * (2 * len(part) / len(rows))
            loss.backward()
            total += loss.detach() / 2
        dist.all_reduce(total)
        assert abs(float(total) - float(expected)) < 1e-8, (total, expected)
        for (name, p), q in zip(model.named_parameters(), whole.parameters(), strict=True):
            difference = (p.grad.full_tensor() - q.grad).abs().max()
            assert float(difference) < 1e-8, (name, packed, recomputed, late, difference)


def trainer_of(folder, rows, tokens=None):
    """A trainer of a global batch of eight, split over the processes or cut into packs for them."""
    from conftest import tiny_mistral
    from transformers import TrainingArguments

    from llm.models.logprobs import with_logps
    from llm.models.packs import with_packs
    from llm.training.batches import StreamCollator
    from llm.training.passes import Cut
    from llm.training.trainer import MethodTrainer

    model = with_logps(tiny_mistral(dtype=torch.float64))
    assert tokens is None or with_packs(model)
    method, streams = spac()
    return MethodTrainer(
        model,
        method=method,
        streams=streams,
        cut=None if tokens is None else Cut(8, tokens),
        args=TrainingArguments(
            output_dir=str(folder),
            use_cpu=True,
            report_to=[],
            save_strategy="no" if tokens is None else "steps",
            save_steps=7,
            disable_tqdm=True,
            remove_unused_columns=False,
            per_device_train_batch_size=8 // processes.world(),
            num_train_epochs=2,
            learning_rate=1e-3,
            logging_steps=1,
        ),
        train_dataset=rows,
        data_collator=StreamCollator(0, streams, tokens is not None),
    )


def store(trainer, path):
    """The main process writes losses and weights."""
    if trainer.is_world_process_zero():
        from safetensors.torch import save_file

        losses = [e["loss"] for e in trainer.state.log_history if "loss" in e]
        weights = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
        save_file({"losses": torch.tensor(losses, dtype=torch.float64), "weights": weights}, path)


def data_parallel(folder):
    """Train with the global batch split over the processes; the main one stores what came out."""
    trainer = trainer_of(folder, batch_rows(32))
    trainer.train()
    store(trainer, f"{folder}/world-{processes.world()}.safetensors")


def packed(folder):
    """The same in packs, the last step of an epoch of one row; then again from inside the second epoch."""
    target = Path(folder, f"packed-{processes.world()}")
    trainer = trainer_of(target, batch_rows(33), tokens=30)
    trainer.train()
    store(trainer, f"{target}.safetensors")
    again = trainer_of(target, batch_rows(33), tokens=30)
    again.train(resume_from_checkpoint=str(target / "checkpoint-7"))
    store(again, f"{target}-resumed.safetensors")


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
    packed(sys.argv[1])
    streams(sys.argv[1])
    sharded()
    dist.destroy_process_group()
    Path(sys.argv[1], f"rank-{processes.rank()}-done").touch()
