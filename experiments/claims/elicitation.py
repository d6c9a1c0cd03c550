"""Claims about Sim-OPRL: when chosen queries are worth more than those the data would give."""

from __future__ import annotations

import torch

from experiments.claims import CLAIMS, Outcome
from experiments.claims.field import seeds_of, setting
from experiments.claims.two_step import two_step_rows
from spac_theory import Oracle, PreferenceModel, make_algorithm
from spac_theory.bandit.online import OnlineAccess
from spac_theory.instances.two_step import SimOprlTwoStep


def interval(values: torch.Tensor) -> tuple[float, float]:
    """Mean and half width of the 95 % interval."""
    return float(values.mean()), 1.96 * float(values.std()) / len(values) ** 0.5


def elicited(query: str, dial: float, budget: int, seeds: int) -> torch.Tensor:
    """Suboptimality of Sim-OPRL in the bandit, 300 offline pairs, `(seeds,)`."""
    problem, view, data = setting(dial, 300, seeds)
    bandit = problem.bandit
    truth = PreferenceModel.from_reward(bandit.reward)
    access = OnlineAccess(truth, bandit.rho, range(seeds), budget, key=("claim-elicitation",))
    algorithm = make_algorithm("sim_oprl", query=query, rounds=20, offline=True)
    fit = algorithm.fit(view, data, Oracle(1.0, access))
    return bandit.suboptimality(fit.policy.probabilities())


@CLAIMS.register("chosen_queries_need_no_coverage")
def chosen_queries_need_no_coverage(size: str) -> Outcome:
    """With enough labels, what Sim-OPRL pays does not depend on coverage; uniform queries do.

    Bandit, 300 labelled offline pairs, 5000 labels: at coverages 0.002, 0.02 and 0.1 the means of optimistic
    queries differ by less than 0.05 and are below half of those of uniform ones.
    """
    seeds = seeds_of(size)
    dials = (0.002, 0.02, 0.1)
    means = {
        query: [float(elicited(query, dial, 5000, seeds).mean()) for dial in dials]
        for query in ("optimistic", "uniform")
    }
    ours, theirs = means["optimistic"], means["uniform"]
    holds = max(ours) - min(ours) < 0.05
    holds &= all(2 * a < b for a, b in zip(ours, theirs, strict=True))
    line = "; ".join(f"{k} " + " / ".join(f"{v:.3f}" for v in m) for k, m in means.items())
    return Outcome(holds, f"mean suboptimality over {seeds} seeds at the three coverages: {line}")


@CLAIMS.register("chosen_queries_help_at_any_budget")
def chosen_queries_help_at_any_budget(size: str) -> Outcome:
    """Optimistic queries beat uniform ones whatever the budget.

    Bandit, coverage 0.1, 300 labelled offline pairs, at 500, 5000 and 50 000 labels, by their means.
    """
    seeds = seeds_of(size)
    parts, holds = [], True
    for budget in (500, 5000, 50_000):
        ours, theirs = (
            interval(elicited(q, 0.1, budget, seeds)) for q in ("optimistic", "uniform")
        )
        holds &= ours[0] < theirs[0]
        parts.append(
            f"{budget} labels {ours[0]:.3f} ± {ours[1]:.3f} against {theirs[0]:.3f} ± {theirs[1]:.3f}"
        )
    return Outcome(
        holds,
        f"mean suboptimality over {seeds} seeds, optimistic against uniform: " + "; ".join(parts),
    )


@CLAIMS.register("chosen_queries_help_in_two_steps")
def chosen_queries_help_in_two_steps(size: str) -> Outcome:
    """With unknown transitions optimistic queries beat uniform ones, beyond the interval, at every budget.

    Two-step problem, 300 offline transitions, the best second action covered at 0.02, at 30, 100 and
    300 queries.
    """
    seeds, budgets = (48, (30, 100)) if size == "small" else (400, (30, 100, 300))
    parts, holds = [], True
    for budget in budgets:
        rows = {
            query: two_step_rows(SimOprlTwoStep(query=query), 0.02, 300, budget, seeds)
            for query in ("optimistic", "uniform")
        }
        column = {q: torch.tensor(r["suboptimality"].to_list()) for q, r in rows.items()}
        mean, half = interval(column["uniform"] - column["optimistic"])
        holds &= mean - half > 0
        both = " against ".join("{:.3f} ± {:.3f}".format(*interval(v)) for v in column.values())
        parts.append(f"{budget} queries {both} (difference {mean:.3f} ± {half:.3f})")
    return Outcome(
        holds,
        f"mean suboptimality over {seeds} seeds, optimistic against uniform: " + "; ".join(parts),
    )
