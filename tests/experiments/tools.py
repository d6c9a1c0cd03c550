"""Small sweeps for the tests: settings as Hydra composes them, run in this process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl

from experiments.common.program import composed

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "problem.contexts=2",
    "problem.actions=4",
    "behaviour.dials=[0.2]",
    "grid.n=[50,400]",
    "grid.seeds=4",
    "grid.block=4",
    "launcher.processes=0",
)


def settings(
    folder: Path, *overrides: str, algorithms: str = "spac_sqrt_n,mle_greedy"
) -> dict[str, Any]:
    """The settings of a small sweep whose store is in `folder`."""
    words = [*SMALL, f"algorithm=[{algorithms}]", f"store={folder / 'store'}", *overrides]
    return composed("coverage_sweep", *words)


def comparable(results: pl.DataFrame) -> pl.DataFrame:
    """Results without the one column that may differ between runs."""
    return results.drop("seconds")


def files(folder: Path) -> dict[str, int]:
    """Every block of a store with the time it was written."""
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("block-*.parquet")}


def command(module: str, folder: Path, *overrides: str) -> list[str]:
    """The command line of a program that writes into `folder`."""
    return [sys.executable, "-m", module, f"hydra.run.dir={folder}", *overrides]


def environment() -> dict[str, str]:
    """The environment of a program under test."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder` and capture what it says."""
    return subprocess.run(
        words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=120
    )


PLUGIN = '''
"""An algorithm of a stranger: the action with the most wins at each context."""

import os
import signal
from dataclasses import dataclass

from spac_theory import ALGORITHMS, Fit
from spac_theory.bandit.contextual import greedy
from spac_theory.view import TabularPolicy


@ALGORITHMS.register("{name}")
@dataclass(frozen=True)
class Stranger:
    dies_at: int = 0
    reads_oracle: bool = False
    fails: bool = False

    def skip(self, view, oracle):
        return None

    def fit(self, view, data, oracle=None):
        if self.reads_oracle:
            assert oracle.concentrability > 0
        if self.fails:
            raise RuntimeError("nothing\\nworks")
        if int(data.n[0]) == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        wins = data.wins.sum(-1).double()
        return Fit(TabularPolicy(greedy(wins)), "closed form", extra={{"most": wins.amax((-2, -1))}})
'''


def plugin(folder: Path, name: str) -> Path:
    """Write the stranger's file; each test registers it under a name of its own."""
    path = folder / f"{name}.py"
    path.write_text(PLUGIN.format(name=name))
    return path
