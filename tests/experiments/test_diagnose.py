from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from experiments.common.configuration import read
from experiments.common.program import SOME_FAILED, composed, guarded
from experiments.engine.specs import resolve_algorithms
from experiments.studies.diagnosis import log_page
from experiments.studies.diagnosis.log_findings import LogFindings, log_findings
from experiments.studies.diagnosis.logs import Settings, read_log
from experiments.studies.diagnosis.run import diagnose, learn, learner_view
from spac_theory import (
    InputError,
    PreferenceModel,
    make_behaviour,
    make_problem,
    pair_law,
    sample_winner_counts,
    winner_law,
)

NO_NUMBER = """
import torch
from spac_theory import ALGORITHMS, Fit
from spac_theory.view import TabularPolicy
from dataclasses import dataclass

@ALGORITHMS.register("no_number")
@dataclass(frozen=True)
class NoNumber:
    def skip(self, view, oracle):
        return None

    def fit(self, view, data, oracle=None):
        return Fit(TabularPolicy(view.baseline[None] * torch.nan), "none")
"""


def options(*overrides: str) -> dict[str, Any]:
    return composed("diagnose", *overrides)


def checked(*overrides: str) -> Settings:
    return read(Settings, options(*overrides))


@pytest.fixture
def triples() -> np.ndarray:
    problem = make_problem("rare_lucky", contexts=3, actions=4)
    bandit = problem.bandit
    mu = make_behaviour("coverage").policy(problem, 0.3)
    law = winner_law(bandit.rho, pair_law(mu), PreferenceModel.from_reward(bandit.reward))
    return sample_winner_counts(law, 400, [0], "diagnose").to_triples()


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_log_is_read_whatever_its_file_and_names(
    tmp_path: Path, triples: np.ndarray, kind: str
) -> None:
    table = pl.DataFrame(triples, schema=["context", "winner", "loser"])
    named = table.with_columns(pl.all().cast(pl.String).str.replace("^", "item-"))
    counts = []
    for name, content in (("numbers", table), ("names", named)):
        path = tmp_path / f"{name}.{kind}"
        {"parquet": content.write_parquet, "csv": content.write_csv, "jsonl": content.write_ndjson}[
            kind
        ](path)
        counts.append(read_log(checked(f"data={path}")))
    assert torch.equal(counts[0].counts.wins, counts[1].counts.wins)
    assert np.array_equal(counts[0].counts.to_triples(), triples)
    assert counts[1].actions == ["item-0", "item-1", "item-2", "item-3"]


def test_diagnosis_end_to_end(tmp_path: Path, triples: np.ndarray) -> None:
    pl.DataFrame(triples, schema=["context", "winner", "loser"]).write_csv(tmp_path / "log.csv")
    words = (f"data={tmp_path}/log.csv", "algorithm=[spac_wilks,dpo,spac_oracle,uniform]")
    assert diagnose(options(*words), tmp_path / "out")
    table = pl.read_csv(tmp_path / "out/diagnosis.csv")
    assert table["policy"].to_list() == ["baseline ν", "spac_wilks", "dpo", "uniform"]
    assert table["concentrability"][0] == pytest.approx(0, abs=1e-12)
    assert (table["improvement"] <= table["improvement_asymptotic"] + 1e-9).all()
    assert pl.read_csv(tmp_path / "out/contexts.csv").height == 3
    policies = np.load(tmp_path / "out/policies.npz", allow_pickle=False)
    long = pl.read_parquet(tmp_path / "out/policies.parquet")
    dpo = long.filter(pl.col("policy") == "dpo")["probability"].to_numpy().reshape(3, 4)
    np.testing.assert_array_equal(policies["dpo"], dpo)
    np.testing.assert_allclose(dpo.sum(-1), 1)
    page = (tmp_path / "out/diagnosis.md").read_text()
    assert "400 comparisons, 3 contexts, 4 actions" in page
    assert "spac_oracle: skipped, λ* needs the true reward" in page
    assert (tmp_path / "out/diagnosis.png").stat().st_size > 10_000
    best = pl.read_csv(tmp_path / "out/recommended.csv")
    assert best.group_by("context").agg(pl.col("probability").sum())["probability"].min() > 0.99
    asked = pl.read_csv(tmp_path / "out/label_next.csv")
    assert asked["standard_deviation"].is_sorted(descending=True)


