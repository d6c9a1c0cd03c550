"""Results files: their rows, and what they say of the run that made them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import yaml

from experiments.common.figure import PLACES
from experiments.engine.store import read_results
from experiments.reporting.kinds.kind import Source

OWN = ("commit", "results_schema", "results_version")


def read_tidy(folder: Path, kind: str, fits: Callable[[pl.DataFrame], bool]) -> Source | None:
    """The source of a results file, an output folder or a store whose rows fit; None for any other."""
    if not (
        folder.is_file() or (folder / "results.parquet").is_file() or (folder / "cells").is_dir()
    ):
        return None
    if folder.is_file() and folder.suffix != ".parquet":
        return None
    rows = read_results(folder)
    facts = stored(folder)
    told = {name: facts[name] for name in OWN if name in facts}
    told |= {k: str(v) for k, v in json.loads(facts.get("environment", "{}")).items()}
    command = facts.get("command") or _command(folder)
    return Source(folder, kind, rows, command, told, facts) if fits(rows) else None


def stored(folder: Path) -> dict[str, str]:
    """The metadata of a results file; none for a store."""
    path = folder if folder.is_file() else folder / "results.parquet"
    found = pq.read_schema(path).metadata or {} if path.is_file() else {}
    return {key.decode(): value.decode() for key, value in found.items()}


def _command(folder: Path) -> str:
    """The command that wrote a folder, from what Hydra left there; words that name folders are left out."""
    try:
        hydra = yaml.safe_load((folder / ".hydra/hydra.yaml").read_text(encoding="utf-8"))["hydra"]
        words = yaml.safe_load((folder / ".hydra/overrides.yaml").read_text(encoding="utf-8")) or []
        name = str(hydra["job"]["name"])
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return ""
    program = name if name.startswith("experiments.") else f"experiments.{name.rpartition('.')[2]}"
    kept = [str(word) for word in words if not str(word).lstrip("+~").startswith(PLACES)]
    return " ".join(["python -m", program, *kept])


def reports(source: Source) -> list[Path]:
    """The reports in words that its program wrote."""
    return sorted(source.folder.glob("*.md"))


def images(source: Source) -> list[Path]:
    """The pictures that its program drew."""
    return sorted(source.folder.glob("*.png"))
