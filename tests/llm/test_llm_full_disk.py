"""A real disk that is full while a checkpoint is written, wherever in it."""

import json
import subprocess
import sys

import pytest

from tests.experiments.tools import ROOT, environment
from tests.small_disk import OWN_MOUNTS, REASON


@pytest.mark.skipif(bool(REASON), reason=REASON or "there are mounts of one's own")
def test_a_disk_that_fills_while_a_checkpoint_is_written_loses_nothing(tmp_path):
    words = [*OWN_MOUNTS, sys.executable, "-m", "tests.llm.full_disk", str(tmp_path)]
    done = subprocess.run(
        words, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"kib')]
    *filled, enough = told
    assert enough["code"] == 0
    assert len(filled) >= 6
    kinds = {kind for disk in filled for kind in disk["met"]}
    assert {"OSError", "RuntimeError", "SafetensorError"} <= kinds  # ours, torch's, safetensors'
    assert {disk["code"] for disk in filled} == {3}
    assert all(
        "is full; free some space" in sentence for disk in filled for sentence in disk["said"]
    )
    assert all(disk["same"] for disk in told)
