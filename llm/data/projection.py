"""Features reduced by a stated projection: what tells the answers of one prompt apart, whitened.

Preferences see differences between answers of a prompt alone, so each prompt's mean is taken away first: no
intercept is left. The principal axes of the rest are kept, in order, and scaled to variance 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy import linalg
from torch import Tensor

from spac_theory import checks
from spac_theory.checks import InputError

LONGEST = 4.0  # a row longer than this many √d is shortened to it: bounded features have finite L_φ
SMALLEST = 1e-9  # an axis with less of the largest axis's variance is rounding
CHUNK = 4096


@dataclass(frozen=True)
class Projected:
    """`features (N, d)` float64, the share of within-prompt variance kept, and rows that were shortened."""

    features: Tensor
    kept: float
    shortened: int


def within_prompts(values: Tensor, groups: Tensor) -> Tensor:
    """`values (N, D)` less the mean of each group; `groups (N,)` in `0 … X−1`."""
    sizes = torch.bincount(groups).to(torch.float64)
    total = torch.zeros(len(sizes), values.shape[1], dtype=torch.float64)
    total.index_add_(0, groups, values.to(torch.float64))
    return values - (total / sizes[:, None])[groups]


def project(values: Tensor, groups: Tensor, dimension: int) -> Projected:
    """The `dimension` principal axes of within-prompt deviations, whitened; fewer where rank ends.

    Raises InputError for NaN, and where all answers of every prompt have the same features.
    """
    checks.integer("dimension", dimension, low=1)
    checks.finite("features", values)
    centred = within_prompts(values, groups)
    covariance = sum((part.T @ part for part in centred.split(CHUNK)), torch.zeros(())) / len(
        values
    )
    # LAPACK's evr: the divide and conquer behind torch fails on some matrices of very low rank
    variance, axes = map(torch.from_numpy, linalg.eigh(covariance.numpy(), driver="evr"))
    variance, axes = variance.flip(0).clamp_min(0), axes.flip(1)
    rank = int((variance > SMALLEST * variance[0]).sum()) if variance[0] > 0 else 0
    if rank == 0:
        raise InputError(
            "features are the same for all answers of every prompt; they tell nothing apart, so give others."
        )
    d = min(dimension, rank)
    rows = centred @ (axes[:, :d] / variance[:d].sqrt())
    length, longest = rows.norm(dim=-1, keepdim=True), LONGEST * d**0.5
    rows = rows * (longest / length.clamp_min(longest))
    kept = float(variance[:d].sum() / variance.sum())
    return Projected(rows, kept, int((length > longest).sum()))
