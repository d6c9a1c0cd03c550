"""The conformance suite: what every registered thing must do, yours too.

Each function raises AssertionError with a sentence that says what is wrong. In your own tests::

    from spac_theory.testing import check_algorithm

    def test_mine():
        check_algorithm("mine", sharpness=2.0)

or, for all that a file of yours registers, without a line of code::

    python -m spac_theory.testing mine.py

It asks for what a sweep relies on: shapes, probabilities, determinism, data sets that do not see
each other, refusals in words. It does not ask whether a method is any good.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS, make_algorithm
from spac_theory.bandit.preferences import (
    WinnerCounts,
    sample_winner_counts,
)
from spac_theory.behaviours import BEHAVIOURS, make_behaviour
from spac_theory.checks import InputError, NotANumber
from spac_theory.concentrability.coverage import coverage
from spac_theory.learning.trials import make_trial
from spac_theory.links import BRADLEY_TERRY
from spac_theory.objective import game_value, tabular_preference_loss
from spac_theory.problems import PROBLEMS, Problem, make_problem
from spac_theory.registry import Registry, load_plugins
from spac_theory.rewards.base import RewardClass, gap_kind
from spac_theory.view import Fit, LearnerView, Oracle

CHECKED = (
    "Check all that a plug-in registers: shapes, probabilities, determinism, refusals in words."
)
ROUNDING = 1e-9
SMALL_PROBLEMS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("tabular", {"contexts": 3, "actions": 4}),
    ("linear", {"contexts": 5, "actions": 3, "dimension": 2}),
)


def require(holds: bool | Tensor, sentence: str) -> None:
    """Raise AssertionError with `sentence` unless it holds."""
    if not bool(holds):
        raise AssertionError(sentence)


def refuses(call: Any, sentence: str) -> None:
    """Require that `call()` raises InputError."""
    try:
        call()
    except InputError:
        return
    raise AssertionError(sentence)


def check_distribution(owner: str, table: Tensor, shape: tuple[int, ...]) -> None:
    """Require float64 probabilities of `shape` along the last axis."""
    require(
        tuple(table.shape) == shape, f"{owner} has shape {tuple(table.shape)}; it must be {shape}."
    )
    require(table.dtype == torch.float64, f"{owner} is {table.dtype}; it must be torch.float64.")
    require(torch.isfinite(table).all(), f"{owner} has entries that are NaN or infinite.")
    require((table >= 0).all(), f"{owner} has negative probabilities.")
    error = float((table.sum(-1) - 1).abs().max())
    require(
        error <= ROUNDING, f"{owner} sums to 1 only up to {error:.2g}; probabilities must sum to 1."
    )


def small_setting(
    problem: str, options: dict[str, Any]
) -> tuple[LearnerView, WinnerCounts, Oracle]:
    """A view, data and oracle on a small problem, half covered and a little uneven."""
    built = make_problem(problem, **options)
    bandit = built.bandit
    contexts, actions = bandit.shape
    skew = torch.linspace(1, 2, contexts * actions, dtype=torch.float64).reshape(contexts, actions)
    behaviour = skew / skew.sum(-1, keepdim=True)
    trial = make_trial(built, behaviour)
    data = sample_winner_counts(trial.law, 60, range(4), "conformance", bandit.name)
    return dataclasses.replace(trial.view, key=bandit.name), data, Oracle(trial.coverage.single)


def check_algorithm(name: str, tolerance: float = 1e-8, **options: Any) -> list[str]:
    """Require of algorithm `name` what a sweep relies on; returns its reasons for skipping.

    `tolerance` is how far a data set's policy may move when it is fitted alone or elsewhere in the
    batch.
    """
    require(name in list(ALGORITHMS), f"algorithm {name!r} is not registered.")
    unknown: dict[str, Any] = {"no_such_option": 1}
    refuses(
        lambda: make_algorithm(name, **unknown),
        f"{name} accepts the option 'no_such_option'; unknown options must raise InputError.",
    )
    algorithm = make_algorithm(name, **options)
    require(
        dataclasses.is_dataclass(algorithm) and _frozen(algorithm),
        f"{name} must be a frozen dataclass, so that its options identify its results.",
    )
    reasons = []
    for problem, size in SMALL_PROBLEMS:
        view, data, oracle = small_setting(problem, size)
        reason = algorithm.skip(view, oracle)
        if reason is None:
            _check_fits(name, algorithm, view, data, oracle, tolerance)
            continue
        require(
            isinstance(reason, str) and bool(reason.strip()),
            f"{name}.skip returned {reason!r}; it must return None or a reason in words.",
        )
        reasons.append(reason)
    return reasons


def _frozen(thing: Any) -> bool:
    """Whether a dataclass instance is frozen."""
    return bool(type(thing).__dataclass_params__.frozen)


def _check_fits(
    name: str,
    algorithm: Any,
    view: LearnerView,
    data: WinnerCounts,
    oracle: Oracle,
    tolerance: float,
) -> None:
    before = data.wins.clone()
    state = torch.random.get_rng_state()
    fit = _fit(name, algorithm, view, data, oracle)
    require(torch.equal(before, data.wins), f"{name} changed the data it was given.")
    require(
        torch.equal(state, torch.random.get_rng_state()),
        f"{name} draws from the global random stream; use spac_theory.keys.generator.",
    )
    seeds = len(data.n)
    _check_fit(name, fit, (seeds, *view.reward_class.shape))
    policy = fit.policy.probabilities()
    again = algorithm.fit(view, data, oracle).policy.probabilities()
    require(torch.equal(policy, again), f"{name} gives other numbers when it is run again.")
    alone = torch.cat(
        [_policy(algorithm, view, data.wins[s : s + 1], oracle) for s in range(seeds)]
    )
    moved = float((alone - policy).abs().max())
    require(
        moved <= tolerance, f"{name} fitted alone and in a batch differ by {moved:.2g}: lanes mix."
    )
    back = _policy(algorithm, view, data.wins.flip(0), oracle).flip(0)
    moved = float((back - policy).abs().max())
    require(moved <= tolerance, f"{name} depends on the order of data sets, by {moved:.2g}.")


def _fit(name: str, algorithm: Any, view: LearnerView, data: WinnerCounts, oracle: Oracle) -> Fit:
    """The fit; a NaN that a :class:`Fit` refuses is the algorithm's fault."""
    try:
        fit: Fit = algorithm.fit(view, data, oracle)
    except NotANumber as error:
        raise AssertionError(f"{name}: {error}") from error
    return fit


