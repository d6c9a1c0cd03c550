"""What exact SPAC makes of the same pairs if it is told that rewards depend on `k` alone.

A reference line, no rival: a network has to find out about `k`. Grouping the responses of a prompt by `k`
leaves a bandit of 12 contexts and 4 actions, without changing the game: critics that are
functions of `(x, k)` see nothing else of a policy than its mass on each `k`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from llm.worlds.language import LENGTH, REWARDS, Language
from spac_theory import LearnerView, make_algorithm
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.rewards.linear import tabular_class

GROUPS = LENGTH + 1


def grouped(language: Language, table: Tensor) -> Tensor:
    """The mass of `(X, A)` probabilities on `k = 0 … 3`: `(X, 4)`."""
    mass = torch.zeros(len(table), GROUPS, dtype=table.dtype)
    return mass.scatter_add(-1, language.count, table)


def exact_spac(language: Language, pairs: tuple[Tensor, Tensor, Tensor]) -> float:
    """Suboptimality of the exact saddle with `λ = √n` over tables in `(x, k)`, from index triples.

    The class is `[0, scale · max r*]`, in the units of the Bradley–Terry law.
    """
    x, chosen, rejected = pairs
    contexts = len(language.prompts)
    wins, loses = language.count[x, chosen], language.count[x, rejected]
    data = WinnerCounts.from_triples(x, wins, loses, contexts=contexts, actions=GROUPS)
    top = language.scale * max(REWARDS[language.name])
    rho = torch.full((contexts,), 1 / contexts, dtype=torch.float64)
    behaviour = grouped(language, language.behaviour)
    view = LearnerView(
        tabular_class(contexts, GROUPS, reward_range=(0.0, top)), rho, behaviour, behaviour
    )
    policy = make_algorithm("spac").fit(view, data).policy.probabilities()[0]
    reward = torch.tensor(REWARDS[language.name], dtype=torch.float64)
    return float(reward.max() - (rho @ (policy @ reward)))
