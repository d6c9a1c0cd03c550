"""A step cut into packs of any budget is the step in one padded pass: loss, gradients, trajectory."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_packs import KINDS, SMALL, words
from transformers import AutoConfig, AutoModelForCausalLM, TrainerCallback

from llm.data.padding import put_back
from llm.data.row import Row
from llm.data.trees import deal, families, fill
from llm.methods import streams_of
from llm.methods.spac import Spac
from llm.models import probe
from llm.models.load import ModelSettings
from llm.models.logprobs import sequence_logps, with_logps
from llm.training.assembly import method_trainer, sft_trainer
from llm.training.batches import ROW_WEIGHT, SEQUENCES, StreamCollator, read
from llm.training.fit import fit
from llm.training.settings import TrainSettings
from llm.training.throughput import TIMED
from llm.training.weights import balanced, weighted
from llm.worlds import tiny as language
from spac_theory.checks import InputError

SIZES = st.lists(st.integers(1, 50), min_size=1, max_size=40)
PLAIN = ModelSettings("tiny", None, "float64", "sdpa", None, None, {})
METHOD = Spac(lam=3.0, beta=0.3)
TRAIN = TrainSettings(
    epochs=2, batch=4, micro_batch=4, learning_rate=1e-2, schedule="linear", warmup=0,
    optimiser="adamw", weight_decay=0.0, max_grad_norm=1.0, bf16=False, gradient_checkpointing=False,
    logp_chunk=1024, ema=0.0, save_every=10**6, log_every=1, report_to=[],
)  # fmt: skip


@given(SIZES, st.integers(1, 80), st.integers(1, 5))
def test_every_hand_gets_as_many_packs_of_about_equal_tokens(sizes, budget, hands) -> None:
    dealt = deal(sizes, budget, hands)
    packs = [pack for held in dealt for pack in held]
    assert sorted(row for pack in packs for row in pack) == list(range(len(sizes)))
    assert {len(held) for held in dealt} == {-(-len(fill(sizes, budget)) // hands)}
    for pack in packs:
        assert sum(sizes[row] for row in pack) <= budget or len(pack) == 1
    totals = [sum(sizes[row] for pack in held for row in pack) for held in dealt]
    assert max(totals) - min(totals) <= max(budget, *sizes)


def test_real_lengths_are_dealt_within_two_parts_in_a_hundred() -> None:
    rng = torch.Generator().manual_seed(0)
    sizes = torch.randint(60, 1500, (64,), generator=rng).tolist()
    dealt = deal(sizes, 4096, 4)
    totals = [sum(sizes[row] for pack in held for row in pack) for held in dealt]
    assert max(totals) - min(totals) < 0.02 * max(totals)
    assert sum(map(len, dealt)) <= sum(sizes) / 4096 + 4


TEXTS = st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=7), min_size=1, max_size=12)


@given(TEXTS, st.lists(st.integers(0, 2), min_size=12, max_size=12), st.integers(2, 30))
def test_families_hold_every_text_once_within_the_budget(texts, keys, budget) -> None:
    trees, places = families(texts, keys[: len(texts)], budget)
    found = [[*tree.prompt, *response] for tree in trees for response in tree.responses]
    assert put_back(found, places) == texts
    for tree in trees:
        assert tree.prompt
        assert all(tree.responses)
        assert tree.tokens <= budget or len(tree.responses) == 1


def test_a_family_shares_what_all_its_texts_begin_with() -> None:
    texts = [[1, 2, 3, 4], [1, 9, 9], [1, 2, 3, 5, 6]]
    trees, places = families(texts, ["x", "y", "x"], 100)
    assert [(tree.prompt, set(map(tuple, tree.responses))) for tree in trees] == [
        ([1, 2, 3], {(4,), (5, 6)}),
        ([1, 9], {(9,)}),
    ]
    assert sorted(places[:2]) == [0, 2]


# --- one step -------------------------------------------------------------------------------------


def rows(count: int, seed: int = 0) -> list[Row]:
    """Rows of all lengths, some of which count more than once."""
    rng = torch.Generator().manual_seed(seed)
    text = partial(words, rng)
    sizes = torch.randint(1, 9, (count, 4), generator=rng).tolist()
    return [
        Row(
            text(a),
            {"chosen": [text(b)], "rejected": [text(c)], "own": [text(d)]},
            {"current": {"chosen": [-9.0 - a], "rejected": [-8.0], "own": [-7.0 - b]}},
            row_weight=1.0 + (i % 3),
        )
        for i, (a, b, c, d) in enumerate(sizes)
    ]


def network(kind: str) -> torch.nn.Module:
    """A model whose every operation is float64; its adapters, if it has them, say something."""
    torch.manual_seed(0)
    config = AutoConfig.for_model("stablelm", **{**SMALL, **KINDS["stablelm"]})
    model = AutoModelForCausalLM.from_config(config).double()
    if kind == "adapters":
        peft = pytest.importorskip("peft")
        lora = peft.LoraConfig(r=2, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM")
        model = peft.get_peft_model(model, lora).double()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.normal_(0, 0.1)
    return model


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


def whole(kind: str, data: list[Row]) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of all rows in one padded pass, its logits unchunked."""
    streams = streams_of(METHOD, 1)
    model = with_logps(network(kind)).train()
    batch = StreamCollator(0, streams)(balanced(data))
    logps = sequence_logps(model, *(batch[k] for k in SEQUENCES), chunk=10**6)
    loss, _ = weighted(METHOD.loss, read(batch, logps, streams), batch[ROW_WEIGHT])
    loss.backward()
    return float(loss.detach()), gradients(model)