def _policy(algorithm: Any, view: LearnerView, wins: Tensor, oracle: Oracle) -> Tensor:
    policy: Tensor = algorithm.fit(view, WinnerCounts(wins), oracle).policy.probabilities()
    return policy


def _check_fit(name: str, fit: Fit, shape: tuple[int, int, int]) -> None:
    require(isinstance(fit, Fit), f"{name}.fit must return a Fit.")
    check_distribution(f"the policy of {name}", fit.policy.probabilities(), shape)
    require(bool(fit.gap_kind), f"{name} must say in words what its gap is (or 'none').")
    columns = {"gap": fit.gap, "lam": fit.lam, "converged": fit.converged, **fit.extra}
    for column, value in columns.items():
        if value is not None:
            require(
                tuple(value.shape) == shape[:1],
                f"{column} of {name} has shape {tuple(value.shape)}; it must be {shape[:1]}.",
            )
    if fit.gap is not None:
        require(
            (fit.gap >= -ROUNDING).all(),  # False for NaN too
            f"the gap of {name} is {fit.gap.tolist()}; it must be a number of at least 0.",
        )
    if fit.reward is not None:
        require(
            tuple(fit.reward.shape) == shape and bool(torch.isfinite(fit.reward).all()),
            f"the reward of {name} must be finite and of shape {shape}.",
        )


