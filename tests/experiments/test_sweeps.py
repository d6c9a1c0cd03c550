"""Sweeps that survive a weekend: killed, doubled, told about, tried again, reproduced."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from experiments.engine.store import read_results
from experiments.studies.sweep import again
from experiments.studies.sweep.run import coverage_sweep
from spac_theory import InputError

from .disturbed import disturb, start, words
from .tools import plugin, run, settings

LINUX = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")


@LINUX
def test_three_kills_leave_no_trace(tmp_path: Path) -> None:
    assert disturb(tmp_path / "few", 20, 3, seed=1).kills.total() == 3


@LINUX
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_kills_over_five_hundred_cells_leave_no_trace(tmp_path: Path) -> None:
    told = disturb(tmp_path / "many", 500, 50, seed=2, processes=2)
    print(told)
    assert min(told.kills.values()) >= 10


@LINUX
def test_two_sweeps_share_a_store(tmp_path: Path) -> None:
    options = words(40, tmp_path / "store")
    both = [start(tmp_path / name, options) for name in ("a", "b")]
    for process in both:
        assert process.wait(120) == 0, process.communicate()[1]
    tables = [read_results(tmp_path / name) for name in ("a", "b")]
    assert again.differences(*tables) == []
    whole = read_results(tmp_path / "store")
    assert whole.height == tables[0].height  # no block is there twice
    assert not list((tmp_path / "store").rglob("*.tmp"))


def test_a_sweep_is_told_about_tried_again_and_reproduced(tmp_path: Path) -> None:
    path = plugin(tmp_path, "frail")
    wanted = settings(
        tmp_path,
        f"plugins=[{path}]",
        "+algorithm.mine={name: frail, fails: true}",
        "figure.formats=[]",
    )
    out = tmp_path / "out"
    assert not coverage_sweep(wanted, out)
    found = again.status(out)
    assert (found.done, found.failed, found.missing) == (4, 2, 0)
    assert found.lines()[0] == "6 fits: 4 done, 2 failed, 0 missing"
    assert "nothing works" in found.lines()[-1]
    next((tmp_path / "store").glob("cells/*/block-*.parquet")).unlink()
    assert again.status(out).missing == 1
    program = [__import__("sys").executable, "-m", "experiments.sweeps"]
    told = run([*program, "retry", str(out)], tmp_path)
    assert told.returncode == 1  # what failed fails again, what was missing is there
    assert again.status(out).missing == 0
    rows = read_results(out)
    row = rows.with_row_index().filter(pl.col("algorithm") == "spac_sqrt_n")["index"][5]
    assert (
        "the same to the last bit"
        in run([*program, "reproduce", str(out), str(row)], tmp_path).stdout
    )
    changed = rows.with_columns(suboptimality=pl.col("suboptimality") * (1 + 1e-15))
    assert again.differences(rows, changed) == ["suboptimality"]
    for wrong in (99_999, -1):
        with pytest.raises(InputError, match=f"ROW is {wrong}"):
            again.again(out, wrong)
    with pytest.raises(InputError, match=r"no run\.json"):
        again.status(tmp_path)


def test_a_whole_sweep_is_reproduced(tmp_path: Path) -> None:
    coverage_sweep(settings(tmp_path, "figure.formats=[]"), tmp_path / "out")
    assert again.differences(*again.again(tmp_path / "out", None)) == []


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(30, "30 s"), (150, "2.5 minutes"), (7200, "2.0 hours"), (200_000, "2.3 days")],
)
def test_time_left_is_in_units_of_people(seconds: float, said: str) -> None:
    assert again.duration(seconds) == said
