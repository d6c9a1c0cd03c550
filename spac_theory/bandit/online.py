"""Online access on a budget: every label and every sample a learner asks for is counted.

The referee builds one :class:`OnlineAccess` for each fit. It answers comparisons with fresh labels
of the true preferences until the budget is spent and refuses the rest, so "with online access" is
always a number in the results.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.bandit.criteria import Criteria, make_criteria
from spac_theory.bandit.preferences import PreferenceModel
from spac_theory.checks import InputError
from spac_theory.keys import generator


class OnlineAccess:
    """Labels of the true preferences, prompts, and a judge's scores, for `S` learners at once.

    Parameters
    ----------
    preference : the true `P(a ≻ b | x)`
    rho : (X,) context law the prompts are drawn from
    seeds : one name a data set; the stream of each is its own
    budget : labels each data set may ask for
    reward : (X, A) true reward in [0, 1], for a judge that scores single responses; None for none
    key : names the streams
    """

    def __init__(
        self,
        preference: PreferenceModel,
        rho: Tensor,
        seeds: Sequence[int],
        budget: int,
        reward: Tensor | None = None,
        key: Sequence[str] = (),
    ) -> None:
        self.budget = checks.integer("budget", budget)
        self._preference = preference.probability
        self._rho = (rho / rho.sum()).numpy(force=True)
        self._reward, self._key = reward, tuple(key)
        self._streams = [generator("online", *key, int(seed)) for seed in seeds]
        self.labels = torch.zeros(len(seeds), dtype=torch.int64)
        self.scores = torch.zeros(len(seeds), dtype=torch.int64)

    @property
    def remaining(self) -> Tensor:
        """Labels left to each data set, `(S,)`."""
        return self.budget - self.labels

    @property
    def can_judge(self) -> bool:
        """Whether single responses can be scored."""
        return self._reward is not None

    def prompts(self, count: int) -> Tensor:
        """How often each context comes up among `count` fresh prompts, `(S, X)`; free."""
        rows = [stream.multinomial(count, self._rho) for stream in self._streams]
        return torch.as_tensor(np.stack(rows))

    def pairs(self, count: int, first: Tensor, second: Tensor, *, distinct: bool = False) -> Tensor:
        """Draw `count` prompts and a response to each from `first` and `second`, `(S, X, A)`.

        Returns how often each pair came up, `(S, X, A, A)`. Sampling one's own policy is free.
        `distinct`: pairs of a response with itself are drawn again; policies with a single response
        each, the same, have nothing else to give, and a few such pairs stay.
        """
        both = first.unsqueeze(-1) * second.unsqueeze(-2)
        if distinct:
            other = both - torch.diag_embed(both.diagonal(dim1=-2, dim2=-1))
            total = other.sum((-2, -1), keepdim=True)
            both = torch.where(total > 0, other / total.clamp_min(1e-300), both)
        law = torch.as_tensor(self._rho)[:, None, None] * both
        cells = law.flatten(1).numpy(force=True)
        cells = cells / cells.sum(-1, keepdims=True)
        rows = [s.multinomial(count, c) for s, c in zip(self._streams, cells, strict=True)]
        return torch.as_tensor(np.stack(rows)).reshape(law.shape)

    def label(self, requests: Tensor) -> Tensor:
        """Label `requests[s,x,a,b]` comparisons of `a` and `b` at `x`; returns winner counts.

        Raises InputError when a data set would exceed its budget; nothing is answered then.
        """
        asked = requests.sum((-3, -2, -1))
        over = self.labels + asked > self.budget
        if bool(over.any()):
            row = int(over.nonzero()[0])
            raise InputError(
                f"labels asked of data set {row} would be {int(self.labels[row] + asked[row])}; "
                f"the online budget is {self.budget} labels a data set."
            )
        self.labels = self.labels + asked
        cells = requests.nonzero(as_tuple=True)  # in the order of the data sets
        lane, x, a, b = cells
        count = requests[cells]
        chance = self._preference[x, a, b].numpy(force=True)
        ends = torch.bincount(lane, minlength=len(requests)).cumsum(0)[:-1].numpy(force=True)
        rows = zip(np.split(count.numpy(force=True), ends), np.split(chance, ends), strict=True)
        draws = [s.binomial(k, p) for s, (k, p) in zip(self._streams, rows, strict=True)]
        won = torch.as_tensor(np.concatenate(draws))
        wins = torch.zeros_like(requests)
        wins.index_put_(cells, won, accumulate=True)
        wins.index_put_((lane, x, b, a), count - won, accumulate=True)
        return wins

    def criteria(self, pool: int) -> Criteria:
        """`pool` criteria behind the reward, the same for every learner of this access's key."""
        if self._reward is None:
            raise InputError("the online access has no reward, so it cannot score responses.")
        return make_criteria(self._reward, pool, *self._key)

    def assess(
        self,
        context: Tensor,
        action: Tensor,
        criteria: Criteria,
        fixed: bool,
        noise: float,
        asked: Tensor,
    ) -> Tensor:
        """Mean score of single responses over the criteria that matter, or over all (`fixed`), `(S, M)`.

        Each criterion is scored `1 + 4 r` plus normal noise, rounded and kept in 1–5; each score used is
        counted. `asked (S, M)` says which responses are judged; the others score 0.
        """
        pool = criteria.relevant.shape[-1]
        streams = zip(self._streams, asked.sum(-1).tolist(), strict=True)
        draws = torch.as_tensor(np.concatenate([s.normal(0, noise, (k, pool)) for s, k in streams]))
        x, a = context[asked], action[asked]
        scores = (1 + 4 * criteria.reward[x, a] + draws).round().clamp(1, 5)
        used = torch.full(x.shape, pool) if fixed else criteria.relevant[x].sum(-1)
        means = torch.zeros(context.shape, dtype=torch.float64)
        means[asked] = criteria.mean(x, a, scores, fixed)
        spent = torch.zeros(context.shape, dtype=torch.int64)
        spent[asked] = used
        self.scores = self.scores + spent.sum(-1)
        return means

    def judge(
        self,
        context: Tensor,
        action: Tensor,
        criteria: int,
        noise: float,
        asked: Tensor | None = None,
    ) -> Tensor:
        """Scores of single responses on the scale 1–5, one for each of `criteria` criteria.

        `context, action (S, M)`; each score is `1 + 4 r*` plus normal noise, rounded and kept in
        range, `(S, M, criteria)`. `asked (S, M)` says which responses are judged (default: all); the
        others score 0. Each score given is counted. Raises InputError without a reward.
        """
        if self._reward is None:
            raise InputError("the online access has no reward, so it cannot score responses.")
        if asked is None:
            asked = torch.ones_like(context, dtype=torch.bool)
        count = asked.sum(-1)
        self.scores = self.scores + count * criteria
        draws = [
            s.normal(0, noise, (k, criteria))
            for s, k in zip(self._streams, count.tolist(), strict=True)
        ]
        mean = 1 + 4 * self._reward[context[asked], action[asked]].unsqueeze(-1)
        scores = torch.zeros(*context.shape, criteria, dtype=torch.float64)
        scores[asked] = (mean + torch.as_tensor(np.concatenate(draws))).round().clamp(1, 5)
        return scores
