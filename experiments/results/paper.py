"""The figures of a folder of results; `experiments.figures` is its program."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path

import matplotlib
import polars as pl
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from experiments.common.configuration import read
from experiments.common.figure import save
from experiments.common.files import write_text
from experiments.engine.study import Study
from experiments.results.axes import PAPER_RC, caption, plot
from experiments.results.cells import cell, heatmap
from experiments.results.reading import curves, load
from spac_theory.checks import InputError

FORMATS = ("pdf", "png", "svg", "pgf")
TEX = "xelatex"


def write(
    folder: Path, width: str, formats: str, no_title: bool, floor: float | None, cell: str
) -> list[Path]:
    """Draw what a folder holds (or the one cell asked for) into `folder/figures`.

    A sweep's figures come with `captions.md`. Raises InputError for a format that is none, for PGF without a
    TeX, and for a folder whose results do not say what made them.
    """
    kinds = _formats(formats)
    drawn = _cell(folder, cell) if cell else _drawn(folder, width, floor)
    paths = []
    with matplotlib.rc_context(PAPER_RC):
        for name, figure in drawn.items():
            if no_title:
                figure.suptitle("")
                for axes in figure.axes if not cell else ():
                    axes.set_title("")
            paths += save(figure, folder / "figures" / name, kinds)
    return paths


def _formats(words: str) -> list[str]:
    kinds = [word.strip() for word in words.split(",") if word.strip()]
    for kind in kinds:
        if kind not in FORMATS:
            raise InputError(f"--formats has {kind!r}; it must be of {', '.join(FORMATS)}.")
    if "pgf" in kinds and shutil.which(TEX) is None:
        raise InputError(f"--formats has 'pgf', which needs {TEX}; install it, or take pdf or svg.")
    return kinds


def _cell(folder: Path, words: str) -> dict[str, Figure]:
    """The heat map of the cell that `ALGORITHM,DIAL,N,SEED` names."""
    parts = words.split(",")
    try:
        label, dial, n, seed = parts[0], float(parts[1]), int(float(parts[2])), int(parts[3])
    except (IndexError, ValueError) as error:
        raise InputError(f"--cell is {words!r}; write ALGORITHM,DIAL,N,SEED.") from error
    return {f"cell_{label}_{dial:g}_{n}_{seed}": heatmap(cell(folder, label, dial, n, seed))}


def _drawn(folder: Path, width: str, floor: float | None) -> dict[str, Figure]:
    """The figures of a sweep, or of a study by its own `draw`, at its own size."""
    rows = load(folder)
    facts = pq.read_schema(folder / "results.parquet").metadata or {}
    name = facts.get(b"study", b"").decode()
    if not name:
        return _sweep(rows, folder, width, floor)
    study: Study[object] = importlib.import_module(f"experiments.studies.{name}").STUDY
    settings = read(study.settings, json.loads(facts[b"configuration"]))
    with matplotlib.rc_context():
        figure = study.draw(rows, settings)
    return {name: figure}


def _sweep(rows: pl.DataFrame, folder: Path, width: str, floor: float | None) -> dict[str, Figure]:
    """A figure a dial against `n`, one against coverage, and their captions."""
    lines = curves(rows)
    found, said = {}, []
    for dial in lines["dial"].unique().sort():
        figure = plot(lines, dial=dial, width=width, floor=floor).figure
        assert isinstance(figure, Figure)
        found[f"suboptimality_n_{dial:g}"] = figure
        said.append(f"- `suboptimality_n_{dial:g}`: {caption(lines, dial=dial)}")
    if lines["dial"].n_unique() > 1:
        figure = plot(lines, x="coverage", width=width, floor=floor).figure
        assert isinstance(figure, Figure)
        found["suboptimality_coverage"] = figure
        said.append(f"- `suboptimality_coverage`: {caption(lines, x='coverage')}")
    write_text(folder / "figures" / "captions.md", "\n".join(said) + "\n")
    return found
