"""Run the notebooks and keep them with their outputs: `make notebooks`.

    python notebooks/make.py            # all of them, into notebooks/executed
    python notebooks/make.py quickstart

The sources are plain Python (Jupytext's percent format); what is executed carries its tables and figures.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
TARGET = HERE / "executed"


def names() -> list[str]:
    """The notebooks of this folder."""
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem != "make")


def execute(name: str) -> Path:
    """Run one notebook in a fresh kernel and write it with its outputs."""
    notebook = jupytext.read(HERE / f"{name}.py")
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": HERE.parent}}
    )
    client.create_kernel_manager().transport = "ipc"  # no port, and nobody else can listen
    client.execute()
    TARGET.mkdir(exist_ok=True)
    path = TARGET / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return path


def main(wanted: list[str]) -> None:
    """Run those that are named, or all."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    for name in wanted or names():
        if name not in names():
            sys.exit(f"{name!r} is no notebook; there are: {', '.join(names())}.")
        start = time.monotonic()
        print(
            f"{execute(name).relative_to(HERE.parent)}  {time.monotonic() - start:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
