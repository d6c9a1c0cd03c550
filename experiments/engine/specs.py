"""Specs: a registered thing with all its options, as plain data that can be checked, hashed and sent."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spac_theory import ALGORITHMS, BEHAVIOURS, PROBLEMS, InputError, Problem, checks, load_plugins
from spac_theory.algorithms import Algorithm
from spac_theory.behaviours import BehaviourFamily
from spac_theory.links import BRADLEY_TERRY
from spac_theory.problems import built
from spac_theory.registry import PLUGIN, Registry, build

Spec = dict[str, Any]
UNBUILDABLE = (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError, MemoryError)
REGISTRIES: dict[str, Registry[Any]] = {
    "problem": PROBLEMS,
    "behaviour": BEHAVIOURS,
    "algorithm": ALGORITHMS,
}


FORBIDDEN = frozenset("[]|$\\`\n\r\t")
LONGEST_LABEL = 60


def instantiate(kind: str, spec: Spec) -> Any:
    """The registered object of a spec."""
    name = spec["name"]
    options = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in spec["options"].items()
    }
    try:
        return build(f"{kind} {name!r}", REGISTRIES[kind][name], options)
    except InputError:
        raise
    except UNBUILDABLE as error:
        raise InputError(f"{kind} {name!r} refuses its options: {error}.") from error


def resolve(kind: str, field: str, config: Any) -> Spec:
    """The spec of a configuration `{name, option: value, ...}`, with every default written out.

    What is defined in a plug-in file also carries the hash of that file: an edited plug-in is
    another algorithm.
    """
    if not isinstance(config, Mapping) or not isinstance(config.get("name"), str):
        raise InputError(f"{field} is {config!r:.60}; it must be a mapping with a `name`.")
    options = {str(key): value for key, value in config.items() if key != "name"}
    try:
        thing = instantiate(kind, {"name": config["name"], "options": options})
    except InputError as error:
        other = _whose(kind, config["name"], options)
        raise InputError(f"{field}: {error}" if other is None else other) from error
    if not all(map(_is_plain, options.values())):
        raise InputError(
            f"{field} has an option that is no plain value; give numbers, words or lists."
        )
    resolved = {key: _listed(value) for key, value in dataclasses.asdict(thing).items()}
    return {"name": config["name"], "options": resolved, **_source(type(thing))}


def _listed(value: Any) -> Any:
    """A tuple as the list that a file holds."""
    return list(value) if isinstance(value, tuple) else value


def _whose(kind: str, name: str, options: Spec) -> str | None:
    """Where a name was changed and the options of the file that chose another one are still there."""
    registry = REGISTRIES[kind]
    if name not in list(registry) or not options:
        return None

    def has(other: str) -> bool:
        kind = registry[other]
        known = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
        return set(options) <= {f.name for f in known}

    owners = [other for other in registry if other != name and has(other)]
    if has(name) or not owners:
        return None
    return (
        f"{kind} has the name {name!r} and the options of {owners[0]!r}, which was chosen before "
        f"({', '.join(options)}); write {kind}={name} where conf/{kind} has that file, else "
        f"'~{kind}' '+{kind}={{name: {name}}}'."
    )


def _is_plain(value: Any) -> bool:
    """Whether a value, or each of a list, is null, a word or a finite number."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | None) or (
        isinstance(value, float) and math.isfinite(value)
    )


def _source(kind: type[Any]) -> Spec:
    """The hash of the plug-in file a class comes from; nothing for the project's own."""
    if not kind.__module__.startswith(PLUGIN):
        return {}
    path = Path(str(sys.modules[kind.__module__].__file__))
    return {"source": hashlib.sha256(path.read_bytes()).hexdigest()[:16]}


def load(plugins: Sequence[str]) -> tuple[str, ...]:
    """Import the user's plug-in files; a file that fails to import is named in one sentence."""
    if isinstance(plugins, str) or not all(isinstance(path, str) for path in plugins):
        raise InputError(f"plugins is {plugins!r}; it must be a list of .py files.")
    load_plugins(list(plugins))
    return tuple(str(Path(path).expanduser().resolve()) for path in plugins)


def build_problem(spec: Spec) -> Problem:
    """The problem of a spec."""
    generator = instantiate("problem", spec)
    try:
        problem: Problem = built(spec["name"], generator)
    except InputError as error:
        raise InputError(f"problem: {error}") from error
    except UNBUILDABLE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"problem {spec['name']!r} refuses its options: {reason}.") from error
    _bounded(spec, problem.reward_class.difference_bound)
    return problem


def _bounded(spec: Spec, difference: float) -> None:
    """Refuse rewards so far apart that no bound on their preferences is a number."""
    try:
        BRADLEY_TERRY.kappa(difference)
    except InputError as error:
        said = [
            f"problem.{option} is {spec['options'][option]}"
            for option in ("norm_bound", "reward_range")
            if spec["options"].get(option) is not None
        ]
        raise InputError(
            f"{' and '.join(said) or 'problem ' + repr(spec['name'])}, so two rewards at one context may "
            f"differ by {difference:g}; the bounds are numbers up to 700, choose smaller ones."
        ) from error


def build_behaviour(spec: Spec) -> BehaviourFamily:
    """The behaviour family of a spec."""
    family: BehaviourFamily = instantiate("behaviour", spec)
    return family


def build_algorithm(spec: Spec) -> Algorithm:
    """The algorithm of a spec."""
    algorithm: Algorithm = instantiate("algorithm", spec)
    return algorithm


def describe(kind: str, spec: Spec) -> str:
    """A spec in one unambiguous line: its name and every option that is not the default."""
    factory = REGISTRIES[kind][spec["name"]]
    usual: Spec = {f.name: f.default for f in dataclasses.fields(factory)}
    said = {key: value for key, value in spec["options"].items() if value != _listed(usual[key])}
    said |= {"source": spec["source"]} if "source" in spec else {}
    listed = ", ".join(f"{key}={_plain(value)}" for key, value in sorted(said.items()))
    return f"{spec['name']}({listed})" if said else str(spec["name"])


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def try_dials(dials: Sequence[float], behaviour: Spec, problem: Spec) -> None:
    """Refuse a dial that the family, or the problem under it, cannot take."""
    family, built = build_behaviour(behaviour), build_problem(problem)
    low, high = family.dial_range
    for dial in dials:
        checks.number(f"behaviour.dials ({family.dial_name})", dial, low=low, high=high)
        family.policy(built, dial)


def label_of(field: str, label: Any) -> str:
    """A label that tables, Markdown and figures can show, or one sentence."""
    text = str(label)
    if not text.strip() or len(text) > LONGEST_LABEL or FORBIDDEN & set(text):
        raise InputError(
            f"{field} holds the label {text!r}; a label has 1 to {LONGEST_LABEL} characters and none "
            "of [ ] | $ \\ ` or line breaks."
        )
    return text


def resolve_algorithms(config: Any) -> dict[str, Spec]:
    """Label to spec of a group of algorithms; at least one."""
    if not isinstance(config, Mapping) or not config:
        raise InputError("algorithm is empty; choose at least one, as in algorithm=[spac_sqrt_n].")
    return {
        label_of("algorithm", label): resolve("algorithm", f"algorithm.{label}", spec)
        for label, spec in config.items()
    }
