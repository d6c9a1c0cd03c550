"""A chat model as judge: read strictly; rows whose labels cannot be read are left out and counted."""

import contextlib
import math

import pytest
import torch
from test_rounds import pipeline

from experiments.common.files import read_json
from llm.data.row import Row
from llm.files.digests import read_rows
from llm.methods import Stream
from llm.models.assistants import RUBRIC, Assistant, ChatScorer
from llm.models.engines import Ends, GenerationSettings
from llm.models.judges import load_judge
from llm.models.logprobs import with_logps
from llm.training.batches import StreamCollator
from llm.training.rollouts import Rollouts
from llm.worlds import tiny as world
from spac_theory.checks import InputError


@pytest.fixture
def chat(tmp_path):
    """The folder of a chat model, and how it replies: by the number of one word, or not at all."""
    tok = world.tokenizer()
    for part in (tok, world.model(tok, seed=0)):
        part.save_pretrained(tmp_path / "chat")
    return tmp_path / "chat"


def reply(self, text):
    count = text.rpartition("Answer:")[2].split().count("ba")
    return "no idea" if count == 1 else f"Because.\nScore: {2 + count}"


def test_a_rubric_may_lie_beside_the_model(chat):
    seen = []
    judge = ChatScorer(str(chat), lambda text: seen.append(text) or "Score: 3")
    assert judge(["x"], ["y"]) == [3.0]
    assert f"Criterion: {RUBRIC}" in seen[0]
    (chat / "rubric.txt").write_text("brevity\n")
    judge = ChatScorer(str(chat), lambda text: seen.append(text) or "3 of 5")
    assert math.isnan(judge(["x"], ["y"])[0])
    assert "Criterion: brevity\n" in seen[1]
    assert isinstance(load_judge(str(chat)), ChatScorer)


def test_rows_of_a_step_without_a_label_are_left_out(tiny):
    model = with_logps(tiny(vocab=24))
    streams = (Stream("own", 2, "current", "step", ("current",), "score"),)
    settings = GenerationSettings("transformers", 1, 1.0, 1.0, 4, 8)
    rows = [Row([1, 5], {}), Row([1, 6, 7], {}), Row([1, 8], {})]
    found = []
    for labels in (
        [[1.0, 2.0], [math.nan, 0.0], [3.0, 4.0]],
        [[0.0, 0.0]] * 3,
        [[math.nan] * 2] * 3,
    ):
        frozen = {"current": contextlib.nullcontext}
        rollouts = Rollouts(
            streams, frozen, settings, Ends(0, 2), 16, "key", lambda r, s, seed, y=labels: y
        )
        found.append((rollouts(model, StreamCollator(0, streams)(rows), 3, 0), rollouts.given))
    (some, counted), (all_, _), (none, lost) = found
    assert (counted.failures, counted.labels, counted.samples, lost.failures) == (1, 6, 6, 3)
    assert some["score/own"].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    for name in ("prompt_ids", "logp/current/own"):
        assert torch.equal(some[name], all_[name][[0, 2]])
    assert torch.equal(
        some["input_ids"], all_["input_ids"][[0, 2, 3, 5]]
    )  # sample 1 of all, then sample 2
    assert "weightless" in none
    assert torch.isfinite(none["score/own"]).all()


def test_a_run_leaves_out_what_it_cannot_read(chat, tmp_path, monkeypatch):
    monkeypatch.setattr(Assistant, "__call__", reply)
    options = ("methods=[rebel,online_dpo]", f"judge={chat}")
    results = pipeline(tmp_path / "run", *options)()
    labelled = read_rows(tmp_path / "run/rebel/round-01/label-own/labels.parquet")
    unread = sum(any(math.isnan(v) for v in row["score/own"]) for row in labelled)
    assert 0 < unread < len(labelled)
    assert results["rebel"][0]["failures"] == unread
    kept = read_rows(tmp_path / "run/rebel/round-01/reference/streams.parquet")
    assert len(kept) == len(labelled) - unread
    assert all(2.0 <= v <= 5.0 for row in kept for v in row["score/own"])
    assert results["online_dpo"][0]["labels"] == 2 * len(labelled)
    assert 0 < results["online_dpo"][0]["failures"] < 2 * len(labelled)
    log = read_json(tmp_path / "run/online_dpo/round-01/train/log.json")
    assert all(math.isfinite(entry["loss"]) for entry in log)


BOTH = """
from dataclasses import dataclass
from llm.methods import METHODS, Method, Stream, data

@METHODS.register("both_of_a_test")
@dataclass(frozen=True)
class Both(Method):
    def streams(self):
        return (*data("initial"), Stream("own", 2, labels="score"))

    def loss(self, batch):
        return -batch.ratio("chosen", "initial").mean() - batch.logp["own"].mean(), {}
"""


def test_the_starts_log_probs_are_those_of_the_rows_that_are_left(chat, tmp_path, monkeypatch):
    """Though another method's, of all rows, are there already."""
    monkeypatch.setattr(Assistant, "__call__", reply)
    file = tmp_path / "both.py"
    file.write_text(BOTH)
    own = "+methods={both: {name: both_of_a_test}}"
    pipeline(tmp_path / "run", f"plugins=[{file}]", own, "methods=[dpo]", f"judge={chat}")()
    every, left = (
        {
            row["row"]: row
            for row in read_rows(tmp_path / f"run/{n}/round-01/reference/streams.parquet")
        }
        for n in ("dpo", "both")
    )
    assert 0 < len(left) < len(every)
    for number, row in left.items():
        for name in ("logp/initial/chosen", "logp/initial/rejected"):
            assert row[name] == pytest.approx(every[number][name], abs=1e-5)


def test_a_judge_that_says_nothing_readable_ends_a_round_in_one_sentence(
    chat, tmp_path, monkeypatch
):
    monkeypatch.setattr(Assistant, "__call__", lambda self, text: "well")
    with pytest.raises(InputError, match=r"No label of rebel/round-01 could be read"):
        pipeline(tmp_path / "run", "methods=[rebel]", f"judge={chat}")()
