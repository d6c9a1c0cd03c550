"""Kill a run at random moments, start it again, and compare it with an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from llm.artifacts import read_json, read_rows

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


@dataclass(frozen=True)
class Outcome:
    """How many kills landed, and how the disturbed run compares with the undisturbed one."""

    kills: int
    same_manifest: bool
    same_rows: bool
    loss_difference: float

    @property
    def holds(self) -> bool:
        """Same manifest and rows, and a final loss equal to 1e-5."""
        return self.same_manifest and self.same_rows and self.loss_difference <= 1e-5


def launch(directory: Path, *extra: str) -> subprocess.Popen[bytes]:
    """Start a small run in its own process."""
    command = [sys.executable, "-m", "llm.run", f"run_dir={directory}", *SMALL, *extra]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    root = Path(__file__).resolve().parent.parent
    return subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a run to end well."""
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(errors.decode()[-2000:])


def kill_and_compare(folder: Path, kills: int, seed: int) -> Outcome:
    """Run once undisturbed; run again killed `kills` times by SIGKILL; compare."""
    whole, disturbed = folder / "whole", folder / "disturbed"
    begin = time.monotonic()
    finish(launch(whole))
    length = time.monotonic() - begin
    random_moment = random.Random(seed)
    landed = 0
    for _ in range(kills):
        process = launch(disturbed)
        time.sleep(random_moment.uniform(0.3, 1.0) * length)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            landed += 1
        process.communicate()
    finish(launch(disturbed))
    return compare(whole, disturbed, landed)


def compare(whole: Path, disturbed: Path, kills: int) -> Outcome:
    """Manifests, all row files and the final losses of two finished runs."""
    manifests = [read_json(run / "manifest.json") for run in (whole, disturbed)]
    names = [
        sorted(p.relative_to(run) for p in run.rglob("*.parquet")) for run in (whole, disturbed)
    ]
    rows = names[0] == names[1] and all(
        read_rows(whole / name) == read_rows(disturbed / name) for name in names[0]
    )
    losses = [
        [s["outputs"].get("final_loss") or 0.0 for s in m["stages"].values()] for m in manifests
    ]
    gap = max(abs(a - b) for a, b in zip(*losses, strict=True))
    return Outcome(kills, manifests[0] == manifests[1], rows, gap)
