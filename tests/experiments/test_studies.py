"""The small programs: their configurations compose, they run small, and run again for nothing."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
import torch

from experiments.common.configuration import read
from experiments.common.program import CONFIGURATION, composed
from experiments.engine.columns import COLUMNS
from experiments.engine.study import Study
from experiments.studies import (
    baseline,
    lambda_choice,
    misspecification,
    optimisation,
    rates,
    violations,
)
from experiments.studies.misspecification.cells import outside
from spac_theory import make_problem

SMALL = {
    "rates": (rates, ["coverages=[0.2]", "n=[1000,10000]", "seeds=30", "fixed.n=[3000,10000]"]),
    "violations": (violations, ["instances=30", "per_group=10"]),
    "optimisation": (optimisation, ["problems=[finite]", "iterations=[1,10]", "seeds=2"]),
    "misspecification": (
        misspecification,
        ["dials={trap: [0.0,0.2], spread: [0.3]}", "n=[100,1000]", "seeds=3"],
    ),
    "lambda_choice": (lambda_choice, ["problem=finite", "scales=[0.3,3]", "n=[300]", "seeds=3"]),
    "baseline": (baseline, ["problem=finite", "coverages=[0.2]", "n=[300]", "seeds=3"]),
}


@pytest.mark.parametrize("name", list(SMALL))
def test_program_runs_small_and_again_for_nothing(name, tmp_path):
    package, overrides = SMALL[name]
    study: Study = package.STUDY
    settings = composed(name, *overrides, f"store={tmp_path}/store")
    assert study(settings, tmp_path / "out")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"results.parquet", "summary.md", f"{name}.png", f"{name}.pdf"} <= written
    before = (tmp_path / "out" / "summary.md").read_text()
    schema = pq.read_schema(tmp_path / "out" / "results.parquet")
    known = {**COLUMNS, **study.columns}
    for column in schema:
        assert column.metadata[b"meaning"].decode() == known[column.name].meaning
    assert json.loads(schema.metadata[b"columns"]).keys() == set(schema.names)

    def refuse(cell):
        raise AssertionError(f"{cell} was computed again")

    assert dataclasses.replace(study, compute=refuse)(settings, tmp_path / "out")
    assert (tmp_path / "out" / "summary.md").read_text() == before


def test_every_field_of_their_configurations_has_a_comment():
    for name in SMALL:
        lines = (Path(CONFIGURATION) / f"{name}.yaml").read_text().splitlines()
        for number, line in enumerate(lines):
            field = line.split(":")[0]
            if line and line[0].isalpha() and field not in ("defaults", "hydra"):
                assert lines[number - 1].startswith("#"), f"{name}.yaml: {field}"


def test_missed_truth_is_outside_the_class_by_the_dial():
    features = make_problem("linear").bandit.features
    g = outside(features)
    assert torch.isclose((g.amax(-1) - g.amin(-1)).max(), torch.tensor(1.0).double())
    assert torch.einsum("xa,xad->d", g, features).abs().max() < 1e-9
    assert g.sum(-1).abs().max() < 1e-9


def test_rates_family_has_the_coverage_it_says():
    from spac_theory.instances.local_family import LocalInstance

    for p in (0.05, 0.4):
        instance = LocalInstance(p, 0.01, contexts=3)
        assert instance.concentrability.value == pytest.approx((1 - p) / (2 * p), rel=1e-6)
    data = [LocalInstance(0.1, 0.05).data(1000, s, "k").wins for s in (3, 5)]
    assert torch.equal(data[0], data[1][:3])


def test_a_bound_that_is_no_number_counts_as_violated():
    ratio = [0.5, 2.0, math.nan, 0.1]
    settings = read(violations.cells.Settings, composed("violations"))
    rows = pl.DataFrame(
        {"reward_class": ["linear"] * 4, "t1": ratio, "textbook": ratio, "t2": ratio, "h": ratio}
    )
    line = violations.analysis._line("linear", "(T1)", rows["t1"].to_numpy(), settings.delta)
    assert line[3] == "2"
    titles = [axis.get_title() for axis in violations.figure.draw(rows, settings).axes]
    assert all("2 of 4 violated" in title for title in titles)
