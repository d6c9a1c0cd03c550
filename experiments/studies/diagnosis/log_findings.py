"""What a log of contexts and actions says of the policies learned from it, context by context."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.studies.diagnosis.exports import disputed
from experiments.studies.diagnosis.logs import Log
from experiments.studies.diagnosis.verdicts import Stand
from spac_theory import LearnerView, LinearClass, make_algorithm
from spac_theory.learning.diagnosis import (
    ContextReport,
    PolicyReport,
    contexts_report,
    policies_report,
)

BASELINE = "baseline ν"


@dataclass(frozen=True)
class LogFindings:
    """Everything that was found out about a log.

    Attributes
    ----------
    policies, reports : `(X, A)` by label, the baseline's first, and what the data say of each
    stand : the learned ones, and which to use
    contexts : how the comparisons of each context hang together
    reward : `(X, A)`, the likeliest reward
    root : `(X, A, k)`, whose product with itself is the posterior covariance of a context's rewards
    """

    log: Log
    view: LearnerView
    policies: dict[str, Tensor]
    reports: dict[str, PolicyReport]
    stand: Stand
    contexts: list[ContextReport]
    reward: Tensor
    root: Tensor

    @property
    def shift(self) -> Tensor:
        """`π − ν` of the policy to use, `(X, A)`."""
        return self.policies[self.stand.best] - self.view.baseline

    @property
    def advantage(self) -> Tensor:
        """`E_x[r(π) − r(ν)]` of the fit, `(X,)`."""
        return (self.shift * self.reward).sum(-1)

    @property
    def spread(self) -> Tensor:
        """One posterior standard deviation of :attr:`advantage`, `(X,)`."""
        return torch.einsum("xa,xak->xk", self.shift, self.root).norm(dim=-1)

    @property
    def blind(self) -> Tensor:
        """`(X,)` bool: whether the data do not tell if the policy is better than `ν` there."""
        return (self.spread > 1e-9) & (self.advantage < 2 * self.spread)

    def queries(self, most: int) -> list[tuple[int, int, int, float]]:
        """`(x, a, b, standard deviation of r(a) − r(b))`: plausible best actions, widest first."""
        real = torch.ones_like(self.reward, dtype=torch.bool)
        variance = disputed(self.reward, self.root, real, self.stand.n)
        order = variance.flatten().argsort(descending=True)[:most]
        width = variance.shape[-1]
        return [
            (i // width**2, i // width % width, i % width, float(variance.flatten()[i]) ** 0.5)
            for i in order.tolist()
            if variance.flatten()[i] > 0
        ]


def log_findings(
    view: LearnerView, log: Log, policies: dict[str, Tensor], lams: dict[str, float | None]
) -> LogFindings:
    """Everything that is said of a log; `policies` without the baseline, `lams` of the same labels."""
    both = {BASELINE: view.baseline, **policies}
    reports = policies_report(view, log.counts, both)
    reward = likeliest(view, log)
    gains = {
        label: float((view.rho[:, None] * (policy - view.baseline) * reward).sum())
        for label, policy in both.items()
    }
    learned = {label: reports[label] for label in policies}
    return LogFindings(
        log,
        view,
        both,
        reports,
        Stand(int(log.counts.n[0]), learned, gains, lams),
        contexts_report(log.counts),
        reward,
        posterior_root(view, log, reward),
    )


def likeliest(view: LearnerView, log: Log) -> Tensor:
    """`(X, A)`: the ridge fit, cut to the range of the class."""
    found = make_algorithm("mle_greedy").fit(view, log.counts, None).reward
    assert found is not None
    given = getattr(view.reward_class, "reward_range", None)
    return found[0] if given is None else found[0].clamp(*given)


def posterior_root(view: LearnerView, log: Log, reward: Tensor) -> Tensor:
    """`(X, A, k)` as in :class:`LogFindings`: the Hessian of the log-likelihood and a prior `N(0, I)`.

    A table is treated context by context, features through their `d` directions.
    """
    cls = view.reward_class
    assert isinstance(cls, LinearClass)
    margin = reward.unsqueeze(-1) - reward.unsqueeze(-2)
    bend = margin.sigmoid() * (-margin).sigmoid() * log.counts.compared[0] / log.counts.unit
    hessian = torch.diag_embed(bend.sum(-1)) - bend
    if cls.tabular:
        one = torch.eye(hessian.shape[-1], dtype=torch.float64)
        return torch.linalg.cholesky(torch.linalg.inv(hessian + one))
    features = cls.features
    whole = torch.einsum("xad,xab,xbe->de", features, hessian, features)
    one = torch.eye(features.shape[-1], dtype=torch.float64)
    return features @ torch.linalg.cholesky(torch.linalg.inv(whole + one))
