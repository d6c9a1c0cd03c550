"""Pictures: made without a display, saved whole in several formats, each saying what made it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from experiments.common.files import write_atomically
from experiments.common.style import use_style
from spac_theory.version import RESULTS_VERSION

PAIR = ("png", "pdf")
PLACES = ("hydra.", "store=", "run_dir=", "plugins=")  # words that name folders, not numbers


def make_figure(
    rows: int, columns: int, size: tuple[float, float] = (4.8, 3.8), **options: Any
) -> tuple[Figure, Any]:
    """A figure of `rows × columns` axes of `size` inches each, in the house style, without pyplot."""
    use_style()
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def command() -> str:
    """The command that runs now, without the words that name folders of this machine."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    words = [word for word in sys.argv[1:] if not word.lstrip("+~").startswith(PLACES)]
    program = ["python", "-m", spec.name] if spec else [Path(sys.argv[0]).name or "python"]
    return " ".join([*program, *words])


def provenance(data: str) -> dict[str, str]:
    """What a picture says of itself: command, data, version."""
    release = f"spac-lab {version('spac-lab')}, results {RESULTS_VERSION}"
    return {"command": command(), "data": data, "version": release}


def save(
    figure: Figure, stem: Path, formats: Sequence[str] = PAIR, data: str = "results.parquet"
) -> list[Path]:
    """`stem` in every format, whole or not at all; the metadata hold :func:`provenance`."""
    figure.draw_without_rendering()  # lay out once, not once a format
    figure.set_layout_engine("none")
    paths = []
    for kind in formats:

        def write(temporary: Path, kind: str = kind) -> None:
            figure.savefig(temporary, format=kind, metadata=made_by(kind, data))

        paths.append(stem.with_name(f"{stem.name}.{kind}"))
        write_atomically(paths[-1], write)
    return paths


def made_by(kind: str, data: str) -> dict[str, Any]:
    """What a picture of this format says of the run that makes it: command, data, version."""
    return metadata(kind, provenance(data))


def metadata(kind: str, facts: dict[str, str]) -> dict[str, Any]:
    """Facts under the keys that a format knows; no time, so that the same numbers give the same bytes."""
    told = "; ".join(f"{key}: {value}" for key, value in facts.items())
    if kind == "png":
        return {"Software": None, "Description": told}
    if kind == "pdf":
        return {"CreationDate": None, "Subject": told}
    return {"Date": None, "Description": told}
