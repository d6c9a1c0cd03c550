"""No algorithm grades itself, changes what others get, or hands on what is no number."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch

from experiments.common.program import composed
from experiments.engine.collect import collect
from experiments.engine.columns import COLUMNS
from experiments.engine.setting import at_coverage
from experiments.engine.store import read_results
from experiments.engine.units import fingerprint, run_unit
from experiments.studies.sweep.cells import read_sweep
from spac_theory import InputError

from .test_store import sweep_in
from .tools import ROOT, environment

FOUL = '''
"""An algorithm that plays foul in the way its option says."""

from dataclasses import dataclass

import torch

from spac_theory import ALGORITHMS, Fit
from spac_theory.view import TabularPolicy


@ALGORITHMS.register("{name}")
@dataclass(frozen=True)
class Foul:
    way: str = "none"

    def skip(self, view, oracle):
        return None

    def fit(self, view, data, oracle=None):
        count = len(data.n)
        extra = {{}}
        if self.way == "swaps":
            data.wins.copy_(data.wins.transpose(-1, -2).clone())
        if self.way == "zeros":
            data.wins.zero_()
        if self.way == "view":
            view.baseline.fill_(1 / view.baseline.shape[-1])
        if self.way == "class":
            view.reward_class.features.mul_(2)
        if self.way in ("suboptimality", "status", "seed", "queries"):
            extra[self.way] = torch.zeros(count)
        if self.way == "no_number":
            extra["mine"] = torch.full((count,), torch.nan)
        lam = torch.full((count,), torch.nan) if self.way == "lam" else None
        table = view.baseline.expand(count, -1, -1).clone()
        if self.way == "policy":
            table[0, 0, 0] = torch.nan
        return Fit(TabularPolicy(table), "none", lam=lam, extra=extra)
'''


def foul(folder: Path, way: str) -> tuple[str, str]:
    name = f"foul_{way}"
    path = folder / f"{name}.py"
    path.write_text(FOUL.format(name=name))
    return f"plugins=[{path}]", f"+algorithm.a_{name}={{name: {name}, way: {way}}}"


@pytest.mark.parametrize("way", ["swaps", "zeros", "view", "class"])
def test_who_changes_what_others_share_fails_alone(tmp_path: Path, way: str) -> None:
    """The neighbours' numbers are those of a sweep without it, fresh and from the shared store."""
    clean = sweep_in(tmp_path / "clean", algorithms="dpo,spac_sqrt_n")
    words = [
        "~algorithm.dpo",
        *foul(tmp_path, way),
        "+algorithm.dpo={name: dpo}",
        "+algorithm.spac={name: spac}",
    ]
    table = sweep_in(tmp_path / "foul", *words, algorithms="dpo")
    mine = table.filter(pl.col("algorithm") == f"a_foul_{way}")
    assert set(mine["status"]) == {"failed"}
    assert "changed the data or the setting" in mine["reason"][0]
    for ours, theirs in (("dpo", "dpo"), ("spac", "spac_sqrt_n")):
        got = table.filter(pl.col("algorithm") == ours)["suboptimality"]
        want = clean.filter(pl.col("algorithm") == theirs)["suboptimality"]
        assert got.equals(want, check_names=False)


WRONG = """
from dataclasses import dataclass
from spac_theory.algorithms import ALGORITHMS
from spac_theory.view import Fit, TabularPolicy

@ALGORITHMS.register("{name}")
@dataclass(frozen=True)
class Wrong:
    def skip(self, view, oracle):
        return {skip}
    def fit(self, view, data, oracle=None):
        table = view.reference.expand(len(data.n), -1, -1).clone()
        return {answer}
"""


