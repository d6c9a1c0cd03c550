"""Whether the features explain the labels: on held-out prompts, against length alone, against chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from experiments.studies.diagnosis.rows import RowProblem, pair_fit, pair_fits, rows_of
from llm.data.plain import lengths
from llm.data.projection import project
from spac_theory.keys import generator
from spac_theory.statistics import Interval, clopper_pearson, difference_interval

LARGEST_TEST = 20_000  # judgements in a permutation test
LANES = 10
BINS = 5


@dataclass(frozen=True)
class Agreement:
    """How often a reward is right on held-out prompts, and what it loses there (`log 2` is a coin's)."""

    right: Interval
    loss: float


@dataclass(frozen=True)
class Bin:
    """Held-out comparisons with like predictions: their mean, and how often it came true."""

    predicted: float
    observed: Interval
    comparisons: int


@dataclass(frozen=True)
class Evidence:
    """What the labels say of the features.

    Attributes
    ----------
    agreement : of each learned reward, of the plain fit and of length alone
    bins : calibration of the plain fit
    beyond_length : right answers of the fit less those of length alone, paired, with its interval
    longer_wins : how often the longer answer won, of all comparisons where one is longer; None of none
    p_value : of the permutation test that features carry no signal; None if it was not run
    """

    agreement: dict[str, Agreement]
    bins: list[Bin]
    beyond_length: Interval
    longer_wins: Interval | None
    p_value: float | None

    @property
    def length_alone(self) -> bool:
        """Whether length predicts the labels, and the features do not predict them better."""
        return self.agreement["length alone"].right.low > 0.5 and not self.beyond_length.low > 0


def agreement(margin: Tensor, weight: Tensor, unit: int) -> Agreement:
    """Of margins winner − loser `(m,)`; a tie's two halves cancel, a margin of 0 is half right."""
    share = weight.to(torch.float64)
    right = float((share * _right(margin)).sum())
    total = float(share.sum()) / unit
    loss = float((share * torch.nn.functional.softplus(-margin)).sum() / share.sum())
    return Agreement(clopper_pearson(round(right / unit), max(1, round(total))), loss)


def _right(margin: Tensor) -> Tensor:
    """1 where the winner is preferred, half where neither is."""
    return (margin.sign() + 1) / 2


def gather_evidence(problem: RowProblem, rewards: dict[str, Tensor], permutations: int) -> Evidence:
    """Fit on the prompts that are learned from, look at those held out; `rewards (N,)` likewise learned."""
    data, learned = problem.data, problem.learned
    rows, length = problem.differences(), _length_rows(problem)
    weight, test = data.weight, ~learned
    margins = {
        "features": rows @ pair_fit(rows[learned], weight[learned], data.unit),
        "length alone": length @ pair_fit(length[learned], weight[learned], data.unit),
        **{name: rows_of(data, reward) for name, reward in rewards.items()},
    }
    found = {name: agreement(m[test], weight[test], data.unit) for name, m in margins.items()}
    right = [_right(margins[name][test]).numpy() for name in ("features", "length alone")]
    longer = length[:, 0] > 0
    decided = length[:, 0] != 0
    return Evidence(
        found,
        calibration(margins["features"][test], weight[test], data.unit),
        difference_interval(right[0], right[1], "diagnose", "length"),
        clopper_pearson(int((longer & decided).sum()), int(decided.sum()))
        if decided.any()
        else None,
        permutation_test(problem, permutations) if permutations else None,
    )


def _length_rows(problem: RowProblem) -> Tensor:
    """Differences in log length, scaled like the features, `(m, 1)`."""
    values = lengths(problem.data.answers)[:, None]
    if float(values.max() - values.min()) == 0:
        return torch.zeros(len(problem.data.context), 1, dtype=torch.float64)
    scaled = project(values, problem.data.prompt_of, 1).features
    sign = torch.sign((rows_of(problem.data, scaled) * rows_of(problem.data, values)).sum())
    return rows_of(problem.data, scaled) * sign


def calibration(margin: Tensor, weight: Tensor, unit: int) -> list[Bin]:
    """Predictions `σ(|margin|)` of the preferred side in bins of as many comparisons each."""
    predicted, hit = margin.abs().sigmoid().numpy(), (margin > 0).numpy()
    order = np.argsort(predicted)
    found = []
    for places in np.array_split(order, min(BINS, max(1, len(order) // 5))):
        share = weight.numpy()[places] / unit
        total = max(1, round(float(share.sum())))
        events = min(total, round(float((share * hit[places]).sum())))
        mean = float((share * predicted[places]).sum() / share.sum())
        found.append(Bin(mean, clopper_pearson(events, total), total))
    return found


def permutation_test(problem: RowProblem, permutations: int) -> float:
    """The share of label flips (a coin a prompt) that fit held-out prompts as well as the labels do.

    Without signal in the features the labels of a prompt may be flipped: `(1 + #{as good}) / (1 + P)`.
    """
    data, rows = problem.data, problem.differences()
    places = torch.arange(len(rows))[:LARGEST_TEST]
    rows, weight, context = rows[places], data.weight[places], data.context[places]
    learned = problem.learned[places]
    if not bool(learned.any()) or bool(learned.all()):
        return 1.0
    rng = generator("diagnose", "permutations", permutations)
    flips = torch.from_numpy(rng.integers(0, 2, (permutations + 1, len(data.prompts)))).bool()
    flips[0] = False
    losses = [
        _flipped_losses(rows, weight, part[:, context], learned, data.unit)
        for part in flips.split(LANES)
    ]
    loss = torch.cat(losses)
    return (1 + int((loss[1:] <= loss[0]).sum())) / (1 + permutations)


def _flipped_losses(
    rows: Tensor, weight: Tensor, flip: Tensor, learned: Tensor, unit: int
) -> Tensor:
    """Held-out loss of the fit to flipped labels, `(S,)`; `flip (S, m)` bool."""
    lost = torch.where(flip, weight, 0)
    theta = pair_fits(rows[learned], (weight - lost)[:, learned], lost[:, learned], unit)
    margin = torch.where(flip[:, ~learned], -1.0, 1.0) * (theta @ rows[~learned].T)
    share = weight[~learned].to(torch.float64)
    return (share * torch.nn.functional.softplus(-margin)).sum(-1) / share.sum()
