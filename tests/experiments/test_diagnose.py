from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from experiments.common.configuration import read
from experiments.common.program import SOME_FAILED, composed, guarded
from experiments.studies.diagnosis.logs import Settings, read_log
from experiments.studies.diagnosis.run import diagnose
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
    for words in ("no column context", "1 ties are half", "lost white space", "1 rows repeat"):
        assert words in said
    assert log_of(tmp_path, battles, "reading.ties=drop").counts.n.tolist() == [3]
    floats = "context,winner,loser,count\n0.0,1.0,0.0,3\n0.0,0.0,1.0,1\n"
    assert log_of(tmp_path, floats).counts.wins[0, 0].tolist() == [[0, 1], [3, 0]]
    named = "q,good,bad\n0,1,0\n"
    words = ("context=q", "winner=good", "loser=bad")
    renamed = log_of(tmp_path, named, *(f"reading.columns.{w}" for w in words))
    assert renamed.counts.wins[0, 0].tolist() == [[0, 0], [1, 0]]
    assert "differ from another in case" in log_of(tmp_path, "winner,loser\na,A\nA,b\n").notes[-1]


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
