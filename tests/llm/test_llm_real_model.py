"""SmolLM2 itself: killed, gone on with, and refused when stale. Needs its wheel; run by `make claims`."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.claims.kills import Outcome, compare, finish, reach
from experiments.common.files import read_json
from experiments.common.program import guarded
from llm.run import composed, execute

pytestmark = pytest.mark.slow
WORDS = (
    "model=smollm2-135m",
    "rounds=1",
    "data.sentiment.pairs=12",
    "data.sentiment.test_pairs=4",
    "generation.max_new_tokens=6",
    "generation.batch=8",
    "evaluation.prompts=4",
    "train.save_every=1",
    "train.batch=4",
    "train.micro_batch=4",
    "train.report_to=[]",
    "methods=[dpo]",
)


def launch(folder):
    """The run in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "llm.run", f"run_dir={folder}", *WORDS],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def appears(path):
    """Wait for a file, at most five minutes."""
    for _ in range(30000):
        if path.exists():
            return
        time.sleep(0.01)


@pytest.mark.timeout(1800)
def test_a_killed_run_ends_like_an_undisturbed_one_and_stale_input_is_refused(tmp_path, capsys):
    whole, disturbed = tmp_path / "whole", tmp_path / "disturbed"
    finish(launch(whole))
    checkpoint = disturbed / "dpo/round-01/train/checkpoints/checkpoint-1/complete"
    for stage, moment in (
        ("responses", lambda: time.sleep(1.0)),
        ("dpo/round-01/train", lambda: time.sleep(1.0)),
        ("dpo/round-01/train", lambda: appears(checkpoint)),
    ):
        process = launch(disturbed)
        reach(process, stage)
        moment()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "the run ended before it was killed"
    assert checkpoint.exists(), "nothing to go on from"
    finish(launch(disturbed))
    outcome = Outcome()
    compare(whole, disturbed, outcome)
    assert outcome.holds, outcome.describe()
    report = read_json(disturbed / "dpo/round-01/evaluate/report.json")
    assert {"accuracy", "margin", "kl", "reward", "win_rate"} <= set(report)

    values = composed("run", f"run_dir={whole}", *WORDS, "data.sentiment.scale=2.0")
    assert guarded(lambda: execute(values)) == 2
    assert "data.scale was 8.0 and is now 2.0" in capsys.readouterr().err
