"""Every column of every results file: its type, its unit, its meaning. One writer for all of them."""

from __future__ import annotations

import functools
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from experiments.common.files import write_atomically
from spac_theory.version import RESULTS_VERSION

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Column:
    """Arrow type, unit and meaning of one column."""

    type: pa.DataType
    unit: str
    meaning: str


def text(meaning: str) -> Column:
    """A column of words."""
    return Column(pa.string(), "", meaning)


def real(unit: str, meaning: str) -> Column:
    """A column of numbers."""
    return Column(pa.float64(), unit, meaning)


def whole(unit: str, meaning: str) -> Column:
    """A column of whole numbers."""
    return Column(pa.int64(), unit, meaning)


def flag(meaning: str) -> Column:
    """A column of yes, no and null."""
    return Column(pa.bool_(), "", meaning)


COLUMNS: dict[str, Column] = {
    "problem": text("the bandit, with the options that are not the default"),
    "behaviour": text(
        "family of the behaviour policy μ, with the options that are not the default"
    ),
    "dial": real("see `behaviour`", "position of the family's dial"),
    "coverage": real("probability", "share of μ on optimal actions, E_x μ(a*|x)"),
    "n": whole("comparisons", "number of labelled comparisons in a data set"),
    "delta": real("probability", "confidence level δ of the bounds and of certified λ"),
    "reference": text("reference policy π_ref: behaviour or uniform"),
    "baseline": text("baseline ν of the relative value, as the setting hands it to every learner"),
    "algorithm": text("label of the algorithm in its sweep"),
    "method": text("registered name of the algorithm"),
    "options": text("all options of the algorithm, as JSON"),
    "lam": real("", "weight λ of the preference loss; null where there is none"),
    "seed": whole("", "number of the data set"),
    "value": real("reward", "J(π), exact"),
    "suboptimality": real("reward", "J(π*) − J(π), exact, never clipped"),
    "concentrability": real("", "C(π*) of the behaviour, infinite if uncovered"),
    "concentrability_all": real(
        "", "sup over policies of C(π); an upper bound where it is not exact"
    ),
    "bound_upper": real(
        "reward",
        "theorem (T1) at the fit's own λ and certified gap, (T2) for the constraint form; "
        "null for fits that neither covers",
    ),
    "bound_star": real(
        "reward",
        "theorem (T1) at λ* for an exactly solved game; null where C(π*) is an estimate or contexts "
        "come from a density",
    ),
    "bound_lower": real(
        "reward",
        "local two-point bound of the cell: at r* or at one rival the mean of any offline learner without "
        "an oracle is above it; null for networks, densities and fits that asked an oracle",
    ),
    "range": real("reward", "R, the largest difference of two rewards at one context in the class"),
    "gap": real("see `gap_kind`", "what the fit certifies of its own accuracy"),
    "gap_kind": text("what `gap` is: duality gap, gradient norm, closed form, estimate or none"),
    "converged": flag("whether the promised accuracy was reached; null: no claim"),
    "oracle": flag("whether the fit consulted knowledge that no learner has"),
    "queries": real(
        "labels", "online labels and scores that the fit bought; null where none are granted"
    ),
    "exploitability": real(
        "probability",
        "E_x max_a P(a ≻ π) − ½ under the true preferences; null where a reward explains them",
    ),
    "status": text("done, failed, skipped or missing"),
    "reason": text("why it failed or was skipped"),
    "seconds": real("s", "processor time of the fit, a data set's share of its block; no identity"),
}

EXTRAS: dict[str, Column] = {
    "spread": real("loss", "largest difference of the final loss between starts of the optimiser"),
    "own_samples": real("responses", "responses drawn from policies of the algorithm's own"),
    "critic_spread": real(
        "reward", "spread of the critic's searches over their starts; no certificate"
    ),
    "hedge_bound": real(
        "reward", "Hedge's bound on the duality gap of the mixture, with the critics' average gap"
    ),
    "critic_gap": real("reward", "certified gap of the critics, the average over the rounds"),
    "pessimistic_value": real(
        "reward",
        "certified value of the policy over ν under the worst reward of the confidence set",
    ),
    "radius": real(
        "loss", "how far E_D of a critic may exceed the smallest: the constraint form's"
    ),
    "fit_gap": real("loss", "certified gap of the fit that the constraint is measured from"),
    "rounds": real("games", "saddles solved in the search for the multiplier"),
    "score": real("reward", "score that the search gave its best response"),
    "depth": real("steps", "depth at which the search ended"),
    "standard_error": real("reward", "of `suboptimality`, over the evaluation contexts"),
}


def described(names: Iterable[str], own: Mapping[str, Column] | None = None) -> dict[str, Column]:
    """What each column is: `own` of a study first, then the common ones, then what algorithms add."""
    known = {**COLUMNS, **EXTRAS, **(own or {})}
    stranger = real("", "added by the algorithm of the row")
    return {name: known.get(name, stranger) for name in names}


def environment() -> dict[str, str]:
    """What the bits of a result may depend on beside the code: versions, and the kind of processor."""
    return dict(_environment())


@functools.cache  # to find a version is to read a file, and every block of a store asks
def _environment() -> tuple[tuple[str, str], ...]:
    import torch

    found = {name: version(name) for name in ("torch", "numpy", "scipy")}
    vector = torch.backends.cpu.get_cpu_capability()
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    return tuple({**found, **machine, "vectors": vector}.items())


def schema(columns: Mapping[str, Column], facts: Mapping[str, str] | None = None) -> pa.Schema:
    """The Arrow schema of a file that explains its columns; `facts` go into its metadata."""
    fields = [
        pa.field(name, c.type, metadata={"unit": c.unit, "meaning": c.meaning})
        for name, c in columns.items()
    ]
    words = {n: f"{c.meaning} [{c.unit}]" if c.unit else c.meaning for n, c in columns.items()}
    return pa.schema(
        fields,
        metadata={
            "results_schema": str(SCHEMA_VERSION),
            "results_version": str(RESULTS_VERSION),
            "columns": json.dumps(words, ensure_ascii=False),
            "environment": json.dumps(environment()),
            **(facts or {}),
        },
    )


def table(
    rows: Mapping[str, Any],
    own: Mapping[str, Column] | None = None,
    facts: Mapping[str, str] | None = None,
) -> pa.Table:
    """A table of columns; without `own` it has every common column, null where not given."""
    count = len(rows["seed"])
    names = list(rows) if own is not None else [*COLUMNS, *(n for n in rows if n not in COLUMNS)]
    shape = schema(described(names, own), facts)
    arrays = [pa.array(rows.get(field.name, [None] * count), type=field.type) for field in shape]
    return pa.Table.from_arrays(arrays, schema=shape)


def write_results(
    results: pl.DataFrame,
    path: Path,
    own: Mapping[str, Column] | None = None,
    facts: Mapping[str, str] | None = None,
) -> None:
    """The tidy table as one Parquet file that explains its columns; common ones first.

    `facts` of the run (:func:`experiments.common.provenance.facts`) go into its metadata.
    """
    common = [name for name in COLUMNS if name in results.columns]
    names = [*common, *(name for name in results.columns if name not in common)]
    rows = results.select(names).to_arrow().cast(schema(described(names, own), facts))
    write_atomically(path, lambda temporary: pq.write_table(rows, temporary))
