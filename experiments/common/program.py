"""How every Hydra program begins and ends: plain settings in; one sentence and an exit code out.

    if __name__ == "__main__":
        launch("experiments.rates", "experiments.studies.rates:STUDY")

Exit codes: 0 all done, 1 some of the work failed (the same command tries it again), 2 bad input,
3 the disk refused, 130 interrupted.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import os
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from experiments.common.choices import near, refusal
from experiments.common.files import StorageError, translate

CONFIGURATION = str(Path(__file__).resolve().parents[2] / "conf")
QUOTE = "'"
SOME_FAILED, BAD_INPUT, DISK_REFUSED, INTERRUPTED = 1, 2, 3, 130
LONGEST = 80  # characters of a folder's name
Settings = dict[str, Any]


class Outcome(NamedTuple):
    """What became of a program: whether all of it was done, and a number for a sweeper to minimise."""

    complete: bool
    value: float | None = None

    def __bool__(self) -> bool:
        return self.complete


Main = Callable[[Settings, Path], Outcome | bool | None]


def folder(words: str, base: str = "") -> str:
    """A folder of its own for every configuration: `base`, and what the command line changes of it.

    The name holds nothing that a shell, or a reader that takes patterns, would read as one; what had to be
    left out is told apart by a digest.
    """
    plain = re.sub(r"[^\w.=,+-]+", "-", words).strip("-")
    if plain != words or len(plain) > LONGEST:
        plain = f"{plain[: LONGEST - 9]}-{hashlib.sha256(words.encode()).hexdigest()[:8]}"
    return ",".join(part for part in (base, plain) if part)


def choices(*groups: str) -> str:
    """What each of these groups of `conf/` can be, a line a group, for a program's help."""
    found = {
        group: sorted(path.stem for path in Path(CONFIGURATION, group).glob("*.yaml"))
        for group in groups
    }
    lines = [f"{group}: {', '.join(options)}" for group, options in found.items()]
    return "\n".join(textwrap.fill(line, 100, subsequent_indent="    ") for line in lines)


OmegaConf.register_new_resolver("folder", folder, replace=True)
OmegaConf.register_new_resolver("choices", choices, replace=True)


def launch(module: str, main: str, folder: str = CONFIGURATION, config: str | None = None) -> None:
    """Run the program `module` on its command line, and exit.

    `main` is `"module:name"`, imported only when settings are there, so that `--help` is quick; it is
    called with the settings and Hydra's output folder, and returns False, or an :class:`Outcome`, where
    some of the work failed. `config` names the file in `folder`; by default the last part of `module`.
    """
    name = config or module.rpartition(".")[2]
    failed = started = False

    def task(values: DictConfig) -> float | None:
        nonlocal failed, started
        started = True
        told: list[Outcome] = []
        code = guarded(lambda: _call(main, values, told))
        failed |= code == SOME_FAILED
        if code not in (0, SOME_FAILED):
            sys.exit(code)
        return told[0].value if told else None

    task.__module__ = module  # Hydra names the job after it
    wants_tracebacks = "HYDRA_FULL_ERROR" in os.environ
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors reach us, who say them in a sentence
    try:
        hydra.main(version_base="1.3", config_path=folder, config_name=name)(task)()
    except Exception as error:
        if wants_tracebacks or started:
            raise
        _end(*_composition(error, folder, name))
    finally:
        if not wants_tracebacks:
            os.environ.pop("HYDRA_FULL_ERROR", None)
    sys.exit(SOME_FAILED if failed else 0)


def _call(main: str, values: DictConfig, told: list[Outcome]) -> bool:
    """Run a program's main, note its outcome, and return whether all of it was done."""
    place, _, name = main.partition(":")
    settings = plain(values)
    found: Main = getattr(importlib.import_module(place), name)
    ended = found(settings, Path(HydraConfig.get().runtime.output_dir))
    told.append(ended if isinstance(ended, Outcome) else Outcome(ended is not False))
    return bool(told[0])


def guarded(action: Callable[[], Outcome | bool | None]) -> int:
    """Run `action` and return its exit code; a refusal is said on stderr, a sentence a line."""
    from spac_theory.checks import InputError, NotANumber

    try:
        ended = action()
        return 0 if ended is None or ended else SOME_FAILED
    except StorageError as error:
        return _say(DISK_REFUSED, error)
    except MissingMandatoryValue as error:
        return _say(BAD_INPUT, f"{error.full_key} is ???; it must be given.")
    except (InputError, OmegaConfBaseException) as error:
        return _say(BAD_INPUT, error)
    except NotANumber as error:
        return _say(SOME_FAILED, error)
    except KeyboardInterrupt:
        return _say(INTERRUPTED, "Interrupted; what is finished is kept, the same command goes on.")
    except Exception as error:
        refused = translate(error, "the output")
        if refused is error:
            raise
        return _say(DISK_REFUSED, refused)


