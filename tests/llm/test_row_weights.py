"""Rows with a column `weight`: a row of weight 2 is the row twice, whatever the method."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_methods import NAMES, collated, enumerated, method_heads, method_of

from llm.data.row import Row
from llm.data.validate import Limits, prepare
from llm.methods import streams_of
from llm.methods.spac import Spac
from llm.models.load import ModelSettings
from llm.pipeline import Pipeline
from llm.run import composed
from llm.settings import Settings, build
from llm.training.assembly import method_trainer
from llm.training.batches import read
from llm.training.settings import TrainSettings
from llm.training.weights import weighted
from llm.worlds import tiny as language
from spac_theory.checks import InputError

NO_ADAPTERS = ModelSettings("tiny", None, "float32", "sdpa", None, None, {})


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_with_weights_is_that_of_repeated_rows(name):
    method = method_of(name)
    logp = torch.randn(3, 12, dtype=torch.float64).log_softmax(-1)
    rows, streams, _ = enumerated(method, logp, seed=2)
    rows, times = rows[:5], [1, 3, 1, 2, 1]
    streams = method.trained(streams)
    often = [i for i, k in enumerate(times) for _ in range(k)]
    sizes = sum(len(rows[0].responses[s.name]) for s in streams)
    values = torch.randn(sizes, len(rows), dtype=torch.float64, requires_grad=True)
    told = torch.randn(sizes, len(rows), 3, dtype=torch.float64)

    def batch(picks):
        made = collated([rows[i] for i in picks], streams)
        made |= {f"told/{head}": told[:, picks].flatten(0, 1) for head in method_heads(streams)}
        return read(made, values[:, picks].flatten(), streams)

    mean = torch.tensor(times, dtype=torch.float64) * len(times) / sum(times)
    found, logged = weighted(method.loss, batch(list(range(len(rows)))), mean)
    expected, metrics = method.loss(batch(often))
    assert float((found - expected).detach().abs()) < 1e-12
    for a, b in zip(
        torch.autograd.grad(found, values), torch.autograd.grad(expected, values), strict=True
    ):
        assert float((a - b).abs().max()) < 1e-12
    assert {k: float(v.detach()) for k, v in logged.items()} == pytest.approx(
        {k: float(v.detach()) for k, v in metrics.items()}
    )


def trained(tiny, folder: Path, rows: list[Row]) -> torch.Tensor:
    """Weights after three steps on all rows, through the trainer that the stages make."""
    method = Spac(lam=3.0, beta=0.3)
    train = TrainSettings(
        epochs=3, batch=8, micro_batch=2, learning_rate=1e-2, schedule="constant", warmup=0,
        optimiser="adamw", weight_decay=0.0, max_grad_norm=1.0, bf16=False,
        gradient_checkpointing=False, logp_chunk=64, ema=0.0, save_every=10**6, log_every=1, report_to=[],
    )  # fmt: skip
    tokenizer = language.tokenizer()
    model = tiny(dtype=torch.float64, seed=3)
    streams = streams_of(method, 1)
    trainer = method_trainer(model, rows, method, streams, train, NO_ADAPTERS, folder, tokenizer, 0)
    trainer.train()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def some_rows() -> list[Row]:
    g = torch.Generator().manual_seed(0)

    def ids() -> list[int]:
        return torch.randint(4, 24, (3,), generator=g).tolist()

    logps = {"chosen": [-6.0], "rejected": [-7.0], "own": [-5.0]}
    return [
        Row([1, *ids()], {n: [ids()] for n in logps}, {"current": logps}, number=i)
        for i in range(5)
    ]


def test_training_with_weights_is_training_on_repeated_rows(tiny, tmp_path):
    """Full batches in unequal micro-batches: seven rows, or five of which one counts three times."""
    rows = some_rows()
    twice = [*rows, rows[2], rows[2]]
    heavy = [replace(r, row_weight=3.0) if r.number == 2 else r for r in rows]
    scaled = [replace(r, row_weight=0.25 * r.row_weight) for r in heavy]
    expected = trained(tiny, tmp_path / "a", twice)
    for name, case in (("b", heavy), ("c", scaled)):
        found = trained(tiny, tmp_path / name, case)
        assert float((found - expected).abs().max()) < 1e-8
    assert float((trained(tiny, tmp_path / "d", rows) - expected).abs().max()) > 1e-4


def raw(*weights: object) -> list[dict[str, object]]:
    return [
        {"prompt": f"sun calm {i}", "chosen": "ba be", "rejected": "be ba", "weight": w}
        for i, w in enumerate(weights)
    ]


def test_weights_are_read_with_the_rows():
    tokenizer, limits = language.tokenizer(), Limits(20, 40, "drop")
    rows, report = prepare(raw(2, 0.5, None, 0), tokenizer, limits)
    assert [r.row_weight for r in rows] == [2.0, 0.5, 1.0]
    assert Row.of(rows[0].record()).row_weight == 2.0
    assert report["counts"]["weightless"] == 1
    assert report["weights"] == {"smallest": 0.5, "largest": 2.0, "sum": 3.5}
    assert "weights" not in prepare(raw(1, None), tokenizer, limits)[1]


@pytest.mark.parametrize("value", [-1, -1e-9, float("nan"), float("inf"), "2", True, [1]])
def test_what_is_no_weight_is_one_sentence(value):
    with pytest.raises(
        InputError, match=r"^Row 2: weight is .*; it must be a finite number from 0"
    ):
        prepare(raw(1, value), language.tokenizer(), Limits(20, 40, "drop"))


def test_a_critic_of_its_own_counts_pairs_once(tmp_path):
    """Refused before anything is trained."""
    tokenizer = language.tokenizer()
    language.model(tokenizer, 0).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(map(json.dumps, raw(2, 3, 4, 5))))
    words = (f"run_dir={tmp_path}/run", "data=file", f"data.source={rows}", "sft=null", "model=tiny",
             f"model.name={tmp_path}/model", "methods=spac_t", "data.max_length=16",
             "data.max_prompt_length=8", "generation.max_new_tokens=4")  # fmt: skip
    with pytest.raises(InputError, match="trains a critic, which counts every pair once"):
        Pipeline(build(Settings, composed("run", *words)), note=lambda text: None)()
    assert not list((tmp_path / "run").rglob("*.safetensors"))