def found_of(tmp_path: Path, table: pl.DataFrame, *overrides: str) -> LogFindings:
    table.write_csv(tmp_path / "log.csv")
    s = checked(f"data={tmp_path}/log.csv", "algorithm=[spac_wilks,mle_greedy,dpo]", *overrides)
    log = read_log(s)
    view = learner_view(s, log)
    lesson = learn(resolve_algorithms(s.algorithm), view, log)
    return log_findings(view, log, lesson.policies, lesson.lams)


@pytest.mark.parametrize("features", [False, True])
def test_what_a_log_says_context_by_context_is_a_loop(
    tmp_path: Path, triples: np.ndarray, features: bool
) -> None:
    """Gain and deviation at each context, by a Hessian written out comparison by comparison."""
    table = pl.DataFrame(triples, schema=["context", "winner", "loser"])
    rng = np.random.default_rng(0)
    phi = rng.normal(size=(3, 4, 3)) if features else np.eye(12).reshape(3, 4, 12)
    np.save(tmp_path / "phi.npy", phi)
    words = (f"features={tmp_path}/phi.npy",) if features else ()
    found = found_of(tmp_path, table, *words)
    d, reward = phi.shape[-1], found.reward.numpy()
    hessian = np.eye(d)
    for x, w, l in triples:
        p = 1 / (1 + np.exp(reward[x, l] - reward[x, w]))
        gap = phi[x, w] - phi[x, l]
        hessian += p * (1 - p) * np.outer(gap, gap)
    covariance = np.linalg.inv(hessian)
    for x in range(3):
        direction = found.shift[x].numpy() @ phi[x]
        assert float(found.spread[x]) == pytest.approx(np.sqrt(direction @ covariance @ direction))
        assert float(found.advantage[x]) == pytest.approx(found.shift[x].numpy() @ reward[x])
    for x, a, b, deviation in found.queries(5):
        gap = phi[x, a] - phi[x, b]
        assert deviation == pytest.approx(np.sqrt(gap @ covariance @ gap))


def test_the_words_of_a_log(tmp_path: Path) -> None:
    """One context in the singular, copies, what is never compared, and what more would do."""
    same = pl.DataFrame({"winner": ["a"] * 300, "loser": ["b"] * 300})
    said = " ".join(log_page.verdict(found_of(tmp_path, same)))
    for words in ("300 comparisons, 1 context, 2 actions", "299 repeated rows", "Use spac_wilks",
                  "plays most: a (100%, recorded 50%)", "keep one of each"):  # fmt: skip
        assert words in said
    rng = np.random.default_rng(0)
    coin = rng.integers(0, 2, 40)
    split = pl.DataFrame(
        {"context": ["x"] * 40 + ["y"] * 2, "winner": [*coin, 2, 0], "loser": [*(1 - coin), 3, 1]}
    )
    found = found_of(tmp_path, split)
    said = " ".join(log_page.verdict(found))
    for words in (
        "1 context where some action was never compared",
        "1 context where compared actions fall",
        "Nothing is certified",
        "comparisons like these would do",
        "do not say whether",
    ):
        assert words in said
    rows = log_page.recommended(found)
    assert rows.filter(pl.col("context") == "x")["probability"].sum() == pytest.approx(1, abs=0.01)


def test_a_policy_of_little_precision_is_taken(tmp_path: Path, triples: np.ndarray) -> None:
    pl.DataFrame(triples, schema=["context", "winner", "loser"]).write_csv(tmp_path / "log.csv")
    exact = np.random.default_rng(0).dirichlet(np.ones(4), size=3)
    np.save(tmp_path / "half.npy", exact.astype(np.float32))
    cells = [(x, a, round(exact[x, a], 6)) for x in range(3) for a in range(4)]
    pl.DataFrame(cells, ["context", "action", "probability"], orient="row").write_csv(
        tmp_path / "cut.csv"
    )
    for name in ("half.npy", "cut.csv"):
        s = checked(f"data={tmp_path}/log.csv", f"reference={tmp_path}/{name}")
        view = learner_view(s, read_log(s))
        np.testing.assert_allclose(view.reference, exact, atol=1e-5)
        assert float((view.reference.sum(-1) - 1).abs().max()) < 1e-14


