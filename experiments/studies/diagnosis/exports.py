"""Files for what comes next: pairs to label, and a certified best-of-K as rows to train on."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from experiments.studies.diagnosis.rows import RowProblem
from spac_theory.bandit.contextual import greedy
from spac_theory.keys import generator

MEMBERS = 8  # posterior samples, whose best answers are the plausible ones
LEAST = 1e-3  # of a row's weight


def disputed_pairs(
    problem: RowProblem, theta: Tensor, covariance: Tensor, queries: int
) -> list[dict[str, Any]]:
    """The pairs to label next: the most uncertain ones among plausible best answers, one a prompt.

    The rule of Sim-OPRL (Pace et al., 2024, arXiv 2406.18450): posterior samples say which answers may be
    best; among those, `Var(r(a) − r(b))` says what a label would teach.
    """
    data, features = problem.data, problem.view.reward_class.features  # type: ignore[attr-defined]
    root = features @ torch.linalg.cholesky(covariance)
    variance = disputed(features @ theta, root, data.sets.real, problem.n)
    score, place = variance.flatten(1).max(-1)
    order = score.argsort(descending=True)[:queries]
    width = data.sets.width
    return [
        {
            "prompt": data.prompts[x],
            "answer_a": _answer(problem, x, int(place[x]) // width),
            "answer_b": _answer(problem, x, int(place[x]) % width),
            "winner": None,
            "standard_deviation": round(float(score[x].sqrt()), 4),
        }
        for x in order.tolist()
        if score[x] > 0
    ]


def disputed(reward: Tensor, root: Tensor, real: Tensor, n: int) -> Tensor:
    """`Var(r(a) − r(b))` of pairs of plausible best actions, −1 of all others, `(X, A, A)`.

    `reward (X, A)` is the posterior's mean and `root (X, A, k)` times its own transpose the covariance of a
    context; `real (X, A)` says which actions there are.
    """
    noise = torch.from_numpy(
        generator("diagnose", "queries", n).normal(size=(MEMBERS, root.shape[-1]))
    )
    samples = reward + torch.einsum("mk,xak->mxa", noise, root)
    best = greedy(samples.masked_fill(~real, -torch.inf)).amax(0) > 0
    covariance = root @ root.transpose(-1, -2)
    own = covariance.diagonal(dim1=-2, dim2=-1)
    variance = (own.unsqueeze(-1) + own.unsqueeze(-2) - 2 * covariance).clamp_min(0)
    allowed = (best.unsqueeze(-1) & best.unsqueeze(-2)).triu(1)
    return torch.where(allowed, variance, -1.0)


def best_of_k(problem: RowProblem, policy: Tensor) -> list[dict[str, Any]]:
    """Rows `prompt, chosen, rejected, weight` of a policy over recorded answers.

    Chosen is the answer it raises most over `ν`, rejected the one it lowers most; the weight is half the
    mass between them, `(π − ν)(chosen) − (π − ν)(rejected)` over 2, in (0, 1]. A prompt where the policy
    stays with `ν` gives no row: the data do not say which answer is better.
    """
    data = problem.data
    shift = policy - problem.view.baseline
    top, chosen = shift.masked_fill(~data.sets.real, -torch.inf).max(-1)
    low, rejected = shift.masked_fill(~data.sets.real, torch.inf).min(-1)
    weight = (top - low) / 2
    return [
        {
            "prompt": data.prompts[x],
            "chosen": _answer(problem, x, int(chosen[x])),
            "rejected": _answer(problem, x, int(rejected[x])),
            "weight": round(float(weight[x]), 6),
        }
        for x in (weight > LEAST).nonzero().flatten().tolist()
    ]


def _answer(problem: RowProblem, x: int, slot: int) -> str:
    return problem.data.answers[int(problem.data.sets.index[x, slot])]


def as_lines(rows: list[dict[str, Any]]) -> str:
    """JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
