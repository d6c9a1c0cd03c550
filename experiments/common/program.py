"""What every Hydra program here shares: plain settings in, one sentence and exit code 2 on bad input."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

CONFIGURATION = str(Path(__file__).resolve().parents[2] / "conf")
BAD_INPUT, SOME_FAILED, INTERRUPTED = 2, 1, 130


def run_program(main: Callable[[dict[str, Any], Path], bool], config: DictConfig) -> None:
    """Call `main(settings, output folder)`, which returns whether all went well.

    Bad input ends the program with one sentence on stderr and exit code 2, a sweep with failures
    with 1 (not under `--multirun`, where the other jobs go on), Ctrl-C with 130.
    """
    from spac_theory.checks import InputError, NotANumber

    hydra = HydraConfig.get()
    try:
        settings = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        assert isinstance(settings, dict)
        well = main({str(k): v for k, v in settings.items()}, Path(hydra.runtime.output_dir))
    except (InputError, OmegaConfBaseException) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(BAD_INPUT)
    except NotANumber as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(SOME_FAILED)
    except KeyboardInterrupt:
        print("Interrupted; what is finished is kept, the same command goes on.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    if not well and hydra.mode == RunMode.RUN:
        sys.exit(SOME_FAILED)
