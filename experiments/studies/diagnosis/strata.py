"""Where the data speak for a policy: by source, by length, by what prompts are about."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.studies.diagnosis.rows import RowProblem
from llm.data.comparisons import plain_text
from llm.data.plain import WORD
from spac_theory.keys import generator

FEWEST = 20  # prompts a group must have to be shown
WORDS_SHOWN, MOST_WORDS = 3, 400


@dataclass(frozen=True)
class Stratum:
    """A group of prompts.

    Attributes
    ----------
    kind, name : what the group is
    prompts, comparisons : its size
    regularised : `C_γ` of the policy that plays `π` in the group and nothing elsewhere, `ρ` within it
    spread : one standard deviation of the fitted advantage `E_group[r(π) − r(ν)]`
    advantage : the fitted advantage itself
    unseen : mass of `π` on answers that nobody compared
    example : a prompt of the group
    """

    kind: str
    name: str
    prompts: int
    comparisons: int
    regularised: float
    spread: float
    advantage: float
    unseen: float
    example: str

    @property
    def blind(self) -> bool:
        """Whether the data do not tell if the policy is better than `ν` here."""
        return self.spread > 0 and self.advantage < 2 * self.spread


def strata(problem: RowProblem, policy: Tensor, theta: Tensor, clusters: int) -> list[Stratum]:
    """Every group of at least `FEWEST` prompts (a tenth of few prompts), the least covered first."""
    groups = {
        "source": [source or "(none)" for source in problem.data.sources],
        "answer length": by_length(problem),
        "prompts about": by_words(problem, clusters),
    }
    covariance = posterior(problem, theta)
    fewest = min(FEWEST, max(2, len(problem.data.prompts) // 10))
    found = [
        describe(problem, policy, theta, covariance, kind, name, names)
        for kind, names in groups.items()
        if len(set(names)) > 1
        for name, size in Counter(names).items()
        if size >= fewest
    ]
    return sorted(found, key=lambda s: -s.regularised)


def posterior(problem: RowProblem, theta: Tensor) -> Tensor:
    """`(n ∇²E_D + I)^{-1}`, the covariance of `θ` under the prior `N(0, I)`, `(d, d)`."""
    rows, data = problem.differences(), problem.data
    margin = rows @ theta
    bend = data.weight / data.unit * margin.sigmoid() * (-margin).sigmoid()
    one = torch.eye(rows.shape[1], dtype=torch.float64)
    return torch.cholesky_inverse(torch.linalg.cholesky(rows.T @ (bend[:, None] * rows) + one))


def describe(
    problem: RowProblem,
    policy: Tensor,
    theta: Tensor,
    covariance: Tensor,
    kind: str,
    name: str,
    names: list[str],
) -> Stratum:
    """What the data say of the policy in one group."""
    data, rows = problem.data, problem.differences()
    inside = torch.tensor([n == name for n in names])
    shift = (policy - problem.view.baseline)[inside]
    features = problem.view.reward_class.features[inside]  # type: ignore[attr-defined]
    direction = torch.einsum("xa,xad->d", shift, features) / int(inside.sum())
    one = torch.eye(len(direction), dtype=torch.float64)
    weight = data.weight / data.unit / problem.n
    sigma = rows.T @ (weight[:, None] * rows) + one / problem.n
    unseen = problem.counts.compared[0, inside].sum(-1) == 0
    first = int(inside.nonzero()[0])
    return Stratum(
        kind,
        name,
        int(inside.sum()),
        round(float(data.weight[inside[data.context]].sum()) / data.unit),
        float(direction @ torch.linalg.solve(sigma, direction)),
        float((direction @ covariance @ direction).sqrt()),
        float(direction @ theta),
        float((policy[inside] * unseen).sum() / inside.sum()),
        plain_text(data.prompts[first])[:80].replace("\n", " "),
    )


def by_length(problem: RowProblem) -> list[str]:
    """Quartiles of the longest answer of each prompt, in words."""
    sizes = torch.tensor([float(len(WORD.findall(a))) for a in problem.data.answers])
    longest = problem.data.sets.spread(sizes).amax(-1)
    edges = sorted({int(q) for q in torch.quantile(longest, torch.tensor([0.25, 0.5, 0.75]))})
    places = torch.bucketize(longest, torch.tensor([float(e) for e in edges]))
    bounds = ["0", *(str(e + 1) for e in edges)]
    ends = [*(str(e) for e in edges), "∞"]
    return [f"{bounds[i]}–{ends[i]} words" for i in places.tolist()]


def by_words(problem: RowProblem, clusters: int) -> list[str]:
    """Groups of prompts by their words (spherical k-means), named by the words that mark each group."""
    bags = [set(WORD.findall(plain_text(p).lower())) for p in problem.data.prompts]
    common = Counter(word for bag in bags for word in bag)
    frequent = [w for w, c in common.most_common(MOST_WORDS) if 2 <= c <= 0.5 * len(bags) + 1]
    if len(frequent) < 2 or clusters < 2:
        return ["all"] * len(bags)
    place = {word: i for i, word in enumerate(frequent)}
    rows = torch.zeros(len(bags), len(frequent), dtype=torch.float32)
    for row, bag in zip(rows, bags, strict=True):
        row[[place[word] for word in bag if word in place]] = 1
    rows *= (len(bags) / rows.sum(0)).log1p()
    rows /= rows.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    labels = _spherical_means(rows, min(clusters, len(bags)))
    overall = rows.mean(0)
    marks = {
        int(k): ", ".join(frequent[i] for i in (rows[labels == k].mean(0) - overall).topk(
            min(WORDS_SHOWN, len(frequent))).indices.tolist())
        for k in labels.unique()
    }  # fmt: skip
    return [marks[k] for k in labels.tolist()]


def _spherical_means(rows: Tensor, clusters: int) -> Tensor:
    """Labels `(X,)`; the start spreads centres by distance (Arthur and Vassilvitskii, 2007)."""
    rng = generator("diagnose", "clusters", len(rows), clusters)
    centres = rows[int(rng.integers(len(rows)))][None]
    while len(centres) < clusters:
        far = (1 - (rows @ centres.T).amax(-1)).clamp_min(0).double()
        if float(far.sum()) < 1e-9:
            break
        pick = rng.choice(len(rows), p=(far / far.sum()).numpy())
        centres = torch.cat([centres, rows[int(pick)][None]])
    labels = torch.zeros(len(rows), dtype=torch.int64)
    for _ in range(20):
        labels = (rows @ centres.T).argmax(-1)
        total = torch.zeros_like(centres).index_add_(0, labels, rows)
        centres = torch.where(total.norm(dim=-1, keepdim=True) > 0, total, centres)
        centres = centres / centres.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    return labels