def check_problem(name: str, **options: Any) -> None:
    """Require of problem `name` that it is deterministic, realizable and named apart."""
    require(name in list(PROBLEMS), f"problem {name!r} is not registered.")
    problem, again = make_problem(name, **options), make_problem(name, **options)
    require(isinstance(problem, Problem), f"{name}.build must return a Problem.")
    bandit = problem.bandit
    for field in ("rho", "features", "reward", "name"):
        mine, other = getattr(bandit, field), getattr(again.bandit, field)
        same = torch.equal(mine, other) if isinstance(mine, Tensor) else mine == other
        require(same, f"{name} builds another {field} the second time; draw from a keyed stream.")
    check_distribution(f"rho of {name}", bandit.rho, (bandit.shape[0],))
    check_distribution(f"the profile of {name}", problem.profile, bandit.shape)
    require(
        problem.reward_class.shape == bandit.shape,
        f"the class of {name} has shape {problem.reward_class.shape}, its bandit {bandit.shape}.",
    )
    spread = float((bandit.reward.amax(-1) - bandit.reward.amin(-1)).max())
    require(
        spread <= problem.reward_class.difference_bound * (1 + ROUNDING),
        f"the true reward of {name} spreads by {spread:.4g}, more than the class's R = "
        f"{problem.reward_class.difference_bound:.4g}.",
    )
    if "seed" in {f.name for f in dataclasses.fields(PROBLEMS[name])}:  # type: ignore[arg-type]
        other = make_problem(name, **{**options, "seed": 12345}).bandit
        require(
            other.name != bandit.name,
            f"{name} gives two seeds the name {bandit.name!r}; they would share random streams.",
        )


def check_behaviour(name: str, **options: Any) -> None:
    """Require of behaviour family `name` valid policies over the inside of its dial's range."""
    require(name in list(BEHAVIOURS), f"behaviour {name!r} is not registered.")
    family = make_behaviour(name, **options)
    low, high = family.dial_range
    require(low < high, f"dial_range of {name} is ({low}, {high}); low must be below high.")
    require(bool(family.dial_name.strip()), f"dial_name of {name} is empty.")
    for problem_name, size in SMALL_PROBLEMS:
        problem = make_problem(problem_name, **size)
        for share in (0.01, 0.2, 0.5, 0.8, 0.99):
            dial = low + share * (high - low)
            owner = f"{name} at dial {dial:g}"
            policy = family.policy(problem, dial)
            check_distribution(owner, policy, problem.bandit.shape)
            require(
                torch.equal(policy, family.policy(problem, dial)), f"{owner} is not deterministic."
            )
            single = coverage(problem, policy).single
            require(single >= 0, f"{owner} has concentrability {single}; it must be at least 0.")
        refuses(
            lambda p=problem: family.policy(p, math.nan),
            f"{name} accepts the dial NaN; it must raise InputError.",
        )


def _random_counts(shape: tuple[int, int], seeds: int, rng: torch.Generator) -> WinnerCounts:
    """A few random wins on every pair, about a third of the cells empty."""
    wins = torch.randint(-2, 5, (seeds, *shape, shape[1]), generator=rng).clamp_min(0)
    wins[:, 0, 0, 1] += 1
    return WinnerCounts(wins)