def in_passes(kind: str, data: list[Row], folder: Path, train: TrainSettings):
    """The same as the trainer has it in its first step, and how many passes it made."""
    model, streams = network(kind), streams_of(METHOD, 1)
    tok = language.tokenizer()
    trainer = method_trainer(model, data, METHOD, streams, train, PLAIN, folder, tok, 0)
    if train.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    (step,), _ = trainer.get_batch_samples(iter(trainer.get_train_dataloader()), 1, "cpu")
    loss = trainer.training_step(trainer.model, step)
    return float(loss), gradients(trainer.model), len(step["passes"])


@pytest.mark.parametrize("kind", ["whole", "adapters", "recomputed"])
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    order=st.permutations(range(7)),
    budget=st.integers(10, 200),
    chunk=st.sampled_from([3, 1024]),
    packing=st.booleans(),
)
@pytest.mark.filterwarnings("ignore:train.tokens", "ignore::FutureWarning")
def test_any_budget_any_order_padded_or_packed_is_one_gradient(
    kind, order, budget, chunk, packing, tmp_path
) -> None:
    data = rows(7)
    expected, wanted = whole(kind, data)
    train = replace(
        TRAIN, batch=7, micro_batch=7, tokens=budget, packing=packing, logp_chunk=chunk,
        gradient_checkpointing=kind == "recomputed",
    )  # fmt: skip
    loss, found, passes = in_passes(kind, [data[i] for i in order], tmp_path, train)
    assert loss == pytest.approx(expected, abs=1e-8)
    assert found.keys() == wanted.keys()
    for name, one in wanted.items():
        assert float((one - found[name]).abs().max()) < 1e-8
    assert passes > 1 or budget > 60


# --- trajectories -----------------------------------------------------------------------------------


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def trained(folder: Path, **changes) -> tuple[torch.Tensor, list[dict]]:
    """Two epochs over nine rows, four a step (the last step of an epoch has one)."""
    model, train = network("whole"), replace(TRAIN, **changes)
    tok, streams = language.tokenizer(), streams_of(METHOD, 1)
    trainer = method_trainer(model, rows(9), METHOD, streams, train, PLAIN, folder, tok, 0)
    trainer.train()
    return weights(model), [e for e in trainer.state.log_history if "loss" in e]


