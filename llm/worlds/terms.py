"""What the mixture of a run of SPAC-T loses, cut into the terms of theory (T3); exact on a language.

With `G_t(π,r) = L(π,r) + λ_t E_D(r)`, ideal policies `p_t ∝ π_1 exp(η Σ_{s<t} r_s)`, networks `π̂_t` and
critics `r_t`, four differences add up to `J(π*) − J(π̄)`, whatever the critics are:

* statistics: `G_t(π*,r*) − G_t(π*,r_t)`, how much lower than the truth the data let a critic put `π*`;
* regret: `⟨π* − p_t, r_t⟩`, what mirror ascent loses to `π*` under the critics' rewards;
* projection: `⟨p_t − π̂_t, r_t⟩`, what it costs that a network stands for `p_t`;
* critic: `G_t(π̂_t,r_t) − G_t(π̂_t,r*)`, above 0 where the critic's answer is worse than the truth's.

(T3) bounds the first by `κC/λ + λε_n`, the second by `KL(π*‖π_1)/(ηT) + ηR²/8`, the third by `R·TV` and the
last by `ε_t`. All are divided by the language's scale, so that they are values.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from llm.worlds.exact import closed, optimal_policy
from llm.worlds.world import World
from spac_theory.objective import preference_loss

Pairs = tuple[Tensor, Tensor, Tensor]


def _with_worst(reward: Tensor) -> Tensor:
    """A last column for everything outside the language: the worst reward inside, `(X, A+1)`."""
    return torch.cat([reward, reward.min(-1, keepdim=True).values], -1)


def _mean(policy: Tensor, reward: Tensor) -> Tensor:
    return (policy * reward).sum(-1).mean()


class Game:
    """`G_t` on the pairs of a run, with drawn labels or (`law (n, 2)`) with those of the held-out fit."""

    def __init__(self, pairs: Pairs, law: Tensor | None) -> None:
        self.pairs, self.law = pairs, law

    def preference(self, reward: Tensor) -> Tensor:
        """`E_D(r)`."""
        x, a, b = self.pairs
        margin = reward[x, a] - reward[x, b]
        if self.law is None:
            return preference_loss(margin)
        return preference_loss(torch.stack([margin, -margin], -1), self.law).mean()

    def __call__(self, policy: Tensor, reward: Tensor, lam: float) -> Tensor:
        """`L(π,r) + λ E_D(r)`, the data's two answers as baseline."""
        x, a, b = self.pairs
        baseline = (reward[x, a] + reward[x, b]).mean() / 2
        return _mean(policy, reward) - baseline + lam * self.preference(reward)


def targets(start: Tensor, critics: Sequence[Tensor], eta: float) -> list[Tensor]:
    """`p_1, …, p_{T+1}` from `π_1 (X, A+1)` and the rewards `r_1, …, r_T (X, A+1)`."""
    logs = start.clamp_min(1e-300).log()
    found = [logs.softmax(-1)]
    for reward in critics:
        logs = logs + eta * reward
        found.append(logs.softmax(-1))
    return found


def terms(
    language: World,
    networks: Sequence[Tensor],
    critics: Sequence[Tensor],
    lams: Sequence[float],
    eta: float,
    bound: float,
    game: Game,
) -> dict[str, float]:
    """The four terms, from `log π̂_1, …, log π̂_{T+1}` and `r_1, …, r_T`, all `(X, A)`.

    `projection_kl` is `KL(π̂_{T+1}‖p_{T+1})`, `regret_bound` the theorem's for the regret.
    """
    played, rewards = [closed(t) for t in networks], [_with_worst(r) for r in critics]
    truth = _with_worst(language.scale * language.reward)
    best = torch.nn.functional.pad(optimal_policy(language), (0, 1))
    ideal = targets(played[0], rewards, eta)
    rows = [
        (
            game(best, truth, lam) - game(best, r, lam),
            _mean(best - p, r),
            _mean(p - network, r),
            game(network, r, lam) - game(network, truth, lam),
        )
        for network, p, r, lam in zip(played, ideal, rewards, lams, strict=False)
    ]
    means = torch.tensor(rows, dtype=torch.float64).mean(0) / language.scale
    names = ("statistics", "regret", "projection", "critic")
    found = {f"t3_{name}": float(v) for name, v in zip(names, means, strict=True)}
    from_start = _kl(best, played[0]) / (eta * len(rewards)) + eta * bound**2 / 8
    found["t3_regret_bound"] = from_start / language.scale
    found["projection_kl"] = _kl(played[-1], ideal[-1])
    return found


def _kl(p: Tensor, q: Tensor) -> float:
    logs = p.clamp_min(1e-300).log() - q.clamp_min(1e-300).log()
    return float(torch.where(p > 0, p * logs, 0.0).sum(-1).mean())