def test_a_policy_of_nan_is_left_out_and_the_program_fails(
    tmp_path: Path, triples: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    pl.DataFrame(triples, schema=["context", "winner", "loser"]).write_csv(tmp_path / "log.csv")
    (tmp_path / "mine.py").write_text(NO_NUMBER)
    words = [f"data={tmp_path}/log.csv", f"plugins=[{tmp_path}/mine.py]"]
    words += ["algorithm=[uniform]", "+algorithm.mine={name: no_number}"]
    values = options(*words)
    assert guarded(lambda: diagnose(values, tmp_path / "out")) == SOME_FAILED
    assert "mine: failed, policy[0, 0, 0] is NaN" in " ".join(capsys.readouterr().out.split())
    table = pl.read_csv(tmp_path / "out/diagnosis.csv")
    assert table["policy"].to_list() == ["baseline ν", "uniform"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("context,winner\n0,1\n", "lacks the column 'loser'"),
        ("context,winner,loser\n", "has no row"),
        ("context,winner,loser\n0,1,\n", "column 'loser' has empty entries"),
        ("context,winner,loser\n0,1.5,0\n", "actions must be all whole numbers"),
        ("context,winner,loser\n0,-1,0\n", "data has the action -1"),
        ("context,winner,loser\na,b,b\n", "names 1 action"),
    ],
)
def test_a_bad_log_is_one_sentence(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_log(checked(f"data={path}"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("features=none.npz",), "features is 'none.npz'"),
        (("features={here}/wide.npz",), "features has shape"),
        (("reference={here}/half.csv",), "must name every one"),
        (("reference={here}/odd.csv",), "reference sums to"),
        (("reward_range=[1,0]",), r"low must be below high"),
        (("reward_range=null",), "both None"),
        (("delta=0",), "delta is 0"),
    ],
)
def test_bad_settings_are_one_sentence(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    (tmp_path / "log.csv").write_text("context,winner,loser\n0,1,0\n1,0,1\n")
    np.savez(tmp_path / "wide.npz", features=np.zeros((2, 3, 1)))
    (tmp_path / "half.csv").write_text("context,action,probability\n0,0,1\n")
    odd = "context,action,probability\n0,0,0.5\n0,1,0.4\n1,0,0.5\n1,1,0.5\n"
    (tmp_path / "odd.csv").write_text(odd)
    full = [w.replace("{here}", str(tmp_path)) for w in words]
    with pytest.raises(InputError, match=message):
        diagnose(options(f"data={tmp_path}/log.csv", *full), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def log_of(tmp_path: Path, content: str, *overrides: str) -> Any:
    (tmp_path / "log.csv").write_text(content)
    return read_log(checked(f"data={tmp_path}/log.csv", *overrides))


def test_a_log_as_people_keep_it(tmp_path: Path) -> None:
    """Battles with ties, counts, columns of another name, no context, floats that are whole, white space."""
    battles = "model_a,model_b,winner\nx,y,model_a\nx,y,model_b\n y,x,tie\nx,y,model_a\n"
    log = log_of(tmp_path, battles)
    assert log.actions == ["x", "y"]
    assert log.counts.unit == 2
    assert log.counts.n.tolist() == [4]
    assert log.counts.wins[0, 0].tolist() == [[0, 5], [3, 0]]
    said = " ".join(log.notes)
    for words in (
        "no column context",
        "1 tie taken as half",
        "1 name in winner had white space",
        "1 repeated row,",
    ):
        assert words in said
    assert log_of(tmp_path, battles, "reading.ties=drop").counts.n.tolist() == [3]
    floats = "context,winner,loser,count\n0.0,1.0,0.0,3\n0.0,0.0,1.0,1\n"
    assert log_of(tmp_path, floats).counts.wins[0, 0].tolist() == [[0, 1], [3, 0]]
    named = "q,good,bad\n0,1,0\n"
    words = ("context=q", "winner=good", "loser=bad")
    renamed = log_of(tmp_path, named, *(f"reading.columns.{w}" for w in words))
    assert renamed.counts.wins[0, 0].tolist() == [[0, 0], [1, 0]]
    note = log_of(tmp_path, "winner,loser\na,A\nA,a\n").notes[-1]
    assert "1 pair of names in loser differing in case" in note


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        ("context,winner,loser,tie\n0,1,0,yes\n", (), "row 1: tie is 'yes'"),
        ("context,winner,loser,count\n0,1,0,1.5\n", (), "row 1: count is 1.5"),
        ("context,winner,loser,count\n0,1,0,0\n", (), "no comparison left"),
        ("context,winner,loser\n0,1,0\n0,1,\n", (), "empty entries, first in row 2"),
        ("model_a,model_b,winner\nx,y,z\n", (), "row 1: winner is 'z'"),
        ("winner,loser,tie\nx,y,true\n", ("reading.ties=refuse",), "row 1 is a tie"),
        ("winner,loser\nx,y\n", ("reading.columns.winner=w",), "lacks the column 'w'"),
    ],
)
def test_a_log_that_cannot_be_meant_is_one_sentence(
    tmp_path: Path, content: str, words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        log_of(tmp_path, content, *words)
