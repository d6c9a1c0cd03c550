"""`python -m llm.run`: the pipeline as a command. Without arguments it runs the offline default."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.common import program

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

CONFIG = str(Path(__file__).resolve().parent.parent / "conf" / "llm")


def execute(values: Mapping[str, Any], output: Path | None = None) -> bool:
    """Build settings from a plain mapping, run the pipeline, print the table, draw the figure.

    False (exit code 1) where training diverged; a run that `stages` ends early is a success.
    """
    from llm.files.failures import Diverged, Stopped
    from llm.pipeline import Pipeline
    from llm.recipes import settled
    from llm.report import write_report
    from llm.settings import Settings, build

    quiet()
    settings = build(Settings, settled(values))
    try:
        results = Pipeline(settings)()
    except Stopped as stopped:
        print(stopped)
        return True
    except Diverged as error:
        print(error, file=sys.stderr)
        return False
    write_report(settings, results)
    return True


def quiet() -> None:
    """Silence the bars and warnings of transformers; the pipeline has its own."""
    import warnings

    from transformers.utils import logging

    # PEFT asks for a property by its old name at every load.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
    log: Any = logging
    log.set_verbosity_error()
    log.disable_progress_bar()


def composed(config_name: str, *overrides: str) -> dict[str, Any]:
    """The configuration that a command line with these overrides would give, as a mapping."""
    from llm.recipes import settled

    return settled(program.composed(config_name, *overrides, folder=CONFIG))


def main() -> None:
    """The command line."""
    program.launch("llm.run", "llm.run:execute", folder=CONFIG, config="run")


if __name__ == "__main__":
    main()
