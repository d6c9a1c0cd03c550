"""A store under attack: flipped bits, swapped and cut blocks, leftovers, a disk that refuses.

`python -m tests.experiments.test_store_attacked 1000` flips that many bits and swaps that many blocks.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from experiments.common import files as files_module
from experiments.common.files import StorageError, remove_stale, write_atomically
from experiments.common.program import BAD_INPUT, DISK_REFUSED, guarded
from experiments.engine.collect import collect
from experiments.engine.executor import run_units
from experiments.engine.store import _checksum, read_results
from experiments.engine.units import run_unit
from experiments.studies.sweep.again import differences
from experiments.studies.sweep.cells import Sweep, read_sweep
from experiments.studies.sweep.run import coverage_sweep, pending_units
from spac_theory import InputError

from ..small_disk import OWN_MOUNTS, REASON
from . import full_disk
from .test_store import sweep_in
from .tools import ROOT, comparable, run, settings

FLIPS, SWAPS = 60, 20


def sweep_of(folder: Path, algorithms: str = "uniform") -> tuple[Sweep, Path]:
    wanted = settings(folder, algorithms=algorithms)
    return read_sweep(wanted), Path(wanted["store"])


def collected(sweep: Sweep, store: Path) -> pl.DataFrame | str:
    """The table of a small sweep as its store stands (computed again where need be), or what refuses it."""
    try:
        for unit in pending_units(sweep, store):
            run_unit(unit)
        return collect(sweep.units(store), sweep.seeds)
    except InputError as error:
        text = str(error)
        assert text.endswith(".")
        assert "\n" not in text
        return text


def outcome(sweep: Sweep, store: Path, truth: pl.DataFrame) -> str:
    """Named, or harmless: the numbers are those that they were."""
    found = collected(sweep, store)
    if isinstance(found, str):
        return "named"
    return "harmless" if comparable(found).equals(comparable(truth)) else "LIE"


def flip(rng: np.random.Generator, sweep: Sweep, store: Path, truth: pl.DataFrame) -> str:
    """Flip one bit of one file of a store, read, and put it back."""
    every = sorted(p for p in store.rglob("*") if p.is_file())
    path = every[int(rng.integers(len(every)))]
    content = path.read_bytes()
    changed = bytearray(content)
    changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(changed))
    said = outcome(sweep, store, truth)
    path.write_bytes(content)
    return said


def swap(rng: np.random.Generator, sweep: Sweep, store: Path, truth: pl.DataFrame) -> str:
    """Copy one block over another, or cut its rows with a right checksum, read, and put it back."""
    blocks = sorted(store.rglob("block-*.parquet"))
    one, other = (blocks[int(i)] for i in rng.permutation(len(blocks))[:2])
    kept = other.read_bytes()
    kind = int(rng.integers(3))
    new = other
    if kind == 0:  # another block's bytes under this one's name
        shutil.copyfile(one, other)
    else:  # another block, or a cut one, under a name with the right checksum
        content = one.read_bytes()
        if kind == 2:
            cut = pq.read_table(other if rng.uniform() < 0.5 else one).slice(0, 2)
            pq.write_table(cut, store.parent / "cut.parquet")
            content = (store.parent / "cut.parquet").read_bytes()
        new = other.with_name(f"block-000-{_checksum(content)}.parquet")
        other.unlink()
        new.write_bytes(content)
    said = outcome(sweep, store, truth)
    new.unlink()
    other.write_bytes(kept)
    return said


def attack(folder: Path, flips: int, swaps: int) -> Counter[str]:
    """Outcomes of random damage to the store of a small sweep."""
    sweep, store = sweep_of(folder, algorithms="uniform,dpo")
    truth, rng = collected(sweep, store), np.random.default_rng(0)
    assert isinstance(truth, pl.DataFrame)
    found = Counter(f"flip {flip(rng, sweep, store, truth)}" for _ in range(flips))
    found += Counter(f"swap {swap(rng, sweep, store, truth)}" for _ in range(swaps))
    assert outcome(sweep, store, truth) == "harmless"
    return found


def test_flipped_bits_and_swapped_blocks_are_named_or_harmless(tmp_path: Path) -> None:
    found = attack(tmp_path, FLIPS, SWAPS)
    assert found.total() == FLIPS + SWAPS
    assert not any("LIE" in kind for kind in found)
    assert found["swap named"] == SWAPS


def test_a_cut_block_with_a_right_checksum_is_named(tmp_path: Path) -> None:
    sweep_in(tmp_path)
    path = next(tmp_path.rglob("block-000-*.parquet"))
    pq.write_table(pq.read_table(path).slice(0, 3), tmp_path / "cut.parquet")
    content = (tmp_path / "cut.parquet").read_bytes()
    path.unlink()
    path.with_name(f"block-000-{_checksum(content)}.parquet").write_bytes(content)
    with pytest.raises(InputError, match="3 rows of 4"):
        read_results(tmp_path / "store")


def test_leftovers_of_killed_writers_are_removed_and_those_of_living_ones_kept(
    tmp_path: Path,
) -> None:
    host = platform.node()
    dead = tmp_path / "cells" / "x" / f".block-000-ab.parquet.{host}.999999999.tmp"
    living = dead.with_name(f".block-000-ab.parquet.{host}.{os.getpid()}.tmp")
    foreign = dead.with_name(".block-000-ab.parquet.elsewhere.1.tmp")
    dead.parent.mkdir(parents=True)
    for path in (dead, living, foreign):
        path.write_text("half")
    remove_stale(tmp_path)
    assert not dead.exists()
    assert living.exists()
    assert foreign.exists()
    os.utime(foreign, (0, 0))
    remove_stale(tmp_path)
    assert not foreign.exists()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "is full; free some space"),
        (errno.EROFS, "cannot be written to"),
        (errno.EACCES, "cannot be written to"),
        (errno.ENOTDIR, "cannot hold files"),
        (errno.ENAMETOOLONG, "cannot hold files"),
    ],
)
def test_a_disk_that_refuses_is_one_sentence_with_an_exit_code_of_its_own(
    tmp_path: Path, number: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path) -> None:
        path.write_text("half")
        raise OSError(number, os.strerror(number))

    assert guarded(lambda: write_atomically(tmp_path / "file", refuse)) == DISK_REFUSED  # type: ignore[func-returns-value]
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("processes", [0, 1])
def test_a_full_disk_ends_a_sweep_whoever_meets_it(tmp_path: Path, processes: int) -> None:
    """The store is a file's child, so that no worker can write there."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "cells").write_text("a file where a folder should be")
    sweep, store = sweep_of(tmp_path)
    with pytest.raises(StorageError, match="cannot hold files"):
        list(run_units(pending_units(sweep, store), processes))


