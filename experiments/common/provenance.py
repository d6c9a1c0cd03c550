"""What a results file says of the run that made it: its settings, its command, its commit."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from experiments.common.figure import command
from spac_theory.version import RESULTS_VERSION

ROOT = Path(__file__).resolve().parents[2]
UNKNOWN = "unknown"


def commit() -> str:
    """The commit of this checkout, with a word where files differ from it; `unknown` outside one."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=, changed", "--abbrev=12"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN
    return done.stdout.strip()


def facts(settings: Mapping[str, Any]) -> dict[str, str]:
    """The metadata of a results file: `configuration` (JSON), `command` and `commit`.

    The settings are those that were composed, in their order, so they run again as they are; folders of
    this machine are left out of the command alone.
    """
    plain = json.dumps(settings, ensure_ascii=False)
    return {"configuration": plain, "command": command(), "commit": commit()}


def made(*packages: str) -> dict[str, str]:
    """What a file of numbers says of its making: command, commit, versions, those of `packages` too."""
    found = {"command": command(), "commit": commit(), "results_version": str(RESULTS_VERSION)}
    return {**found, "python": platform.python_version(), **versions("spac-lab", *packages)}


def versions(*packages: str) -> dict[str, str]:
    """The versions of packages that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
