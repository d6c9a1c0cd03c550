"""Exact evaluation of a policy on a language: value, suboptimality, KL, coverage, `log π(y⁺)`.

A network may also put mass on texts outside the language (wrong length, a stray word). That mass is
counted, as the response "anything else" with the reward of the worst response: values stay exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from llm.worlds.trie import levels_of, tree_logps
from llm.worlds.world import World


def policy_table(model: Any, prompts: list[list[int]], responses: list[list[int]]) -> Tensor:
    """`log π(y|x)` of every response at every prompt, `(X, A)` float64, by a pass over their tree."""
    was_training, levels = model.training, levels_of(responses)
    model.eval()
    rows = [tree_logps(model, prompt, levels, len(responses)) for prompt in prompts]
    model.train(was_training)
    return torch.stack(rows)


def closed(logps: Tensor) -> Tensor:
    """Probabilities with the mass outside the language as a last column: `(X, A) -> (X, A+1)`."""
    inside = logps.exp()
    return torch.cat([inside, (1 - inside.sum(-1, keepdim=True)).clamp_min(0)], -1)


def value(language: World, logps: Tensor) -> float:
    """`J(π) = E_x Σ_y π(y|x) r*(x,y)`, prompts uniform."""
    return table_value(language, closed(logps))


def table_value(language: World, policy: Tensor) -> float:
    """`J` of probabilities `(X, A)`, or `(X, A+1)` with the mass outside the language last."""
    reward = language.reward
    if policy.shape[-1] > reward.shape[-1]:
        worst = reward.min().expand(len(reward), 1)
        reward = torch.cat([reward, worst], -1)
    return float((policy * reward).sum(-1).mean())


def optimal_policy(language: World) -> Tensor:
    """`π*`, uniform among the best responses (the best-covered optimal policy under `μ`)."""
    best = language.reward == language.reward.max(-1, keepdim=True).values
    return best.double() / best.sum(-1, keepdim=True)


def concentrability(language: World, policy: Tensor) -> float:
    """Tabular single-policy concentrability, theory (8) with `ν = μ`: `E_x χ²(π‖μ) / 2`."""
    mu = language.behaviour
    return float((((policy - mu) ** 2 / mu).sum(-1) / 2).mean())


def kl(logps: Tensor, reference: Tensor) -> float:
    """`E_x KL(π ‖ π_ref)` over the responses and the one event "anything else"."""
    p, q = closed(logps), closed(reference)
    terms = torch.where(p > 0, p * (p.clamp_min(1e-300) / q.clamp_min(1e-300)).log(), 0.0)
    return float(terms.sum(-1).mean())


def report(
    language: World, logps: Tensor, reference: Tensor, pairs: tuple[Tensor, Tensor, Tensor]
) -> dict[str, float]:
    """Everything the table shows, from `log π` and `log π_ref` `(X, A)` and the training pairs."""
    x, chosen, rejected = pairs
    j = value(language, logps)
    policy = closed(logps)
    found = {
        "value": j,
        "suboptimality": float(language.reward.max(-1).values.mean()) - j,
        "kl": kl(logps, reference),
        "logp_chosen": float(logps[x, chosen].mean()),
        "logp_rejected": float(logps[x, rejected].mean()),
        "outside": float(policy[:, -1].mean()),
        "best": float((policy[:, :-1] * optimal_policy(language).gt(0)).sum(-1).mean()),
        "concentrability_optimal": concentrability(language, optimal_policy(language)),
    }
    if language.trap is not None:
        found["misled"] = float((policy[:, :-1] * language.trap).sum(-1).mean())
    return found
