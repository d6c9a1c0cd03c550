"""What a judge looks at: several criteria, of which each query makes a few matter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.keys import generator

FEWEST, MOST = 2, 5  # criteria a query makes matter, as in the release of DRPO


@dataclass(frozen=True)
class Criteria:
    """Rewards by criterion.

    Attributes
    ----------
    reward : (X, A, C), in units of the true reward
    relevant : (X, C) bool, what matters to the query; only the judge knows
    """

    reward: Tensor
    relevant: Tensor

    def mean(self, context: Tensor, action: Tensor, scores: Tensor, fixed: bool) -> Tensor:
        """Mean of `scores (N, C)` over the criteria that matter, or over all of them: `(N,)`."""
        weight = torch.ones_like(scores) if fixed else self.relevant[context].to(scores.dtype)
        return (scores * weight).sum(-1) / weight.sum(-1)


def make_criteria(reward: Tensor, pool: int, *key: str) -> Criteria:
    """`pool` criteria behind a reward `(X, A)`: those that matter to a query average to it.

    Two to five matter to each query; their rewards are the true one with deviations that add up to 0.
    The others reward actions at random, and mislead a judge that looks at them.
    """
    checks.integer("pool", pool, low=FEWEST)
    rng = generator("criteria", *key)
    contexts, actions = reward.shape
    table = torch.as_tensor(rng.uniform(0, 1, (contexts, actions, pool)))
    relevant = torch.zeros(contexts, pool, dtype=torch.bool)
    for x in range(contexts):
        count = int(rng.integers(FEWEST, min(MOST, pool) + 1))
        chosen = torch.as_tensor(rng.permutation(pool)[:count])
        relevant[x, chosen] = True
        off = torch.as_tensor(rng.normal(0, 0.2, (actions, count)))
        table[x, :, chosen] = reward[x][:, None] + off - off.mean(-1, keepdim=True)
    return Criteria(table, relevant)
