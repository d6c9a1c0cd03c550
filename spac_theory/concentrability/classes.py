"""Concentrability (8) for every class: one function for one policy, one for all policies.

| class | `C(π)` | `sup_π C(π)` |
|---|---|---|
| linear, tabular, kernel | closed form, exact for a ball | exact, or an interval |
| finite | enumerated, exact | enumerated, exact |
| network | a lower estimate, by gradient ascent | an interval |
| any | at most that of all functions, :func:`of_all_functions` | at most that of all functions |

`C` needs the true reward, so only the referee and an oracle can know it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import singledispatch

import torch
from torch import Tensor

from spac_theory.checks import InputError
from spac_theory.concentrability.linear import (
    AllPolicy,
    all_policy_concentrability,
    single_policy_concentrability,
)
from spac_theory.objective import tabular_margins
from spac_theory.rewards.base import RewardClass
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.linear import LinearClass, one_hot_features
from spac_theory.rewards.neural import NeuralClass

ZERO = 1e-20
ASCENT_STEPS = 300
POLICIES_TRIED = 8


@dataclass(frozen=True)
class Design:
    """How the data are drawn and what is true: all that (8) needs beside the class and the policy.

    `truth (X, A)` is `r*`, `rho (X,)`, `pairs (X, A, A)` the joint law `μ(a,b|x)`, `baseline (X, A)`.
    """

    truth: Tensor
    rho: Tensor
    pairs: Tensor
    baseline: Tensor


@dataclass(frozen=True)
class Coefficient:
    """A concentrability and what it is: "exact", "upper bound" or "lower estimate"."""

    value: float
    kind: str


def seen(difference: Tensor, design: Design) -> Tensor:
    """`E_{x,(a,b)~μ}[(Δ_r − Δ_{r*})²]` of `r − r*`: `(..., X, A) -> (...)`."""
    weight = design.rho[:, None, None] * design.pairs
    return (weight * tabular_margins(difference) ** 2).sum((-3, -2, -1))


def claimed(difference: Tensor, design: Design, policy: Tensor) -> Tensor:
    """`E_{x,a~π,b~ν}[Δ_r − Δ_{r*}]` of `r − r*`: `(..., X, A) -> (...)`."""
    weight = design.rho[:, None] * (policy - design.baseline)
    return (weight * difference).sum((-2, -1))


def ratio(claim: Tensor, look: Tensor, scale: Tensor) -> Tensor:
    """`claim² / look` with 0/0 = 0 and c/0 = ∞; below `ZERO · scale²` a number counts as 0."""
    none = look <= ZERO * scale**2
    void = claim**2 <= ZERO * scale**2
    value = claim**2 / look.clamp_min(1e-300)
    return torch.where(void, 0.0, torch.where(none, torch.inf, value))


def _scale(difference: Tensor) -> Tensor:
    return (difference.amax(-1) - difference.amin(-1)).amax(-1).clamp_min(1e-300)


def of_all_functions(design: Design, policy: Tensor) -> Coefficient:
    """`C(π)` of the class of all functions on these contexts and actions.

    No class has a larger one, because (8) is a supremum over the class: a true upper bound for
    networks, and `χ²(π‖μ)/2` when `ν = μ`.
    """
    features = one_hot_features(*policy.shape)
    value = single_policy_concentrability(
        features, design.rho, design.pairs, policy, design.baseline
    )
    return Coefficient(float(value), "upper bound")


@singledispatch
def concentrability_of(cls: RewardClass, design: Design, policy: Tensor) -> Coefficient:
    """`C(π)` of one policy `(X, A)`; a class of one's own registers its method, else InputError."""
    raise InputError(
        f"reward_class is {type(cls).__name__}, which has no concentrability; register a function "
        "with @concentrability_of.register."
    )


@concentrability_of.register
def _(cls: LinearClass, design: Design, policy: Tensor) -> Coefficient:
    value = single_policy_concentrability(
        cls.features, design.rho, design.pairs, policy, design.baseline
    )
    return Coefficient(float(value), "exact" if cls.reward_range is None else "upper bound")


@concentrability_of.register
def _(cls: FiniteClass, design: Design, policy: Tensor) -> Coefficient:
    difference = cls.members - design.truth
    claim = claimed(difference, design, policy)
    value = ratio(claim, seen(difference, design), _scale(difference)).max()
    return Coefficient(float(value), "exact")


@concentrability_of.register
def _(cls: NeuralClass, design: Design, policy: Tensor) -> Coefficient:
    """Adam on the log of the ratio, from every start; the truth need not be a network."""
    weights = [w.requires_grad_(True) for w in cls.initial(1)]
    optimiser = torch.optim.Adam(weights, lr=cls.learning_rate)
    best = 0.0
    for _ in range(ASCENT_STEPS):
        optimiser.zero_grad()
        difference = cls.forward(weights) - design.truth
        claim, look = claimed(difference, design, policy), seen(difference, design)
        found = ratio(claim, look, _scale(difference)).detach().max()
        best = max(best, float(found))
        if math.isinf(best):
            break
        (-(claim**2 + 1e-30).log() + (look + 1e-30).log()).sum().backward()
        optimiser.step()
        cls.project(weights)
    return Coefficient(best, "lower estimate")


@singledispatch
def all_policies_of(cls: RewardClass, design: Design) -> AllPolicy:
    """`sup_π C(π)` as an interval, for a class without a method of its own.

    The lower end is the largest `C(π)` of a few random deterministic policies, the upper end that of all
    functions.
    """
    contexts, actions = design.truth.shape
    rng = torch.Generator().manual_seed(0)
    best = 0.0
    for _ in range(POLICIES_TRIED):
        choice = torch.randint(actions, (contexts,), generator=rng)
        policy = torch.nn.functional.one_hot(choice, actions).to(torch.float64)
        best = max(best, concentrability_of(cls, design, policy).value)
    features = one_hot_features(contexts, actions)
    every = all_policy_concentrability(features, design.rho, design.pairs, design.baseline)
    return AllPolicy(best, every.upper)


@all_policies_of.register
def _(cls: LinearClass, design: Design) -> AllPolicy:
    return all_policy_concentrability(cls.features, design.rho, design.pairs, design.baseline)


@all_policies_of.register
def _(cls: FiniteClass, design: Design) -> AllPolicy:
    """For each member the best policy plays the largest or the smallest `r − r*` everywhere."""
    difference = cls.members - design.truth
    centred = difference - (design.baseline * difference).sum(-1, keepdim=True)
    most = (design.rho * centred.amax(-1)).sum(-1)
    least = (design.rho * centred.amin(-1)).sum(-1)
    claim = torch.maximum(most, -least)
    value = float(ratio(claim, seen(difference, design), _scale(difference)).max())
    return AllPolicy(value, value)
