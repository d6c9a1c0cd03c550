"""Contexts from a density: a finite problem on the prompts of each data set, judged on fresh ones.

The learner of data set `s` sees its own `n` prompts, one comparison each, and plays the game with
`ρ̂ = 1/n` on them. The referee evaluates the policy it returns on a large fixed set of contexts that
no learner sees, with the standard error of that. Behaviour families act context by context, so
their dials mean what they mean on a finite problem.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.behaviours import BehaviourFamily
from spac_theory.problems.density import ContinuousProblem, draw_comparisons, standard_error
from spac_theory.view import Algorithm, Contexts, Declined, Fit, LearnerView, Oracle, TabularPolicy


@dataclass(frozen=True)
class PromptTrial:
    """What a learner gets of one data set, and where it is judged."""

    view: LearnerView
    data: WinnerCounts
    judged: Contexts


def draw_trial(
    problem: ContinuousProblem,
    family: BehaviourFamily,
    dial: float,
    n: int,
    seed: int,
    view: LearnerView,
    *key: str | int,
) -> PromptTrial:
    """Prompts and comparisons of data set `seed`; the first `n` of a longer one are the same.

    `view` is the view on the evaluation contexts; a reference or baseline that is uniform there stays
    uniform, any other is the behaviour at the prompts.
    """
    prompts = problem.on_prompts(n, *key, seed)
    behaviour = family.policy(prompts, dial)
    data = draw_comparisons(prompts, behaviour, view.link, *key, seed)
    uniform = torch.full_like(behaviour, 1 / behaviour.shape[-1])
    reference, baseline = (
        uniform if bool((table == table[0, 0]).all()) else behaviour
        for table in (view.reference, view.baseline)
    )
    local = replace(
        view,
        reward_class=prompts.reward_class,
        rho=prompts.bandit.rho,
        reference=reference,
        baseline=baseline,
        known_contexts=False,
    )
    assert problem.points is not None
    return PromptTrial(local, data, Contexts(problem.points, view.reference))


def fit_continuous(
    problem: ContinuousProblem,
    family: BehaviourFamily,
    dial: float,
    n: int,
    seeds: range,
    algorithm: Algorithm,
    view: LearnerView,
    oracle: Oracle | None,
    *key: str | int,
) -> Fit:
    """Fit every data set on its own prompts, and return one `Fit` on the evaluation contexts.

    The policy is a table on the evaluation contexts; `extra` gains the standard error of its
    suboptimality. Raises Declined for an algorithm whose policy is a table of its prompts.
    """
    fits, tables = [], []
    for seed in seeds:
        trial = draw_trial(problem, family, dial, n, seed, view, *key)
        reason = algorithm.skip(trial.view, oracle)
        if reason is not None:
            raise Declined(f"algorithm cannot treat these prompts: {reason}.")
        fit = algorithm.fit(trial.view, trial.data, oracle)
        tables.append(fit.policy.probabilities(trial.judged))
        fits.append(fit)
    policy = torch.cat(tables)
    extra = {name: torch.cat([f.extra[name] for f in fits]) for name in fits[0].extra}
    extra["standard_error"] = standard_error(problem, policy)

    def column(name: str) -> Tensor | None:
        parts = [getattr(fit, name) for fit in fits]
        return None if any(part is None for part in parts) else torch.cat(parts)

    return Fit(
        TabularPolicy(policy),
        fits[0].gap_kind,
        column("gap"),
        column("lam"),
        converged=column("converged"),
        extra=extra,
    )