def test_a_full_disk_is_no_failed_row(tmp_path: Path) -> None:
    sweep, store = sweep_of(tmp_path)
    unit = next(iter(pending_units(sweep, store)))
    full = OSError(errno.ENOSPC, "No space left on device")
    refused = mock.patch.object(files_module.os, "replace", side_effect=full)
    with refused, pytest.raises(StorageError, match="is full"):
        run_unit(unit)
    assert not [p for p in store.rglob("*") if p.is_file()]


@pytest.mark.skipif(bool(REASON), reason=REASON or "there are mounts of one's own")
def test_a_sweep_that_fills_a_real_disk_goes_on_when_there_is_room(tmp_path: Path) -> None:
    words = [*OWN_MOUNTS, sys.executable, "-m", "tests.experiments.full_disk", str(tmp_path)]
    done = run(words, ROOT)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["codes"] == [DISK_REFUSED, 0]
    assert "is full; free some space" in done.stderr
    assert "Traceback" not in done.stderr
    first, second = told["kept"]
    assert 0 < len(first) < len(second) == 2 * len(full_disk.SIZES)
    assert first.items() <= second.items()  # what had been written was not written again
    assert told["half"] == []
    whole = sweep_in(tmp_path / "whole", *full_disk.WORDS)
    assert differences(whole, read_results(tmp_path / "out")) == []


@pytest.mark.parametrize("store", ["", "{here}/log.csv", "{here}/log.csv/below", "/proc/x", "a\0b"])
def test_a_store_that_is_no_folder_is_refused(tmp_path: Path, store: str) -> None:
    (tmp_path / "log.csv").write_text("x")
    wanted = settings(tmp_path) | {"store": store.replace("{here}", str(tmp_path))}
    code = guarded(lambda: coverage_sweep(wanted, tmp_path / "out"))
    assert code in (BAD_INPUT, DISK_REFUSED)
    assert not (tmp_path / "out").exists()


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as place:
        print(dict(attack(Path(place), count, count)))
