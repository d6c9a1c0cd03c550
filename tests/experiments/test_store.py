from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from experiments.common.files import write_atomically
from experiments.engine import store as store_module
from experiments.engine import units as units_module
from experiments.engine.collect import collect
from experiments.engine.columns import COLUMNS
from experiments.engine.store import CellFiles, digest, identity, read_results
from experiments.studies.sweep.cells import read_sweep
from experiments.studies.sweep.run import coverage_sweep, pending_units
from spac_theory import InputError

from .tools import comparable, files, settings


def sweep_in(folder: Path, *overrides: str, **options: str) -> pl.DataFrame:
    """Run a small sweep and return its table."""
    wanted = settings(folder, *overrides, **options)
    sweep, store = read_sweep(wanted), Path(wanted["store"])
    for unit in pending_units(sweep, store):
        units_module.run_unit(unit)
    return collect(sweep.units(store), sweep.seeds)


def pending_fits(folder: Path, *overrides: str, **options: str) -> int:
    wanted = settings(folder, *overrides, **options)
    units = pending_units(read_sweep(wanted), Path(wanted["store"]))
    return sum(len(unit.algorithms) for unit in units)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    write_atomically(target, lambda path: path.write_text("old"))

    def fails(path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(target, fails)
    assert [p.name for p in target.parent.iterdir()] == ["file.txt"]
    assert target.read_text() == "old"


def test_the_name_of_a_cell_is_a_hash_of_its_content_not_of_its_order() -> None:
    one, two = (
        identity({"n": 1, "a": {"x": 1, "y": [2]}}),
        identity({"a": {"y": [2], "x": 1}, "n": 1}),
    )
    assert digest(one) == digest(two)
    assert re.fullmatch(r"[0-9a-f]{16,}", digest(one))
    assert digest(identity({"n": 2, "a": {"x": 1, "y": [2]}})) != digest(one)


def test_a_change_of_version_is_another_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(identity({"n": 1}))
    for name in ("RESULTS_VERSION", "SCHEMA_VERSION"):
        with monkeypatch.context() as patch:
            patch.setattr(store_module, name, 10**6)
            assert digest(identity({"n": 1})) != before


def test_running_again_computes_nothing(tmp_path: Path) -> None:
    first = sweep_in(tmp_path)
    written = files(tmp_path)
    assert len(written) == 4
    assert pending_fits(tmp_path) == 0
    assert sweep_in(tmp_path).equals(first)
    assert files(tmp_path) == written


@pytest.mark.parametrize(
    ("override", "fits"),
    [
        ("algorithm.spac_sqrt_n.scale=2", 2),
        ("problem.seed=1", 4),
        ("behaviour.dials=[0.3]", 4),
        ("learner.delta=0.2", 4),
        ("learner.baseline=uniform", 4),
        ("grid.block=2", 8),
        ("grid.n=[50,400,500]", 2),
        ("grid.seeds=8", 4),
        ("grid.seeds=3", 0),
        ("figure.n=[50]", 0),
    ],
)
def test_only_what_changes_numbers_is_computed_again(
    tmp_path: Path, override: str, fits: int
) -> None:
    sweep_in(tmp_path)
    assert pending_fits(tmp_path, override) == fits


def test_a_label_is_no_part_of_a_cell(tmp_path: Path) -> None:
    sweep_in(tmp_path, algorithms="dpo")
    renamed = ("~algorithm.dpo", "+algorithm.mine={name: dpo}")
    assert pending_fits(tmp_path, *renamed, algorithms="dpo") == 0
    table = sweep_in(tmp_path, *renamed, algorithms="dpo")
    assert table["algorithm"].unique().to_list() == ["mine"]


def test_a_stored_configuration_is_compared_not_trusted(tmp_path: Path) -> None:
    sweep_in(tmp_path, algorithms="uniform")
    path = next(tmp_path.rglob("config.json"))
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "n": 7}))
    with pytest.raises(InputError, match="delete that folder"):
        pending_fits(tmp_path, algorithms="uniform")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    sweep_in(tmp_path, algorithms="uniform")
    path = next(tmp_path.rglob("block-000-*.parquet"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"block-000-\w+\.parquet cannot be read"):
        sweep_in(tmp_path, algorithms="uniform")


def test_a_failure_is_kept_apart_counted_and_forgotten_after_success(tmp_path: Path) -> None:
    cell = CellFiles(tmp_path, identity({"n": 1}))
    cell.write_error(0, {}, "ValueError: no")
    cell.write_error(0, {}, "ValueError: no")
    assert (cell.attempts(0), cell.done(0)) == (2, False)
    cell.write_block(0, {"seed": [0], "status": ["done"]})
    assert (cell.attempts(0), cell.done(0)) == (0, True)


def test_the_file_explains_itself(tmp_path: Path) -> None:
    sweep_in(tmp_path, algorithms="uniform")
    schema = pq.read_schema(next(tmp_path.rglob("block-000-*.parquet")))
    assert set(json.loads(schema.metadata[b"columns"])) == set(COLUMNS)
    assert all(schema.field(name).metadata[b"meaning"] for name in COLUMNS)
    assert schema.field("seconds").metadata[b"unit"] == b"s"
    assert b"results_version" in schema.metadata


def test_read_results_reads_a_store_a_sweep_and_a_file(tmp_path: Path) -> None:
    wanted = settings(tmp_path, "grid.seeds=3", "figure.formats=[png]")
    assert coverage_sweep(wanted, tmp_path / "out")
    sweep = read_results(tmp_path / "out")
    assert comparable(sweep).equals(comparable(read_results(tmp_path / "out/results.parquet")))
    assert sweep.height == 2 * 2 * 3
    whole = read_results(tmp_path / "store")
    assert whole.height == 2 * 2 * 4
    key = ["algorithm", "n", "seed"]
    assert whole.filter(pl.col("seed") < 3).sort(key).equals(sweep.sort(key))
    with pytest.raises(InputError, match="holds no results"):
        read_results(tmp_path / "nothing")
