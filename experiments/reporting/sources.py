"""What kind of results a folder holds, and how its numbers were made."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import yaml

from experiments.common.figure import PLACES
from experiments.common.provenance import commit
from experiments.engine.store import read_results
from spac_theory.checks import InputError
from spac_theory.version import RESULTS_VERSION


@dataclass(frozen=True)
class Source:
    """A folder of results: its name, its kind, its rows, the command that made it, its versions."""

    folder: Path
    kind: str
    rows: pl.DataFrame
    command: str
    facts: dict[str, str]

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.resolve().name

    def summaries(self) -> list[Path]:
        """The reports in words that its program wrote."""
        return sorted(self.folder.glob("*.md"))

    def pictures(self) -> list[Path]:
        """The pictures that its program drew."""
        return sorted(self.folder.glob("*.png"))


def read_source(place: str) -> Source:
    """Read one folder. Raises InputError, one sentence, where it holds no results."""
    folder = Path(place)
    if not folder.is_dir():
        raise InputError(f"DIR is {place!r}, which is no folder; name a folder of results.")
    rows = read_results(folder)
    return Source(folder, _kind(rows), rows, _command(folder), _facts(folder))


def _kind(rows: pl.DataFrame) -> str:
    if "tuning" in rows.columns:
        return "league"
    whole = {"problem", "dial", "n", "algorithm", "bound_star", "bound_upper", "delta", "options"}
    return (
        "sweep" if whole <= set(rows.columns) and rows["algorithm"].null_count() == 0 else "study"
    )


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


def _facts(folder: Path) -> dict[str, str]:
    """The versions that a results file carries."""
    path = folder / "results.parquet"
    stored = pq.read_schema(path).metadata or {} if path.is_file() else {}
    facts = {key.decode(): value.decode() for key, value in stored.items()}
    told = {name: facts[name] for name in ("results_schema", "results_version") if name in facts}
    return told | {k: str(v) for k, v in json.loads(facts.get("environment", "{}")).items()}


def here() -> dict[str, str]:
    """The versions and the commit that wrote the page."""
    return {
        "spac-lab": version("spac-lab"),
        "results": str(RESULTS_VERSION),
        "commit": commit(),
        "python": platform.python_version(),
        "matplotlib": version("matplotlib"),
        "polars": version("polars"),
    }