@pytest.mark.parametrize(
    ("name", "skip", "answer", "reason"),
    [
        ("nothing", "None", "None", "its fit returned a NoneType; it must return a Fit"),
        ("raw", "None", "Fit(table, 'none')", "policy is a Tensor; it must be a TabularPolicy"),
        ("gap", "None", "Fit(TabularPolicy(table), 'none', 0.1)", "gap is 0.1; it must be a tensor"),
        ("mine", "None", "Fit(TabularPolicy(table), 'none', extra={'mine': 'x'})",
         "extra.mine is 'x'; it must be a tensor"),
        ("array", "None", "Fit(TabularPolicy(table.numpy()), 'none')", "policy is array"),
        ("skips", "True", "None", "its skip returned True; it must return None or a reason"),
        ("slip", "None", "view.rewards", "has no attribute 'rewards' (wrong_slip.py, line 13)"),
    ],
)  # fmt: skip
def test_what_a_plugin_returns_wrongly_is_said_in_words(
    tmp_path: Path, name: str, skip: str, answer: str, reason: str
) -> None:
    path = tmp_path / f"wrong_{name}.py"
    path.write_text(WRONG.format(name=f"wrong_{name}", skip=skip, answer=answer))
    words = f"plugins=[{path}]", f"+algorithm.mine={{name: wrong_{name}}}"
    table = sweep_in(tmp_path, *words, algorithms="uniform")
    mine = table.filter(pl.col("algorithm") == "mine")
    assert set(mine["status"]) == {"failed"}
    assert mine["reason"].str.contains(reason, literal=True).all(), mine["reason"][0]


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("few", "def skip(self, view, oracle): ...\n    def fit(self, view): ...",
         "algorithm 'odd_few' has the method fit(view); it is called as fit(view, data, oracle)."),
        ("none", "def fit(self, view, data, oracle): ...", "has no method skip"),
    ],
)  # fmt: skip
def test_a_plugin_that_cannot_be_called_is_refused(
    tmp_path: Path, name: str, body: str, said: str
) -> None:
    path = tmp_path / f"odd_{name}.py"
    path.write_text(
        "from dataclasses import dataclass\nfrom spac_theory.algorithms import ALGORITHMS\n"
        f"@ALGORITHMS.register('odd_{name}')\n@dataclass(frozen=True)\nclass Odd:\n    {body}\n"
    )
    words = f"plugins=[{path}]", f"+algorithm.mine={{name: odd_{name}}}"
    with pytest.raises(InputError, match=re.escape(said)):
        sweep_in(tmp_path, *words, algorithms="uniform")


def test_a_plugin_without_dataclass_or_under_a_name_that_is_taken_is_refused(
    tmp_path: Path,
) -> None:
    bare = tmp_path / "bare.py"
    head = "from spac_theory.algorithms import ALGORITHMS\n@ALGORITHMS.register('{}')\n"
    bare.write_text(head.format("bare") + "class Bare: ...\n")
    with pytest.raises(InputError, match="is the class Bare, no dataclass"):
        sweep_in(tmp_path, f"plugins=[{bare}]", "+algorithm.m={name: bare}", algorithms="uniform")
    clash = tmp_path / "clash.py"
    clash.write_text(head.format("dpo") + "class Mine: ...\n")
    # The stranger may come first: in a process that has loaded nothing else.
    words = [
        f"plugins=[{clash}]",
        "algorithm=[dpo]",
        f"store={tmp_path}/s",
        f"hydra.run.dir={tmp_path}",
    ]
    done = subprocess.run([sys.executable, "-m", "experiments.coverage_sweep", *words], cwd=ROOT,
                          env=environment(), capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 2
    assert "clash.py', which fails to run: algorithm 'dpo' is already registered" in done.stderr


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("suboptimality", "extra holds 'suboptimality', a column that the referee alone decides"),
        ("status", "extra holds 'status'"),
        ("seed", "extra holds 'seed'"),
        ("queries", "extra holds 'queries'"),
        ("no_number", "extra.mine.* is NaN in 4 of 4 entries"),
        ("lam", "NaN|nan"),
        ("policy", "nan|NaN"),
    ],
)
def test_a_column_of_the_referee_and_what_is_no_number_are_failed_rows(
    tmp_path: Path, way: str, reason: str
) -> None:
    table = sweep_in(tmp_path, *foul(tmp_path, way), algorithms="uniform")
    mine = table.filter(pl.col("algorithm") == f"a_foul_{way}")
    assert set(mine["status"]) == {"failed"}
    assert mine["reason"].str.contains(reason).all()
    assert mine["suboptimality"].null_count() == mine.height
    assert set(table.filter(pl.col("algorithm") == "uniform")["status"]) == {"done"}


