"""Kill a run at random moments of every stage, start it again, and compare with an undisturbed run.

A moment is a stage and a share of its undisturbed time, drawn uniformly from [0, 1). Stages are drawn
without replacement until each has been hit, then anew, so short ones are hit as often as long ones.
Every disturbed run meets up to three kills, is finished and compared; the next one is a fresh run.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from experiments.common.files import read_json
from llm.files.digests import read_rows

KILLS_A_RUN = 3
SMALL = (
    "rounds=2",
    "data.language.pairs=96",
    "data.language.demonstrations=512",
    "sft.epochs=1",
    "sft.batch=64",
    "sft.micro_batch=64",
    "sft.save_every=2",
    "train.epochs=2",
    "train.batch=16",
    "train.micro_batch=16",
    "train.save_every=3",
    "train.log_every=1",
    "train.report_to=[]",
    "sft.report_to=[]",
    "generation.batch=16",
    "reference_batch=16",
    "methods=spac",
)


@dataclass
class Outcome:
    """Kills that landed, by kind of stage, and how the disturbed runs compare with the whole one."""

    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    same_manifest: bool = True
    same_rows: bool = True
    loss_difference: float = 0.0

    @property
    def holds(self) -> bool:
        """Same manifest and rows, and final losses equal to 1e-5."""
        return self.same_manifest and self.same_rows and self.loss_difference <= 1e-5

    def describe(self) -> str:
        """One line for a table."""
        places = ", ".join(f"{kind} {n}" for kind, n in sorted(self.kills.items()))
        return (
            f"{self.kills.total()} kills landed ({places}) in {self.runs} runs; manifests equal: "
            f"{self.same_manifest}, rows equal: {self.same_rows}, largest difference of a final "
            f"loss {self.loss_difference:.1e}"
        )


def launch(directory: Path, *extra: str) -> subprocess.Popen[str]:
    """Start a small run in its own process; its output names the stages as they begin."""
    command = [sys.executable, "-u", "-m", "llm.run", f"run_dir={directory}", *SMALL, *extra]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for a run to end well."""
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(errors[-2000:])


def durations(run: Path) -> dict[str, float]:
    """Seconds of every stage of a finished run, in the order in which they were done."""
    ends = {path.parent: path.stat().st_mtime for path in run.rglob("stage.json")}
    begins = {folder: (folder / "inputs.json").stat().st_mtime for folder in ends}
    order = sorted(ends, key=lambda folder: ends[folder])
    return {str(f.relative_to(run)): ends[f] - begins[f] for f in order}


def reach(process: subprocess.Popen[str], stage: str) -> None:
    """Wait until the process says that it begins (or goes on with) `stage`, or ends."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == stage:
            return


def kill_in(directory: Path, stage: str, delay: float) -> bool:
    """Launch, kill `delay` seconds after `stage` has begun; whether the kill found it alive."""
    process = launch(directory)
    reach(process, stage)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)  # does nothing to a process that has ended
    _, errors = process.communicate()
    if process.returncode > 0:  # it ended badly by itself: that is no kill but a failure
        raise RuntimeError(errors[-2000:])
    return process.returncode == -signal.SIGKILL


def kill_and_compare(folder: Path, kills: int, seed: int) -> Outcome:
    """Run once undisturbed, then fresh runs killed by SIGKILL until `kills` have landed."""
    whole = folder / "whole"
    finish(launch(whole))
    seconds = durations(whole)
    chance, outcome, pool = random.Random(seed), Outcome(), list[str]()
    while outcome.kills.total() < kills:
        pool = pool or chance.sample(list(seconds), len(seconds))
        stages, pool = pool[:KILLS_A_RUN], pool[KILLS_A_RUN:]
        disturbed = folder / f"disturbed-{outcome.runs}"
        outcome.runs += 1
        for stage in sorted(stages, key=list(seconds).index)[: kills - outcome.kills.total()]:
            if kill_in(disturbed, stage, chance.random() * seconds[stage]):
                outcome.kills[stage.rsplit("/", 1)[-1]] += 1
        finish(launch(disturbed))
        compare(whole, disturbed, outcome)
    return outcome


def compare(whole: Path, disturbed: Path, outcome: Outcome) -> None:
    """Hold manifests, all row files and final losses of two finished runs against each other."""
    manifests = [read_json(run / "manifest.json") for run in (whole, disturbed)]
    names = [
        sorted(p.relative_to(run) for p in run.rglob("*.parquet")) for run in (whole, disturbed)
    ]
    outcome.same_rows &= names[0] == names[1] and all(
        read_rows(whole / name) == read_rows(disturbed / name) for name in names[0]
    )
    losses = [
        [s["outputs"].get("final_loss") or 0.0 for s in m["stages"].values()] for m in manifests
    ]
    gap = max(abs(a - b) for a, b in zip(*losses, strict=True))
    outcome.loss_difference = max(outcome.loss_difference, gap)
    outcome.same_manifest &= manifests[0] == manifests[1]
