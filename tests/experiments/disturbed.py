"""A sweep that is killed at random moments, again and again, beside one that is left alone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from experiments.engine.store import read_results
from experiments.studies.sweep.again import differences

from .tools import command, environment

TARGETS = ("main", "worker", "group")


@dataclass
class Disturbed:
    """Kills by what they hit, and fresh starts that they needed."""

    kills: Counter[str] = field(default_factory=Counter)
    sweeps: int = 0


def words(cells: int, store: Path, processes: int = 1) -> list[str]:
    """A sweep of at least `cells` cells, each of milliseconds: 4 algorithms, 5 dials, many sizes."""
    sizes = [50 + 10 * i for i in range(-(-cells // 20))]
    return [
        "problem.contexts=2", "problem.actions=4", "behaviour.dials=[0.1,0.2,0.3,0.4,0.5]",
        f"grid.n={sizes}".replace(" ", ""), "grid.seeds=2", "grid.block=2", f"launcher.processes={processes}",
        "algorithm=[mle_greedy,dpo,spac_sqrt_n,pessimistic_mle]", "figure.formats=[]", f"store={store}",
    ]  # fmt: skip


def start(folder: Path, options: list[str]) -> subprocess.Popen[str]:
    """The sweep in a process group of its own."""
    return subprocess.Popen(
        command("experiments.coverage_sweep", folder, *options),
        env=environment(), cwd=folder.parent, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def alive(group: int) -> list[int]:
    """Processes of a group that are no zombies."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = path.read_text().rsplit(")", 1)[1].split()[:3]
        except (OSError, IndexError):
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


def workers(process: subprocess.Popen[str]) -> list[int]:
    """The processes that a sweep has started."""
    try:
        return [
            int(p)
            for p in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        ]
    except OSError:
        return []


def blocks(store: Path) -> dict[str, tuple[int, bytes]]:
    """Every finished block with its time and content."""
    return {
        str(p): (p.stat().st_mtime_ns, p.read_bytes())
        for p in store.glob("cells/*/block-*.parquet")
    }


def strike(process: subprocess.Popen[str], target: str, chance: random.Random) -> bool:
    """Send SIGKILL; whether there was something to kill."""
    if process.poll() is not None:
        return False
    if target == "group":
        os.killpg(process.pid, signal.SIGKILL)
    elif target == "main":
        process.kill()
    else:
        found = workers(process)
        if not found:
            return False
        os.kill(chance.choice(found), signal.SIGKILL)
    return True


def disturb(folder: Path, cells: int, kills: int, seed: int, processes: int = 1) -> Disturbed:
    """Kill until `kills` have landed, finish every sweep, and compare each with one left alone.

    Raises AssertionError where a table differs in a bit, a finished block was written again or twice, or
    a process or a temporary file was left behind.
    """
    folder.mkdir()
    whole = start(folder / "whole", words(cells, folder / "whole-store", processes))
    _, errors = whole.communicate()
    assert whole.returncode == 0, errors
    want = read_results(folder / "whole")
    assert want.select("dial", "n", "algorithm").unique().height >= cells
    chance, told = random.Random(seed), Disturbed()
    while told.kills.total() < kills:
        _one(folder, told, lambda store: words(cells, store, processes), kills, chance)
        assert differences(want, read_results(folder / f"out-{told.sweeps}")) == []
    return told


def _one(
    folder: Path,
    told: Disturbed,
    options_of: Callable[[Path], list[str]],
    kills: int,
    chance: random.Random,
) -> None:
    """One sweep from nothing to its end, with kills on the way."""
    told.sweeps += 1
    out, store = folder / f"out-{told.sweeps}", folder / f"store-{told.sweeps}"
    options, finished = options_of(store), dict[str, tuple[int, bytes]]()
    process = start(out, options)
    while True:
        if told.kills.total() < kills:
            _until_something_is_done(process, store, len(finished))
            time.sleep(chance.uniform(0, 0.3))
            target = TARGETS[told.kills.total() % 3]
            told.kills[target] += strike(process, target, chance)
            if target == "worker" and process.poll() is None:
                continue
        _, errors = process.communicate()
        _end_of(process.pid)
        now = blocks(store)
        assert finished.items() <= now.items(), "a finished block was written again"
        finished = now
        assert process.returncode in (0, 1, -signal.SIGKILL), errors
        if process.returncode == 0:
            break
        process = start(out, options)
    cells_of = Counter(Path(p).parent.name for p in finished)
    assert set(cells_of.values()) == {1}, "a block is there twice"
    assert not list(store.rglob("*.tmp")), "a temporary was left behind"


def _until_something_is_done(process: subprocess.Popen[str], store: Path, before: int) -> None:
    while process.poll() is None and len(list(store.glob("cells/*/block-*.parquet"))) <= before:
        time.sleep(0.02)


def _end_of(group: int, seconds: float = 30) -> None:
    """Wait until no process of the group is left: workers follow a parent that was killed."""
    limit = time.monotonic() + seconds
    while found := alive(group):
        assert time.monotonic() < limit, f"left behind: {found}"
        time.sleep(0.05)
