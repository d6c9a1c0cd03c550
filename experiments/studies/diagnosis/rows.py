"""Preference rows as a problem: prompts are contexts, answers their actions, features plain or given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from experiments.common.configuration import Count, Natural, Probability
from llm.data.comparisons import Comparisons
from llm.data.features import read_features
from llm.data.plain import plain_features
from llm.data.projection import Projected, project
from spac_theory import InputError, LearnerView, LinearClass, WinnerCounts
from spac_theory.keys import generator
from spac_theory.learning.needs import featured
from spac_theory.links import BRADLEY_TERRY
from spac_theory.solvers.design import DenseDesign
from spac_theory.solvers.ridge import ridge_fit

RIDGE = 1.0  # of every fit, in units of 1/n: a prior N(0, I) on whitened features
FEWEST_PERMUTATIONS = 19
STANDARD = 2.0  # default norm bound: on whitened features, the standard deviation of rewards within a prompt


@dataclass(frozen=True)
class RowSettings:
    """What is done with preference rows.

    Attributes
    ----------
    dimension : principal axes of the features that are kept
    held_out : share of the prompts whose comparisons are not learned from but predicted
    permutations : label permutations of the test for any signal; 0 for none
    clusters : groups of prompts by their words
    queries : pairs in the file of what to label next
    """

    dimension: Count
    held_out: Probability
    permutations: Natural
    clusters: Count
    queries: Natural

    def __post_init__(self) -> None:
        if 0 < self.permutations < FEWEST_PERMUTATIONS:
            raise InputError(
                f"permutations is {self.permutations}; it must be 0, or at least {FEWEST_PERMUTATIONS}: "
                "fewer cannot give p ≤ 0.05."
            )


@dataclass(frozen=True)
class RowProblem:
    """Preference rows with features `phi (N, d)`, and what a learner is told of them."""

    data: Comparisons
    projected: Projected
    view: LearnerView
    counts: WinnerCounts
    held: Tensor  # (X,) bool: prompts held out

    @property
    def phi(self) -> Tensor:
        """`(N, d)`."""
        return self.projected.features

    @property
    def n(self) -> int:
        """Comparisons."""
        return int(self.counts.n[0])

    @property
    def learned(self) -> Tensor:
        """`(m,)` bool: judgements that are learned from."""
        return ~self.held[self.data.context]

    def differences(self) -> Tensor:
        """`φ(winner) − φ(loser)` of every judgement, `(m, d)`."""
        return rows_of(self.data, self.phi)


def rows_of(data: Comparisons, values: Tensor) -> Tensor:
    """`values (N, …)` of the winner less those of the loser, of every judgement `(m, …)`."""
    first = data.sets.sizes.cumsum(0) - data.sets.sizes
    start = first[data.context]
    return values[start + data.winner] - values[start + data.loser]


def pair_fit(differences: Tensor, weight: Tensor, unit: int) -> Tensor:
    """`θ (d,)` of the ridge fit to judgements alone; see :func:`pair_fits`."""
    return pair_fits(differences, weight[None], torch.zeros_like(weight)[None], unit)[0]


def pair_fits(differences: Tensor, wins: Tensor, losses: Tensor, unit: int) -> Tensor:
    """`θ (S, d)`: each judgement is a context of two actions, `wins` and `losses` `(S, m)` its counts."""
    features = torch.stack([differences, torch.zeros_like(differences)], 1)
    counts = wins.new_zeros(*wins.shape, 2, 2)
    counts[..., 0, 1], counts[..., 1, 0] = wins, losses
    data = WinnerCounts(counts, unit)
    ridge = RIDGE / data.n.to(torch.float64)
    return ridge_fit(DenseDesign(features[None]), data, ridge, BRADLEY_TERRY, 1e-8).theta


def split_prompts(prompts: int, share: float) -> Tensor:
    """`(X,)` bool: a share of the prompts, drawn once and for all, is held out."""
    order = generator("diagnose", "held out", prompts).permutation(prompts)
    held = torch.zeros(prompts, dtype=torch.bool)
    held[torch.from_numpy(order[: min(prompts - 1, max(1, round(share * prompts)))])] = True
    return held


def make_problem(
    data: Comparisons,
    features: str | None,
    options: RowSettings,
    norm_bound: float | None,
    delta: float,
) -> RowProblem:
    """The bounded linear class on projected features.

    `ρ` is uniform on prompts and `π_ref` on their answers; `ν` plays answers as often as they were compared.
    Without a `norm_bound` the class is named by the features alone: whitened, `‖θ‖` is the standard deviation
    of the rewards of a prompt's answers, and at 2 two answers differ by more than 4 (98 % against 2 %) one
    time in six. No label is looked at, so certificates keep their meaning.
    """
    values = plain_features(data) if features is None else read_features(features, data)
    projected = project(values, data.prompt_of, options.dimension)
    sets, counts = data.sets, data.counts()
    contexts = len(data.prompts)
    if contexts < 2:
        raise InputError(
            f"data has 1 prompt ({data.cleaning.words()}); at least two are needed, one to predict."
        )
    view = LearnerView(
        LinearClass(sets.spread(projected.features), norm_bound or STANDARD),
        torch.full((contexts,), 1 / contexts, dtype=torch.float64),
        sets.uniform(),
        recorded(data),
        delta=delta,
    )
    return RowProblem(data, projected, view, counts, split_prompts(contexts, options.held_out))


def recorded(data: Comparisons) -> Tensor:
    """`ν (X, A)`: answers as often as they were compared."""
    wins = data.counts().wins[0].to(torch.float64)
    shown = wins.sum(-1) + wins.sum(-2)
    return shown / shown.sum(-1, keepdim=True)


def wilks_scale(problem: RowProblem, counts: WinnerCounts, curvature: float) -> float:
    """The `scale` with which `pessimistic_mle` has Wilks' radius `√(χ²_{d,1−δ}/(n h))`, `h` the mean `σ′`.

    Its paper's own constant carries `κ ~ e^R`: on features of language that set holds everything.
    """
    cls, delta, n = featured(problem.view), problem.view.delta, float(counts.n[0])
    radius = (float(stats.chi2.ppf(1 - delta, cls.dimension)) / (n * curvature)) ** 0.5
    kappa = problem.view.link.kappa(cls.difference_bound)
    statistical = (cls.dimension - float(torch.tensor(delta).log())) * kappa**2
    return radius / ((statistical + RIDGE * cls.radius**2) / n) ** 0.5


def is_rows(path: str | None, names: dict[str, Any] | None) -> bool:
    """Whether a file holds preferences between texts rather than triples of context, winner and loser."""
    from llm.data.judgements import NAMES
    from llm.data.lines import read_lines

    file = Path(path or "").expanduser()
    if file.suffix not in (".jsonl", ".parquet") or not file.is_file():
        return False
    if file.suffix == ".parquet":
        import polars as pl

        try:
            found = set(pl.read_parquet_schema(file))
        except (pl.exceptions.PolarsError, OSError):
            return False
    else:
        first: Any = next((row for _, row in read_lines("data", file)), {})
        found = set(first) if isinstance(first, dict) else set()
    sides = ("chosen", "rejected", "answers", "answer_a", "answer_b")
    named = set(names or {}) & {"prompt", *sides}
    return bool(named) or bool(found & {n for side in sides for n in NAMES[side]})
