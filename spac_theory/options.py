"""Options, written once: a dataclass field with its default, its range and what it is for.

A class derived from :class:`Options` is checked when it is built; files of configuration and tables
of documentation are made from the same fields.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from spac_theory import checks

Check = Callable[[str, Any], Any]


class Options:
    """Base of a dataclass whose fields say what they may hold; InputError names the first bad one."""

    def __post_init__(self) -> None:
        for option in dataclasses.fields(self):  # type: ignore[arg-type]
            check: Check | None = option.metadata.get("check")
            value = getattr(self, option.name)
            if check is not None and not (value is None and option.metadata["optional"]):
                check(option.name, value)


def _option(default: Any, help: str, check: Check | None, optional: bool = False) -> Any:
    metadata = {"help": help, "check": check, "optional": optional}
    return field(default=default, metadata=metadata)


def checked(default: Any, help: str, check: Check) -> Any:
    """Any option with a check of its own, `check(name, value)`."""
    return _option(default, help, check)


def number(default: float | None, help: str, *, optional: bool = False, **limits: Any) -> Any:
    """A number; `limits` are those of `checks.number`. `optional`: None is allowed too."""
    return _option(default, help, partial(_number, limits), optional)


def _number(limits: dict[str, Any], name: str, value: Any) -> float:
    return checks.number(name, value, **limits)


def positive(default: float | None, help: str, *, optional: bool = False) -> Any:
    """A number above 0."""
    return number(default, help, optional=optional, low=0, open_low=True)


def integer(
    default: int | None, help: str, *, low: int = 1, high: int | None = None, optional: bool = False
) -> Any:
    """A whole number of at least `low`, 1 unless said otherwise."""
    return _option(default, help, partial(_integer, low, high), optional)


def _integer(low: int, high: int | None, name: str, value: Any) -> int:
    return checks.integer(name, value, low=low, high=high)


def interval(default: checks.Interval | None, help: str, *, optional: bool = False) -> Any:
    """A pair of numbers, the first below the second."""
    return _option(default, help, checks.interval, optional)


def choice(default: str, help: str, allowed: Iterable[str]) -> Any:
    """One of some words, which the help need not repeat."""
    return _option(default, help, partial(_choice, tuple(allowed)))


def _choice(allowed: tuple[str, ...], name: str, value: Any) -> str:
    return checks.choice(name, value, allowed)


def flag(default: bool, help: str) -> Any:
    """Yes or no."""
    return _option(default, help, _flag)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise checks.InputError(f"{name} is {value!r}; it must be true or false.")
    return value


@dataclass(frozen=True)
class Described:
    """An option as people read it."""

    name: str
    default: Any
    help: str


def described(factory: type[Any]) -> list[Described]:
    """Every option of a registered dataclass; one without a help (a stranger's) has an empty one."""
    return [
        Described(option.name, option.default, option.metadata.get("help", ""))
        for option in dataclasses.fields(factory)
    ]
