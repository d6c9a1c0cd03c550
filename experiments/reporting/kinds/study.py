"""A small study: what its own analysis says, its own figure, its own table; or rows that nobody explains."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from experiments.common.configuration import read as read_settings
from experiments.engine.study import Study
from experiments.reporting.kinds.answers import rows_say
from experiments.reporting.kinds.kind import Kind, Picture, Source, Told
from experiments.reporting.kinds.paired import Pairs, told_apart
from experiments.reporting.kinds.tidy import images, read_tidy, reports

# What a study sets, if it takes few values; the rest is measured, or drawn at random.
SET = (
    "problem", "instance", "reward_class", "fixed_gap", "epsilon", "coverage", "dial", "n", "iterations",
    "delta", "baseline", "scale", "algorithm",
)  # fmt: skip
FEW = 200


def read(folder: Path) -> Source | None:
    """Any rows that no other kind knows."""
    return read_tidy(folder, KIND.name, lambda rows: True)


def tell(source: Source) -> Told:
    """What the study reports and draws; without its settings, what its program wrote."""
    data = {f"{source.name}_rows": source.rows}
    if not {"study", "configuration"} <= set(source.more):
        return Told(
            rows_say(source.rows), reports=reports(source), images=images(source), data=data
        )
    study, settings = study_of(source)
    told = study.report(source.rows, settings)
    with matplotlib.rc_context():
        figure = study.draw(source.rows, settings)
    said = [
        *_titles(figure),
        *(f"{r[:1].upper()}{r[1:]}." for r in told.remarks),
        *rows_say(source.rows),
    ]
    words = f"The {study.name.replace('_', ' ')} study, as its program draws it."
    picture = Picture(study.name, [figure], words)
    return Told(said, [picture], [told.table], data=data)


def study_of(source: Source) -> tuple[Study[object], object]:
    """The study that made the rows, and its settings then."""
    study: Study[object] = importlib.import_module(
        f"experiments.studies.{source.more['study']}"
    ).STUDY
    return study, read_settings(study.settings, json.loads(source.more["configuration"]))


def _titles(figure: Figure) -> list[str]:
    """What the figure's titles say: each is computed from the rows."""
    words = [figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)]
    flat = [" ".join(text.split()) for text in words]
    return [f"{text[:1].upper()}{text[1:]}." for text in flat if text]


def compare(a: Source, b: Source) -> Told:
    """Data set by data set, at every setting that both have."""
    shared = [name for name in SET if name in a.rows.columns and name in b.rows.columns]
    keys = [name for name in shared if a.rows[name].n_unique() <= FEW] or shared[:1]
    return told_apart(a, b, Pairs([a.rows, b.rows], keys, "seed", "suboptimality", ("problem",)))


KIND = Kind("study", "a study's folder", read, tell, compare)