def tabled(folder: Path, *words: str, run: bool = False) -> pl.DataFrame:
    """The table of a sweep with these words, run or not."""
    sweep = read_sweep(composed("coverage_sweep", *words, f"store={folder}"))
    if run:
        assert not any(run_unit(unit).failed for unit in sweep.units(folder))
    return collect(sweep.units(folder), sweep.seeds)


def test_a_fingerprint_sees_every_tensor() -> None:
    place = at_coverage("linear", 0.2)
    data = place.data(50, 2)
    before = fingerprint(place, data)
    assert before == fingerprint(place, data)
    for thing in (data, place.view, place.view.reward_class, place.problem.bandit):
        for field in dataclasses.fields(thing):
            value = getattr(thing, field.name)
            if isinstance(value, torch.Tensor):
                kept = value.clone()
                value.flatten()[0].add_(1)
                assert fingerprint(place, data) != before, field.name
                value.copy_(kept)
    assert fingerprint(place, data) == before


def test_rows_of_a_store_say_in_which_setting_and_with_which_options(tmp_path: Path) -> None:
    """λ, δ, ν, options of the problem: no two settings give rows that read alike."""
    for word in (
        "algorithm.spac_sqrt_n.scale=0.5",
        "algorithm.spac_sqrt_n.scale=1",
        "learner.delta=0.2",
        "learner.baseline=uniform",
        "problem.reward_range=[-1.0,2.0]",
    ):
        sweep_in(tmp_path, word, algorithms="spac_sqrt_n")
    rows = read_results(tmp_path / "store")
    keys = ["problem", "behaviour", "dial", "n", "delta", "reference", "baseline"]
    keys += ["method", "options", "seed"]
    assert rows.height == 5 * 8
    assert rows.select(keys).unique().height == rows.height
    assert set(rows["problem"]) == {
        "rare_lucky(actions=4, contexts=2)",
        "rare_lucky(actions=4, contexts=2, reward_range=[-1.0, 2.0])",
    }
    assert set(rows.columns) <= set(COLUMNS) | {"hedge_bound"}


@pytest.mark.parametrize("norm_bound", ["1.0", "3.0", "null"])
def test_a_problem_is_named_with_every_option_that_is_not_the_default(
    tmp_path: Path, norm_bound: str
) -> None:
    extra = () if norm_bound == "1.0" else ("problem.reward_range=[-2.0,2.0]",)
    table = tabled(
        tmp_path, "grid=smoke", "grid.seeds=1", "grid.block=1", "algorithm=[uniform]", "problem=linear",
        f"problem.norm_bound={norm_bound}", *extra,
    )  # fmt: skip
    shown = {"1.0": "", "3.0": "norm_bound=3, ", "null": "norm_bound=None, "}[norm_bound]
    options = f"({shown}reward_range=[-2.0, 2.0])" if extra else ""
    assert set(table["problem"]) == {f"linear{options}"}


def test_contexts_from_a_density_are_declined_by_those_whose_policy_is_a_table(
    tmp_path: Path,
) -> None:
    words = ("problem=continuous", "problem.evaluation=100", "grid.n=[20]", "grid.seeds=2")
    names = "algorithm=[pessimistic_mle,uniform,spac_sqrt_n]"
    table = tabled(tmp_path, *words, "grid.block=2", "behaviour.dials=[0.2]", names, run=True)
    status = dict(table.select("algorithm", "status").unique().iter_rows())
    assert status["spac_sqrt_n"] == "done"
    assert status["pessimistic_mle"] == "skipped"
