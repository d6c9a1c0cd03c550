"""The pipeline: idempotent, refusing stale input, indifferent to kills and to batch layout."""

import errno

import pytest
import torch
from safetensors import SafetensorError
from transformers import TrainingArguments

from experiments.common.files import read_json, write_atomically, write_json
from experiments.common.program import guarded
from llm.data.row import Row
from llm.methods import streams_of
from llm.methods.spac import Spac
from llm.stages.directory import Run, StaleInput
from llm.training.batches import StreamCollator
from llm.training.trainer import MethodTrainer
from spac_theory.checks import InputError


def test_a_stage_is_done_once_and_stale_inputs_are_refused(tmp_path):
    run, calls = Run(tmp_path), []

    def work(folder):
        calls.append(folder)
        write_json(folder / "out.json", len(calls))
        return {"out": "out.json"}

    assert run.stage("one", {"a": {"b": 1}}, work) == run.stage("one", {"a": {"b": 1}}, work)
    assert len(calls) == 1
    with pytest.raises(StaleInput, match=r"a\.b was 1 and is now 2"):
        run.stage("one", {"a": {"b": 2}}, work)
    assert list(read_json(tmp_path / "manifest.json")["stages"]) == ["one"]


def test_an_interrupted_stage_of_other_inputs_is_stale_too(tmp_path):
    run = Run(tmp_path)

    def crash(folder):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        run.stage("one", {"a": 1}, crash)
    with pytest.raises(StaleInput):
        run.stage("one", {"a": 2}, crash)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path):
    def full(path):
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError, match="is full; free some space"):
        write_atomically(tmp_path / "file", full)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_while_weights_are_saved_is_one_sentence(capsys):
    """The words are those of safetensors on a full file system."""

    def save():
        words = "Error while serializing: I/O error: No space left on device (os error 28)"
        raise SafetensorError(words)

    def fail():
        raise RuntimeError("something else")

    assert guarded(save) == 3
    message = capsys.readouterr().err
    assert "is full; free some space and run the same command again" in message
    assert message.count("\n") == 1
    with pytest.raises(RuntimeError, match="something else"):
        guarded(fail)


def rows(n, seed=0):
    g = torch.Generator().manual_seed(seed)

    def ids(low, high):
        size = int(torch.randint(low, high, (1,), generator=g))
        return torch.randint(3, 24, (size,), generator=g).tolist()

    return [
        Row(
            [1, *ids(1, 4)],
            {name: [ids(1, 5)] for name in ("chosen", "rejected", "own")},
            {"current": {"chosen": [-6.0], "rejected": [-7.0], "own": [-5.0]}},
        )
        for _ in range(n)
    ]


def train(model, folder, *, resume=None, **changes):
    arguments = {
        "output_dir": str(folder),
        "use_cpu": True,
        "report_to": [],
        "num_train_epochs": 2,
        "learning_rate": 1e-3,
        "save_strategy": "no",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "logging_steps": 1,
        **changes,
    }
    streams = streams_of(Spac(), samples=1)
    trainer = MethodTrainer(
        model,
        method=Spac(lam=3.0, beta=0.3),
        streams=streams,
        args=TrainingArguments(**arguments),
        train_dataset=rows(21),
        data_collator=StreamCollator(0, streams),
    )
    trainer.train(resume_from_checkpoint=resume)
    losses = [e["loss"] for e in trainer.state.log_history if "loss" in e]
    return losses, torch.cat([p.detach().flatten() for p in model.parameters()])


def test_accumulation_does_not_change_the_trajectory(tiny, tmp_path):
    """21 rows leave a short last step: micro-batches of unequal size must be weighted."""
    layouts = [(8, 1), (4, 2), (1, 8)]
    results = [
        train(
            tiny(dtype=torch.float64),
            tmp_path,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=steps,
        )
        for size, steps in layouts
    ]
    for losses, weights in results[1:]:
        assert losses == pytest.approx(results[0][0], abs=1e-5)
        torch.testing.assert_close(weights, results[0][1], rtol=0, atol=1e-8)


def test_resume_does_not_change_the_trajectory(tiny, tmp_path):
    size = {"per_device_train_batch_size": 4}
    losses, weights = train(tiny(), tmp_path / "a", **size)
    train(tiny(), tmp_path / "b", **size, save_strategy="steps", save_steps=4)
    resumed, again = train(
        tiny(seed=9), tmp_path / "b", **size, resume=str(tmp_path / "b/checkpoint-4")
    )
    assert resumed == pytest.approx(losses, abs=1e-5)
    torch.testing.assert_close(again, weights)
