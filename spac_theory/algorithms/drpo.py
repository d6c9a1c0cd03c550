"""DRPO, Singla et al. (2024), arXiv 2411.08733: beam search over prompts, scored by a noisy judge.

Nothing is trained. A finite library stands for system prompts: each entry is a fixed policy, and a
mutation proposes entries near the current one. A judge scores one response to one query on a few
criteria from 1 to 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.online import OnlineAccess
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.keys import generator
from spac_theory.learning.needs import JUDGE, KNOWN_CONTEXTS, Learner
from spac_theory.learning.optimise import log_reference
from spac_theory.options import choice, integer, number, positive
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy

KEPT_ABOVE = 4.5  # the released rule; it says "or all scores are 5", which is a case of it


def prompt_library(view: LearnerView, size: int, temperature: float) -> Tensor:
    """`size` policies `(M, X, A)`: `π_ref` first, the others tilted by random rewards in [0, 1]."""
    rng = generator("prompt-library", view.key)
    reward = torch.as_tensor(rng.uniform(0, 1, (size, *view.reference.shape)))
    reward[0] = 0
    return torch.softmax(log_reference(view) + reward / temperature, -1)


@ALGORITHMS.register("drpo")
@dataclass(frozen=True)
class Drpo(Learner):
    """Keep the `beam` best paths; at each level every path answers the same query.

    A path scores the mean of its rewards, or its last reward where the beam is 1. A reward is the mean
    over the criteria that matter to the query. A prompt whose last reward exceeds 4.5 is kept
    unchanged, and a level with such a prompt makes the search one level deeper, at most `extend` times.
    The data are not used.
    """

    needs = frozenset({JUDGE, KNOWN_CONTEXTS})

    library: int = integer(64, "entries of the prompt library")
    temperature: float = positive(0.1, "how far entries tilt π_ref")
    beam: int = integer(2, "paths kept; a single one is scored by its last reward")
    proposals: int = integer(3, "mutations of each path")
    depth: int = integer(19, "levels of mutations: the released depth 20 counts the root")
    extend: int = integer(
        10, "levels that nearly perfect prompts may add; 0 turns the rule off", low=0
    )
    near: int = integer(16, "entries a mutation may reach")
    judge: str = choice(
        "query",
        "criteria chosen for the query, a fixed set for all, or repeated scores of the reward",
        ("query", "fixed", "reward"),
    )
    pool: int = integer(14, "criteria in all; two to five matter to a query", low=2)
    criteria: int = integer(3, "scores of a response where the judge repeats the reward")
    noise: float = number(1.0, "standard deviation of a score on the scale 1–5", low=0)

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Search; data sets whose last level is behind them ask for nothing more."""
        assert oracle is not None
        assert oracle.online is not None
        access, seeds = oracle.online, len(data.n)
        library = prompt_library(view, self.library, self.temperature)
        distance = (library.unsqueeze(1) - library).abs().sum((-2, -1))
        nearest = distance.argsort(-1)[:, : self.near]
        streams = data.streams("drpo", view.key)
        prompts = best = torch.zeros(seeds, 1, dtype=torch.int64)
        totals = score = torch.zeros(seeds, 1, dtype=torch.float64)
        kept = torch.zeros(seeds, 1, dtype=torch.bool)
        limit = torch.full((seeds,), self.depth)
        for level in range(self.depth + self.extend):
            going = level < limit
            if not bool(going.any()):
                break
            limit += going & kept.any(-1) & (limit < self.depth + self.extend)
            query = access.prompts(1).argmax(-1)
            new = self._mutate(prompts, nearest, streams)
            asked = self._open(kept, totals) & going[:, None]
            reward = self._score(access, library, new, query, asked, streams)
            totals = totals.repeat_interleave(self.proposals + 1, -1)
            totals = totals + reward if self.beam > 1 else reward + 0 * totals
            totals, order = totals.sort(dim=-1, descending=True, stable=True)
            totals, order = totals[:, : self.beam], order[:, : self.beam]
            prompts = new.gather(-1, order)
            kept = (reward.gather(-1, order) > KEPT_ABOVE) & (self.extend > 0)
            best = torch.where(going[:, None], prompts[:, :1], best)
            mean = totals[:, :1] / (level + 1 if self.beam > 1 else 1)
            score = torch.where(going[:, None], mean, score)
        extra = {"score": score[:, 0], "depth": limit}
        return Fit(TabularPolicy(library[best[:, 0]]), "none", extra=extra)

    def _open(self, kept: Tensor, totals: Tensor) -> Tensor:
        """Which children are searched, `(S, B (1 + proposals))`: of a kept prompt itself alone.

        A path that fills the beam of another data set only has the total `-∞` and no children.
        """
        mutations = (~kept).unsqueeze(-1).expand(-1, -1, self.proposals)
        children = torch.cat([torch.ones_like(kept).unsqueeze(-1), mutations], -1)
        return (children & totals.isfinite().unsqueeze(-1)).flatten(1)

    def _mutate(
        self, prompts: Tensor, nearest: Tensor, streams: list[np.random.Generator]
    ) -> Tensor:
        """Each prompt and `proposals` mutations of it, `(S, B (1 + proposals))`."""
        shape = (prompts.shape[1], self.proposals)
        drawn = np.stack([s.integers(0, nearest.shape[1], shape) for s in streams])
        mutated = nearest[prompts].gather(-1, torch.as_tensor(drawn))
        return torch.cat([prompts.unsqueeze(-1), mutated], -1).flatten(1)

    def _score(
        self,
        access: OnlineAccess,
        library: Tensor,
        prompts: Tensor,
        query: Tensor,
        asked: Tensor,
        streams: list[np.random.Generator],
    ) -> Tensor:
        """The judge's mean score of one response of each prompt to the query, or `-∞`, `(S, M)`."""
        law = library[prompts, query[:, None]].cumsum(-1)
        draws = np.stack([s.uniform(size=prompts.shape[1]) for s in streams])
        action = (torch.as_tensor(draws).unsqueeze(-1) > law[..., :-1]).sum(-1)
        context = query[:, None].expand_as(action)
        if self.judge == "reward":
            scores = access.judge(context, action, self.criteria, self.noise, asked).mean(-1)
        else:
            pool, fixed = access.criteria(self.pool), self.judge == "fixed"
            scores = access.assess(context, action, pool, fixed, self.noise, asked)
        return scores.masked_fill(~asked, -torch.inf)
