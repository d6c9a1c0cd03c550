"""A critic of its own: its stages resume, its rewards add up, and the report says what it found."""

import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from small_runs import Killed, silent_pipeline
from transformers import AutoModelForCausalLM

from experiments.common.files import read_json
from llm.data.row import Row
from llm.files.digests import read_rows
from llm.methods import Batch
from llm.models.heads import Head, States
from llm.models.load import load_critic, load_tokenizer
from llm.run import composed
from llm.settings import Settings, build
from llm.stages import follow_head
from llm.stages.follow import CriticLabeller, folds_of
from llm.training.critic import CriticTrainer, rewards
from llm.worlds.terms import Game, terms
from llm.worlds.tree import TreeLanguage

QUICK = (
    "data.language.pairs=48",
    "data.language.demonstrations=128",
    "methods=[spac_t]",
    "methods.spac_t.folds=2",
    "methods.spac_t.samples=2",
    "methods.spac_t.fit_epochs=4",
    "methods.spac_t.critic_epochs=2.5",
)


def pipeline(folder, *overrides):
    return silent_pipeline(folder, *QUICK, *overrides)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two rounds that nothing disturbed, and its results."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, pipeline(folder)()["spac_t"]


def test_a_killed_run_ends_like_a_whole_one(whole, tmp_path, monkeypatch):
    """Killed in the second fit, and between two checkpoints of the second round's critic."""
    step = CriticTrainer.training_step
    for before, stage in ((9, "fit-1"), (16, "round-02/critic")):
        left = [before]

        def dying(self, *args, _left=left, **kwargs):
            _left[0] -= 1
            if _left[0] < 0:
                raise Killed
            return step(self, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(CriticTrainer, "training_step", dying)
            with pytest.raises(Killed):
                pipeline(tmp_path)()
        assert (tmp_path / "spac_t" / stage / "inputs.json").exists()
        assert not (tmp_path / "spac_t" / stage / "stage.json").exists()
    pipeline(tmp_path)()
    assert read_json(tmp_path / "manifest.json") == read_json(whole[0] / "manifest.json")


def test_the_leader_sees_the_sum_of_all_critics(whole):
    """Scored one response at a time, without padding or batches."""
    folder, settings = whole[0] / "spac_t", build(Settings, composed("run", "methods=[spac_t]"))
    critics = [
        load_critic(str(folder / f"round-0{t}/critic/model"), settings.model, 3) for t in (1, 2)
    ]
    for row in map(Row.of, read_rows(folder / "round-02/reference/streams.parquet")[:4]):
        for response, score in zip(row.responses["own"], row.score["own"], strict=True):
            ids = torch.tensor([[*row.prompt, *response]])
            inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            with torch.no_grad():
                found = sum(float(rewards(c.eval(), inputs, 2.0)) for c in critics)
            assert score == pytest.approx(found, abs=1e-5)
    assert len({str(c.score.weight.tolist()) for c in critics}) == 2


def test_the_fit_is_the_mean_of_networks_that_did_not_see_a_fold(whole):
    folder, settings = whole[0] / "spac_t", build(Settings, composed("run", "methods=[spac_t]"))
    rows = [Row.of(r) for r in read_rows(whole[0] / "prepare/rows.parquet")]
    fit = read_rows(folder / "fit/fit.parquet")
    each = [
        CriticLabeller([str(folder / f"fit-{k}/model")], 2.0, settings.model, 3, 7).scores(
            rows, "chosen"
        )
        for k in range(2)
    ]
    mean = torch.tensor(each).mean(0).squeeze(-1)
    assert torch.allclose(mean, torch.tensor([r["score/chosen"][0] for r in fit]), atol=1e-5)
    assert float((torch.tensor(each[0]) - torch.tensor(each[1])).abs().max()) > 1e-3
    parts = folds_of(10, 3, seed=0)
    assert sorted(torch.bincount(parts).tolist()) == [3, 3, 4]


HEAD = ("methods=[spac_t-head]", "methods.spac_t-head.folds=2", "methods.spac_t-head.bound=4")


def head_run(folder):
    return silent_pipeline(folder, *QUICK[:2], *HEAD)()["spac_t-head"]


@pytest.fixture(scope="module")
def headed(tmp_path_factory):
    """A run of two rounds whose critic is a head on the states of the start."""
    folder = tmp_path_factory.mktemp("headed")
    return folder, head_run(folder)


def test_a_head_reads_the_mean_state_of_an_answer_under_the_start(headed):
    """One response at a time, from `output_hidden_states` of the plain model; rewards of rounds add up."""
    folder = headed[0] / "spac_t-head"
    model = AutoModelForCausalLM.from_pretrained(headed[0] / "sft/model").eval()
    heads = [load_file(folder / f"round-0{t}/critic/model/head.safetensors") for t in (1, 2)]
    for row in map(Row.of, read_rows(folder / "round-02/reference/streams.parquet")[:4]):
        for response, score in zip(row.responses["own"], row.score["own"], strict=True):
            ids = torch.tensor([[*row.prompt, *response]])
            with torch.no_grad():
                states = model(ids, output_hidden_states=True).hidden_states[-1][0].double()
            mean = states[-len(response) :].mean(0)
            found = 0.0
            for head in heads:
                part = (mean - head["centre"]) / head["spread"] / len(mean) ** 0.5
                found += 2 * math.tanh(float(part @ head["weight"]) / 2)
            assert score == pytest.approx(found, abs=1e-4)
    assert float((heads[0]["weight"] - heads[1]["weight"]).abs().max()) > 0


def test_the_head_of_a_round_is_the_best_answer_among_heads(headed):
    """No step in a random direction lowers the critic's loss, decay included, and it reports its gain."""
    folder, rounds = headed
    settings = build(Settings, composed("run", *HEAD))
    method = settings.methods["spac_t-head"]
    place = folder / "spac_t-head"
    head = Head.load(place / "round-01/critic/model")
    records = read_rows(folder / "prepare/rows.parquet")
    for more in ("round-01/sample-own/samples", "fit/fit"):
        for record, row in zip(records, read_rows(place / f"{more}.parquet"), strict=True):
            record |= row
    rows = [Row.of(record) for record in records]
    tokenizer = load_tokenizer(str(folder / "prepare/tokenizer"))
    start = str(folder / "sft/model")
    states = States(folder / "none", start, "x", settings.model, tokenizer, 16)
    table = {name: states.of(rows, name) for name in ("chosen", "rejected", "own")}
    scores = {n: torch.tensor([r.score[n] for r in rows]).double() for n in ("chosen", "rejected")}

    def loss(weight):
        there = replace(head, weight=weight)
        rewards = {n: there.rewards(t, method.bound) for n, t in table.items()}
        value, _ = method.critic_loss(Batch(rewards, {}, {}, score=scores), 48**0.5)
        return float(value + method.critic_decay / 2 * weight @ weight)

    g, best = torch.Generator().manual_seed(0), loss(head.weight)
    for size in (1e-2, 1e-1, 1.0):
        for _ in range(20):
            step = size * torch.randn(len(head.weight), generator=g, dtype=torch.float64)
            assert loss(head.weight + step) > best
    assert rounds[0]["critic_lam"] == pytest.approx(48**0.5)
    assert best < loss(torch.zeros_like(head.weight))


def test_a_killed_run_with_a_head_ends_like_a_whole_one(headed, tmp_path, monkeypatch):
    solve, left = follow_head.solve, [2]

    def dying(*args):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return solve(*args)

    with monkeypatch.context() as patch:
        patch.setattr(follow_head, "solve", dying)
        with pytest.raises(Killed):
            head_run(tmp_path)
    head_run(tmp_path)
    assert read_json(tmp_path / "manifest.json") == read_json(headed[0] / "manifest.json")


def test_every_round_reports_its_critic(whole):
    folder, rounds = whole
    for t, report in enumerate(rounds, 1):
        assert report["critic_lam"] == pytest.approx(48**0.5)
        game = report["critic_relative"] + report["critic_lam"] * report["critic_distance"]
        assert report["critic_game"] == pytest.approx(game)
        log = read_json(folder / f"spac_t/round-0{t}/train/log.json")
        assert all(entry["spac_t/projection"] >= 0 for entry in log)
    assert rounds[-1]["critic_gain"] > 0  # the critic's steps were downhill


def test_the_terms_of_the_theorem_add_up_to_what_the_mixture_loses(whole):
    """(T3)'s four differences on a run, and on random tables where nothing is small."""
    for report in whole[1]:
        names = ("statistics", "regret", "projection", "critic")
        total = sum(report[f"t3_{name}"] for name in names)
        assert total == pytest.approx(report["mixture_suboptimality"], abs=1e-6)
        assert report["projection_kl"] >= 0
        assert report["t3_regret"] <= report["t3_regret_bound"] + 1e-9
    g = torch.Generator().manual_seed(4)
    world = TreeLanguage("paths", 0.1, branching=2, length=3)
    pairs = world.sample_pairs(30, seed=1)
    networks = [torch.randn(12, 8, generator=g).double().log_softmax(-1) for _ in range(4)]
    critics = [torch.rand(12, 8, generator=g).double() * 2 - 1 for _ in range(3)]
    law = torch.rand(30, 1, generator=g).double()
    for game in (Game(pairs, None), Game(pairs, torch.cat([law, 1 - law], -1))):
        found = terms(world, networks, critics, [3.0, 5.0, 2.0], 0.7, 2.0, game)
        mixture = torch.stack([t.exp() for t in networks[:3]]).mean(0)
        loss = float((world.reward.max(-1).values - (mixture * world.reward).sum(-1)).mean())
        assert sum(found[f"t3_{n}"] for n in names) == pytest.approx(loss, abs=1e-10)
        assert found["t3_regret"] <= found["t3_regret_bound"]
    start, best = networks[0].exp(), world.reward.argmax(-1)
    kl = -start[torch.arange(12), best].log().mean()
    bound = (float(kl) / (0.7 * 3) + 0.7 * 4 / 8) / 2
    assert found["t3_regret_bound"] == pytest.approx(bound)


def test_networks_that_are_the_targets_lose_nothing_by_projection():
    g = torch.Generator().manual_seed(5)
    world = TreeLanguage("chains", 0.1, branching=2, length=3)
    critics = [torch.rand(12, 8, generator=g).double() for _ in range(2)]
    logs = [torch.randn(12, 8, generator=g).double().log_softmax(-1)]
    for reward in critics:
        logs.append((logs[-1] + reward).log_softmax(-1))
    found = terms(world, logs, critics, [1.0, 1.0], 1.0, 1.0, Game(world.sample_pairs(9, 0), None))
    assert found["t3_projection"] == pytest.approx(0, abs=1e-10)
    assert found["projection_kl"] == pytest.approx(0, abs=1e-10)