def check_reward_class(reward_class: RewardClass, seeds: int = 4) -> None:
    """Require of a reward class that its critic answers with members and bounds what it claims.

    With `gap_is_bound`, every answer is compared with every other: no member may undercut a certified
    minimum.
    """
    kind = type(reward_class).__name__
    contexts, actions = reward_class.shape
    for flag in ("convex", "finite"):
        value = getattr(reward_class, flag)
        require(isinstance(value, bool), f"{flag} of {kind} is {value!r}; it must be a bool.")
    bound = reward_class.difference_bound
    require(0 < bound < math.inf, f"difference_bound of {kind} is {bound}; it must be positive.")
    radii = [bound * 10.0**-k for k in range(4)]
    entropy = [reward_class.log_covering(r) for r in radii]
    require(
        entropy[0] >= 0 and all(a <= b + ROUNDING for a, b in itertools.pairwise(entropy)),
        f"log_covering of {kind} is {entropy} at radii {radii}; it must grow as they shrink.",
    )
    rng = torch.Generator().manual_seed(7)
    shape = (contexts, actions)
    linear = torch.randn(seeds, *shape, generator=rng, dtype=torch.float64) / contexts
    linear = linear - linear.mean(-1, keepdim=True)
    lam = torch.logspace(-1, 1, seeds, dtype=torch.float64)
    lam[0] = 0.0
    fraction = _random_counts(shape, seeds, rng).fraction
    answer = reward_class.best_response(linear, lam, fraction, BRADLEY_TERRY)
    _check_answer(kind, reward_class, answer.reward, seeds)

    def objective(reward: Tensor) -> Tensor:
        loss = tabular_preference_loss(reward, fraction, BRADLEY_TERRY)
        return game_value((linear * reward).sum((-2, -1)), loss, lam)

    error = float((objective(answer.reward) - answer.value).abs().max())
    require(error <= 1e-8, f"value of {kind} differs from the objective at its reward by {error}.")
    require((answer.gap >= -ROUNDING).all(), f"gap of {kind} is negative or NaN: {answer.gap}.")
    if gap_kind(reward_class) == "duality gap":
        _check_certified(kind, reward_class, objective, answer.reward, answer.value - answer.gap)
        alone = reward_class.best_response(linear[1:2], lam[1:2], fraction[1:2], BRADLEY_TERRY)
        apart = float((alone.value - answer.value[1:2]).abs().max())
        allowed = float((alone.gap + answer.gap[1:2]).max()) + ROUNDING
        require(apart <= allowed, f"{kind} answers {apart:.2g} apart alone and in a batch.")


def _check_answer(kind: str, reward_class: RewardClass, reward: Tensor, seeds: int) -> None:
    """The critic's answers are members, within `R`."""
    shape = (seeds, *reward_class.shape)
    require(
        tuple(reward.shape) == shape and bool(torch.isfinite(reward).all()),
        f"best_response of {kind} must give finite rewards of shape {shape}.",
    )
    spread = float((reward.amax(-1) - reward.amin(-1)).max())
    require(
        spread <= reward_class.difference_bound * (1 + 1e-6),
        f"a best response of {kind} spreads by {spread:.4g}, more than its difference_bound.",
    )
    for member in reward:
        require(reward_class.contains(member), f"a best response of {kind} is not in the class.")
    if reward_class.convex:
        require(
            reward_class.contains(reward.mean(0)),
            f"{kind} says it is convex, but an average of members is not in it.",
        )


def _check_certified(
    kind: str, reward_class: RewardClass, objective: Any, members: Tensor, lower: Tensor
) -> None:
    """No member found for one problem undercuts the certified minimum of another."""
    for member in members:
        values = objective(member.expand_as(members))
        deficit = float((lower - values).max())
        require(
            deficit <= ROUNDING,
            f"a member of {kind} undercuts a certified minimum by {deficit:.2g}.",
        )


# --- the command -------------------------------------------------------------------------------

CHECKS: tuple[tuple[Registry[Any], Callable[[str], object]], ...] = (
    (ALGORITHMS, check_algorithm),
    (PROBLEMS, check_problem),
    (BEHAVIOURS, check_behaviour),
)


def check_plugin(path: str) -> list[str]:
    """Check everything that a file registers; what is wrong, a sentence each.

    Raises InputError for a file that cannot be run, or that registers nothing.
    """
    before = [set(registry) for registry, _ in CHECKS]
    load_plugins([path])
    new = [
        (name, check)
        for (r, check), old in zip(CHECKS, before, strict=True)
        for name in r
        if name not in old
    ]
    if not new:
        raise InputError(f"{path} registers no algorithm, problem or behaviour that is new.")
    wrong = []
    for name, check in new:
        try:
            check(name)
            print(f"{name}: as it must be")
        except (AssertionError, InputError) as error:
            wrong.append(f"{name}: {error}")
    return wrong


def main(words: list[str] | None = None) -> int:
    """`python -m spac_theory.testing FILE…`; 0 all is well, 1 something is wrong, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m spac_theory.testing", description=CHECKED)
    parser.add_argument("files", metavar="FILE", nargs="+", help="a Python file of a plug-in")
    try:
        wrong = [told for path in parser.parse_args(words).files for told in check_plugin(path)]
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
