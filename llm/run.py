"""`python -m llm.run`: the pipeline as a command. Without arguments it runs the offline default."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

CONFIG = str(Path(__file__).resolve().parent.parent / "conf" / "llm")


def execute(values: Any) -> None:
    """Build settings from a plain mapping, run the pipeline, print the table, draw the figure."""
    from llm.pipeline import Pipeline
    from llm.report import write_report
    from llm.settings import Settings, build

    quiet()
    settings = build(Settings, values)
    results = Pipeline(settings)()
    write_report(settings, results)


def quiet() -> None:
    """Silence the bars and warnings of transformers; the pipeline has its own."""
    from transformers.utils import logging

    log: Any = logging
    log.set_verbosity_error()
    log.disable_progress_bar()


def guarded(action: Any) -> int:
    """Run `action`; a refusal becomes one sentence and exit code 2, Ctrl-C a hint and 130."""
    from experiments.common.files import translate
    from spac_theory.checks import InputError

    try:
        action()
    except InputError as error:
        print(f"Refused: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        plain = translate(error, "the output")
        if plain is error:
            raise
        print(f"Refused: {plain}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted. Run the same command again to go on from here.", file=sys.stderr)
        return 130
    return 0


def hydra_program(action: Callable[[dict[str, Any]], None], config_name: str = "run") -> int:
    """Compose `conf/llm/{config_name}.yaml` with the command line, hand `action` a mapping."""
    import hydra
    from omegaconf import DictConfig, OmegaConf

    code = 0

    def program(config: DictConfig) -> None:
        nonlocal code
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        code = guarded(lambda: action(cast(dict[str, Any], values)))

    hydra.main(version_base="1.3", config_path=CONFIG, config_name=config_name)(program)()
    return code


def composed(config_name: str, *overrides: str) -> dict[str, Any]:
    """The configuration that a command line with these overrides would give, as a mapping."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(CONFIG, version_base="1.3"):
        config = compose(config_name, list(overrides))
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def main() -> None:
    """Hydra entry point."""
    sys.exit(hydra_program(execute))


if __name__ == "__main__":
    main()
