"""One way to register a thing: a decorator in the file that defines it.

A registry finds its members in one package of this project (every module in it is imported), among
the entry points of installed packages (group `spac_theory.plugins`), and in plug-in files named by
the user. Adding an algorithm, a problem or a behaviour family is adding one file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from spac_theory.checks import InputError

T = TypeVar("T")
ENTRY_POINT_GROUP = "spac_theory.plugins"
PLUGIN = "spac_plugin_"  # how the modules of plug-in files are named
# How the project calls what is registered: a stranger's class is held to it before any work.
CALLS: dict[str, dict[str, tuple[str, ...]]] = {
    "problem": {"build": ()},
    "behaviour": {"policy": ("problem", "dial")},
    "algorithm": {"skip": ("view", "oracle"), "fit": ("view", "data", "oracle")},
}


class Registry(Generic[T]):
    """A mapping from names to things, filled on first use from the package `package`."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._items: dict[str, T] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: `@ALGORITHMS.register("dpo")`. A name can be taken only once."""

        def add(item: T) -> T:
            if not str(getattr(item, "__module__", "")).startswith(self._package):
                self._load()  # so that it is the stranger who finds a name taken
            if name in self._items and self._items[name] is not item:
                raise InputError(
                    f"{self.kind} {name!r} is already registered; choose another name."
                )
            self._items[name] = item
            return item

        return add

    def __getitem__(self, name: str) -> T:
        self._load()
        if name not in self._items:
            known = ", ".join(sorted(self._items))
            raise InputError(f"{self.kind} is {name!r}; it must be one of: {known}.")
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._items))

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        for entry in entry_points(group=ENTRY_POINT_GROUP):
            entry.load()


def build(kind: str, factory: type[Any], options: dict[str, Any]) -> Any:
    """Instantiate a registered dataclass, refusing options it does not have and methods it lacks."""
    if not dataclasses.is_dataclass(factory):
        raise InputError(
            f"{kind} is the class {factory.__name__}, no dataclass; write @dataclass(frozen=True) below "
            "the line that registers it."
        )
    known = {f.name for f in dataclasses.fields(factory)}
    for option in options:
        if option not in known:
            raise InputError(
                f"{kind} has the unknown option {option!r}; its options are: "
                f"{', '.join(sorted(known)) or 'none'}."
            )
    thing = factory(**options)
    for method, words in CALLS.get(kind.partition(" ")[0], {}).items():
        _callable(kind, thing, method, words)
    return thing


def _callable(kind: str, thing: Any, method: str, words: tuple[str, ...]) -> None:
    """Refuse a thing without `method`, or whose method cannot be called with `words` in this order."""
    found, call = getattr(thing, method, None), f"{method}({', '.join(words)})"
    if not callable(found):
        raise InputError(f"{kind} has no method {method}; it must have {call}.")
    try:
        signature = inspect.signature(found)
        signature.bind(*words)
    except TypeError as error:
        raise InputError(
            f"{kind} has the method {method}{signature}; it is called as {call}."
        ) from error


def load_plugins(paths: list[str]) -> None:
    """Import Python files that register things of their own; each file is loaded once.

    Raises InputError for a path that is no Python file, and for a file that cannot be run.
    """
    for text in paths:
        path = Path(text).expanduser().resolve()
        if path.suffix != ".py" or not path.is_file():
            raise InputError(f"plugins contains {text!r}; it must name an existing .py file.")
        name = f"{PLUGIN}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
        if name in sys.modules:
            continue
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            name = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
            reason = f"{name}{error}".rstrip(".")
            raise InputError(f"plugins contains {text!r}, which fails to run: {reason}.") from error
