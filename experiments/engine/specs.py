"""From a configuration to a checked sweep: everything is refused here, before any work starts."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spac_theory import ALGORITHMS, BEHAVIOURS, PROBLEMS, InputError, Problem, checks, load_plugins
from spac_theory.algorithms import Algorithm
from spac_theory.bandit.preferences import MAX_COMPARISONS
from spac_theory.behaviours import BehaviourFamily
from spac_theory.registry import Registry, build

Spec = dict[str, Any]
POLICIES = ("behaviour", "uniform")
REGISTRIES: dict[str, Registry[Any]] = {
    "problem": PROBLEMS,
    "behaviour": BEHAVIOURS,
    "algorithm": ALGORITHMS,
}


@dataclass(frozen=True)
class Sweep:
    """A checked sweep; every spec is a plain dictionary with all its options resolved.

    Attributes
    ----------
    problem, behaviour : specs `{"name", "options"}`
    dials, sizes : positions of the behaviour's dial, sample sizes `n`
    algorithms : label to spec
    learner : `{"delta", "reference", "baseline"}`
    seeds, block : data sets a cell reports, and how many are computed together
    """

    problem: Spec
    behaviour: Spec
    dials: tuple[float, ...]
    sizes: tuple[int, ...]
    algorithms: dict[str, Spec]
    learner: Spec
    seeds: int
    block: int
    plugins: tuple[str, ...] = ()

    @property
    def blocks(self) -> range:
        """Numbers of the blocks that hold the seeds; the last one may hold more than are asked."""
        return range(-(-self.seeds // self.block))


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
    except (TypeError, ValueError) as error:
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
        raise InputError(f"{field}: {error}") from error
    resolved = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(thing).items()
    }
    return {"name": config["name"], "options": resolved, **_source(type(thing))}


def _source(kind: type[Any]) -> Spec:
    """The hash of the plug-in file a class comes from; nothing for the project's own."""
    if not kind.__module__.startswith("spac_plugin_"):
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
        problem: Problem = generator.build()
    except InputError as error:
        raise InputError(f"problem: {error}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"problem {spec['name']!r} refuses its options: {error}.") from error
    return problem


def build_behaviour(spec: Spec) -> BehaviourFamily:
    """The behaviour family of a spec."""
    family: BehaviourFamily = instantiate("behaviour", spec)
    return family


def build_algorithm(spec: Spec) -> Algorithm:
    """The algorithm of a spec."""
    algorithm: Algorithm = instantiate("algorithm", spec)
    return algorithm


def _list(field: str, value: Any) -> list[Any]:
    """A non-empty list without repetitions; a single value counts as a list of one."""
    items = list(dict.fromkeys(value if isinstance(value, (list, tuple)) else [value]))
    if not items:
        raise InputError(f"{field} is empty; it needs at least one value.")
    return items


def _dials(config: Mapping[str, Any], limit: Any, behaviour: Spec, problem: Spec) -> list[float]:
    """The dials of a behaviour, each tried on the problem; at most `limit`, ends included."""
    family, built = build_behaviour(behaviour), build_problem(problem)
    low, high = family.dial_range
    dials = []
    for value in _list("behaviour.dials", config.get("dials")):
        dial = checks.number(f"behaviour.dials ({family.dial_name})", value, low=low, high=high)
        family.policy(built, dial)
        dials.append(dial)
    if limit is None:
        return dials
    kept = min(checks.integer("grid.max_dials", limit, low=1), len(dials))
    return [dials[round(i * (len(dials) - 1) / max(kept - 1, 1))] for i in range(kept)]


def _learner(config: Mapping[str, Any]) -> Spec:
    """The learner's settings, checked."""
    delta = config.get("delta")
    return {
        "delta": checks.number(
            "learner.delta", delta, low=0, high=1, open_low=True, open_high=True
        ),
        "reference": checks.choice("learner.reference", config.get("reference"), POLICIES),
        "baseline": checks.choice("learner.baseline", config.get("baseline"), POLICIES),
    }


def resolve_algorithms(config: Any) -> dict[str, Spec]:
    """Label to spec of a group of algorithms; at least one."""
    if not isinstance(config, Mapping) or not config:
        raise InputError("algorithm is empty; choose at least one, as in algorithm=[spac_sqrt_n].")
    return {
        str(label): resolve("algorithm", f"algorithm.{label}", spec)
        for label, spec in config.items()
    }


def read_sweep(config: Mapping[str, Any]) -> Sweep:
    """Check a configuration of `coverage_sweep` and resolve it.

    Raises InputError: one sentence that names the field, its value and what would be right.
    """
    plugins = load(config.get("plugins") or ())
    problem = resolve("problem", "problem", config.get("problem"))
    family = {k: v for k, v in dict(config.get("behaviour") or {}).items() if k != "dials"}
    behaviour = resolve("behaviour", "behaviour", family)
    grid = config.get("grid") or {}
    sizes = [
        checks.integer("grid.n", n, low=1, high=MAX_COMPARISONS)
        for n in _list("grid.n", grid.get("n"))
    ]
    return Sweep(
        problem=problem,
        behaviour=behaviour,
        dials=tuple(_dials(config["behaviour"], grid.get("max_dials"), behaviour, problem)),
        sizes=tuple(sorted(sizes)),
        algorithms=resolve_algorithms(config.get("algorithm")),
        learner=_learner(config.get("learner") or {}),
        seeds=checks.integer("grid.seeds", grid.get("seeds"), low=1, high=1_000_000),
        block=checks.integer("grid.block", grid.get("block"), low=1, high=10_000),
        plugins=plugins,
    )