def plain(values: DictConfig) -> Settings:
    """A composed configuration as nested mappings, lists and scalars."""
    settings = OmegaConf.to_container(values, resolve=True, throw_on_missing=True)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


def composed(name: str, *overrides: str, folder: str = CONFIGURATION) -> Settings:
    """The settings that a command line with these overrides would give."""
    with initialize_config_dir(folder, version_base="1.3"):
        return plain(compose(name, list(overrides)))


def group_options(group: str, folder: str = CONFIGURATION) -> list[str]:
    """What a group can be: files of `folder`, of `--config-dir`, of the search path, as Hydra finds them."""
    flags = ("--config-dir", "-cd")
    apart = [b for a, b in itertools.pairwise(sys.argv) if a in flags]
    joined = [word.partition("=")[2] for word in sys.argv if word.startswith("--config-dir=")]
    own = ",".join(f"'file://{Path(place).resolve()}'" for place in apart + joined)
    given = [word for word in sys.argv if word.startswith("hydra.searchpath=")]
    with initialize_config_dir(folder, version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        places = [f"hydra.searchpath=[{own}]"] if own else given
        return sorted(loader.get_group_options(group, overrides=places))


def _say(code: int, message: object) -> int:
    """Print a message, each of its lines one sentence, and hand the code on."""
    for line in str(message).splitlines():
        print(" ".join(line.split()), file=sys.stderr)
    return code


def _end(code: int, message: object) -> None:
    sys.exit(_say(code, message))


def _composition(error: Exception, folder: str, name: str) -> tuple[int, str]:
    """What Hydra could not compose or write, in one sentence."""
    text = " ".join(str(error).split())
    if isinstance(error, MissingConfigException) and "primary config" not in text:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        if group.startswith("hydra"):
            return BAD_INPUT, (
                f"{group} is {choice!r}, which is not there; is its package installed?"
            )
        return BAD_INPUT, refusal(group, choice, group_options(group, folder))
    nothing = next((word for word in sys.argv[1:] if word.endswith("=null")), None)
    if text.startswith("Config group override must be a string") and nothing:
        group = nothing.partition("=")[0]
        return BAD_INPUT, refusal(group, "null", group_options(group, folder))
    if isinstance(error, MissingConfigException):
        known = sorted(path.stem for path in Path(folder).glob("*.yaml"))
        return BAD_INPUT, refusal("--config-name", str(error.missing_cfg_file), known)
    if isinstance(error, OSError):
        refused = translate(error, str(error.filename or "the output folder"))
        return DISK_REFUSED, " ".join(str(refused).split())
    if "No match in the defaults list" in text:
        group = text.split("'")[1]
        return (
            BAD_INPUT,
            f"{group} is no group here; set its values one by one, as in {group}.name=NAME.",
        )
    if isinstance(error, OverrideParseException):
        return BAD_INPUT, (
            f"{error.override} is no setting that can be read; write KEY=VALUE, and quote a value with "
            f"spaces, ~ or letters beyond ASCII: '{error.override.partition('=')[0]}=\"VALUE\"'."
        )
    if text.startswith("Ambiguous value for argument"):
        return BAD_INPUT, (
            f"{text.split(QUOTE)[1]} lists several values; write KEY=[a,b] for a list, or add -m to run "
            "them one after the other."
        )
    if "Could not append to config" in text:
        return BAD_INPUT, f"{text.split(QUOTE)[1]} is a setting already; leave the + out."
    if isinstance(error, ConfigCompositionException) and text.startswith("Could not override '"):
        return BAD_INPUT, _no_setting(text.split("'")[1], folder, name)
    return BAD_INPUT, text if text.endswith(".") else f"{text}."


def _no_setting(key: str, folder: str, name: str) -> str:
    """`key` is not in the configuration: what there is beside it."""
    branch: Any = {}
    *above, last = key.split(".")
    try:
        branch = composed(name, folder=folder)
        for i, part in enumerate(above):
            branch = branch[part]
            if branch is None:
                parent, inside = ".".join(above[: i + 1]), ".".join([*above[i + 1 :], last])
                whole = f"'{parent}={{{inside}: VALUE}}'"
                return f"{parent} is null and has no {inside}; give all of it: {whole}."
    except (HydraException, OmegaConfBaseException, KeyError, TypeError):
        branch = {}
    known = sorted(map(str, branch)) if isinstance(branch, dict) else []
    there = f"; there is: {', '.join(known)}" if known else ""
    return f"{key} is no setting{near(key.rpartition('.')[2], known)}{there}."
