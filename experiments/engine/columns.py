"""The tidy table of results: one row a (cell, seed). Every column, its unit and its meaning."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from spac_theory.version import RESULTS_VERSION

SCHEMA_VERSION = 1
STATUSES = ("done", "failed", "skipped", "missing")


@dataclass(frozen=True)
class Column:
    """Arrow type, unit and meaning of one column."""

    type: pa.DataType
    unit: str
    meaning: str


COLUMNS: dict[str, Column] = {
    "problem": Column(pa.string(), "", "name of the bandit"),
    "behaviour": Column(pa.string(), "", "family of the behaviour policy μ"),
    "dial": Column(pa.float64(), "", "position of the family's dial"),
    "coverage": Column(pa.float64(), "probability", "share of μ on optimal actions, E_x μ(a*|x)"),
    "n": Column(pa.int64(), "comparisons", "number of labelled comparisons in a data set"),
    "algorithm": Column(pa.string(), "", "label of the algorithm in the sweep"),
    "lam": Column(pa.float64(), "", "weight λ of the preference loss; null where there is none"),
    "seed": Column(pa.int64(), "", "number of the data set"),
    "value": Column(pa.float64(), "reward", "J(π), exact"),
    "suboptimality": Column(pa.float64(), "reward", "J(π*) − J(π), exact, never clipped"),
    "concentrability": Column(pa.float64(), "", "C(π*) of the behaviour, infinite if uncovered"),
    "concentrability_all": Column(
        pa.float64(), "", "sup over policies of C(π); an upper bound where it is not exact"
    ),
    "bound_upper": Column(
        pa.float64(),
        "reward",
        "theorem (T1) at the fit's own λ and certified gap; null for fits it does not cover",
    ),
    "bound_lower": Column(
        pa.float64(),
        "reward",
        "local two-point bound of the cell: at r* or at one rival the mean of any offline learner without "
        "an oracle is above it; null for networks and densities",
    ),
    "gap": Column(pa.float64(), "see `certified`", "what the fit certifies of its own accuracy"),
    "certified": Column(
        pa.string(), "", "what `gap` is: duality gap, gradient norm, closed form, estimate or none"
    ),
    "converged": Column(
        pa.bool_(), "", "whether the promised accuracy was reached; null: no claim"
    ),
    "oracle": Column(pa.bool_(), "", "whether the fit consulted knowledge that no learner has"),
    "status": Column(pa.string(), "", "done, failed, skipped or missing"),
    "reason": Column(pa.string(), "", "why it failed or was skipped"),
    "seconds": Column(
        pa.float64(), "s", "processor time of the fit, a data set's share of its block; no identity"
    ),
}


def schema(extra: list[str]) -> pa.Schema:
    """The Arrow schema of a block with an algorithm's `extra` columns (nullable float64)."""
    known = [
        pa.field(name, c.type, metadata={"unit": c.unit, "meaning": c.meaning})
        for name, c in COLUMNS.items()
    ]
    added = [
        pa.field(name, pa.float64(), metadata={"unit": "", "meaning": "added by the algorithm"})
        for name in extra
    ]
    return pa.schema([*known, *added], metadata=_metadata())


def _metadata() -> dict[str, str]:
    """What the file says about itself: versions, and the columns in words."""
    words = {
        name: f"{c.meaning} [{c.unit}]" if c.unit else c.meaning for name, c in COLUMNS.items()
    }
    environment = {name: version(name) for name in ("torch", "numpy", "scipy")}
    environment |= {"python": platform.python_version(), "machine": platform.machine()}
    return {
        "results_schema": str(SCHEMA_VERSION),
        "results_version": str(RESULTS_VERSION),
        "columns": json.dumps(words, ensure_ascii=False),
        "environment": json.dumps(environment),
    }


def table(columns: dict[str, Any]) -> pa.Table:
    """A table with every column of the schema; those not given are null."""
    rows = len(columns["seed"])
    shape = schema([name for name in columns if name not in COLUMNS])
    arrays = [pa.array(columns.get(field.name, [None] * rows), type=field.type) for field in shape]
    return pa.Table.from_arrays(arrays, schema=shape)