def test_a_budget_changes_neither_the_trajectory_nor_the_log(tmp_path) -> None:
    expected, log = trained(tmp_path / "rows")
    for tokens, packing in ((30, True), (150, False)):
        found, again = trained(tmp_path / str(tokens), tokens=tokens, packing=packing)
        assert float((found - expected).abs().max()) < 1e-8
        for one, other in zip(log, again, strict=True):
            assert one.keys() == other.keys()
            for name in (n for n in one if not n.endswith((*TIMED, "grad_norm"))):
                assert one[name] == pytest.approx(other[name], abs=1e-5), name


def test_weights_that_come_sharded_are_asked_before_the_first_batch(tmp_path, monkeypatch) -> None:
    expected, _ = trained(tmp_path / "now", tokens=30, packing=True)
    seen = []

    def noted(self, given, _pack=StreamCollator._pack):
        seen.append(len(given))
        return _pack(self, given)

    monkeypatch.setattr(probe, "has_weights", lambda model: False)
    monkeypatch.setattr(StreamCollator, "_pack", noted)
    found, _ = trained(tmp_path / "late", tokens=30, packing=True)
    assert torch.equal(found, expected)
    assert sum(seen) == 18


def test_demonstrations_train_on_packs_too(tmp_path) -> None:
    tok, found = language.tokenizer(), []
    data = [{"prompt_ids": r.prompt, "response_ids": r.responses["chosen"][0]} for r in rows(9)]
    for tokens, packing in ((None, False), (20, True)):
        model = network("whole")
        train = replace(TRAIN, tokens=tokens, packing=packing)
        trainer = sft_trainer(model, data, train, tmp_path / str(tokens), tok, 0)
        trainer.train()
        found.append(weights(model))
    assert float((found[0] - found[1]).abs().max()) < 1e-8


class Killed(BaseException):
    """Stands for a signal."""


class Kill(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **_) -> None:
        if state.global_step == self.step:
            raise Killed


def test_killed_and_resumed_it_is_the_same_bits(tmp_path) -> None:
    """Killed in the second epoch, one step after a checkpoint inside it."""
    tok, streams = language.tokenizer(), streams_of(METHOD, 1)
    train = replace(TRAIN, tokens=40, packing=True, save_every=4)

    def run(folder: Path, step: int) -> Path:
        model = network("whole")
        trainer = method_trainer(model, rows(9), METHOD, streams, train, PLAIN, folder, tok, 0)
        trainer.add_callback(Kill(step))
        folder.mkdir(exist_ok=True)
        fit(trainer, folder, tok, 0.0)
        return folder / "model" / "model.safetensors"

    expected = load_file(run(tmp_path / "undisturbed", 0))
    with pytest.raises(Killed):
        run(tmp_path / "killed", 5)
    assert (tmp_path / "killed/checkpoints/checkpoint-4").exists()
    found = load_file(run(tmp_path / "killed", 0))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    shutil.rmtree(tmp_path / "killed")


# --- settings -------------------------------------------------------------------------------------


def test_a_budget_stands_in_for_the_micro_batch() -> None:
    assert replace(TRAIN, batch=10, tokens=512).rows == 2  # where responses are drawn at every step
    assert replace(TRAIN, packing=True, tokens=512).scoring == 512
    assert replace(TRAIN, packing=False, tokens=512).scoring == 0
    with pytest.raises(InputError, match="multiple of micro_batch"):
        replace(TRAIN, batch=10)


def test_a_row_above_the_budget_is_told_and_computed_alone(tmp_path) -> None:
    with pytest.warns(UserWarning, match=r"train.tokens is 3 and a row takes \d+"):
        _, _, passes = in_passes("whole", rows(3), tmp_path, replace(TRAIN, tokens=3, packing=True))
    assert passes == 3
