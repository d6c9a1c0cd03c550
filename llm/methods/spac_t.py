"""SPAC-T, theory (4)–(5): a bounded network answers every policy, and a network follows its rewards."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from llm.methods import METHODS, Batch, Conditions, CriticSettings, Following, Metrics, Stream, data
from spac_theory.checks import choice, integer, number
from spac_theory.objective import game_value, preference_loss, relative_value

DUAL_STEP = 0.5  # of λ's logarithm, at twice the radius


@METHODS.register("spac_t")
@dataclass(frozen=True)
class SpacT(Following):
    """`r_t` minimises `L(π_t, r) + λ E_D(r)`; `π_{t+1}` is the network nearest `π_1 exp(η Σ_{s≤t} r_s)`.

    The projection regresses the differences of `log π/π_1` between own responses on those of
    `η Σ r_s`: half its loss is, near its end, the reverse KL of theory (T3).

    Attributes
    ----------
    lam : "sqrt_n", a number, or "dual", which raises and lowers `λ` until `KL(r̂‖r_t)` is `radius`
    eta : the step `η > 0`
    labels : "softened", theory (11): the law of labels of the held-out fit `r̂`; "raw": the labels
    network : the critic's: "whole" or "head"
    radius : of "dual", in nats a pair
    samples : own responses a prompt and round, at least 2
    bound, folds, fit_epochs, fit_decay, critic_epochs, critic_decay, critic_rate : the critic's,
        see :class:`llm.methods.CriticSettings`
    """

    network: str = "whole"
    lam: str | float = "sqrt_n"
    eta: float = 1.0
    labels: str = "softened"
    radius: float = 0.01
    samples: int = 4
    bound: float = 2.0
    folds: int = 5
    fit_epochs: float = 12.0
    fit_decay: float = 1.0
    critic_epochs: float = 10.0
    critic_decay: float = 0.0
    critic_rate: float = 3.0e-3

    def __post_init__(self) -> None:
        if isinstance(self.lam, str):
            choice("lam", self.lam, ("sqrt_n", "dual"))
        else:
            number("lam", self.lam, low=0)
        choice("labels", self.labels, ("softened", "raw"))
        choice("network", self.network, ("whole", "head"))
        integer("samples", self.samples, low=2)
        integer("folds", self.folds, low=2)
        for name in ("eta", "radius", "bound", "fit_epochs", "critic_epochs", "critic_rate"):
            number(name, getattr(self, name), low=0, open_low=True)
        for name in ("fit_decay", "critic_decay"):
            number(name, getattr(self, name), low=0)

    def skip(self, conditions: Conditions) -> str | None:
        """The best weights of a fit are kept by one process."""
        return "its critic is not trained with sharded weights" if conditions.sharded else None

    def streams(self) -> tuple[Stream, ...]:
        """The data's two, for the critic, and own responses with the critics' rewards."""
        own = Stream("own", self.samples, anchors=("initial",), labels="critic")
        return (*data(), own)

    def critic(self) -> CriticSettings:
        """The critic's settings."""
        return CriticSettings(
            self.network,
            self.bound,
            self.folds,
            self.fit_epochs,
            self.fit_decay,
            self.critic_epochs,
            self.critic_decay,
            self.critic_rate,
        )

    @property
    def step(self) -> float:
        """`η`."""
        return self.eta

    @property
    def softened(self) -> bool:
        """Whether labels are those of the fit."""
        return self.labels == "softened"

    def first_lam(self, n: int) -> float:
        """`√n`, or the number given."""
        return math.sqrt(n) if isinstance(self.lam, str) else self.lam

    def next_lam(self, lam: float, distance: float) -> float:
        """Dual ascent on `log λ`; unchanged unless `lam` is "dual"."""
        if self.lam != "dual":
            return lam
        return lam * math.exp(DUAL_STEP * min(1.0, distance / self.radius - 1))

    def critic_loss(self, rewards: Batch, lam: float) -> tuple[Tensor, Metrics]:
        """`(L + λ E_D) / (1 + λ)`, theory (4) with raw labels or (11); without own responses, `E_D`."""
        chosen, rejected = (rewards.logp[name][:, 0] for name in ("chosen", "rejected"))
        margin = chosen - rejected
        preference = preference_loss(margin)
        if self.labels == "softened" and "chosen" in rewards.score:
            fit = rewards.score["chosen"][:, 0] - rewards.score["rejected"][:, 0]
            law = torch.sigmoid(torch.stack([fit, -fit], -1))
            preference = preference_loss(torch.stack([margin, -margin], -1), law).mean()
        if "own" not in rewards.logp:
            return preference, {"critic/preference": preference}
        own = rewards.expect("own", rewards.logp["own"])
        relative = relative_value(own, torch.cat([chosen, rejected]))
        loss = game_value(relative, preference, lam) / (1 + lam)
        return loss, {"critic/preference": preference, "critic/relative": relative}

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The spread of `log π/π_1 − η Σ r_s` over pairs of own responses."""
        residual = batch.ratio("own", "initial") - self.eta * batch.score["own"]
        # E (a − a')² over two independent draws is 2 Var(a); over K draws K/(K−1) undoes the diagonal.
        mean = batch.expect("own", residual)
        spread = batch.expect("own", (residual - mean.unsqueeze(-1)).square())
        draws = residual.shape[-1]
        variance = spread.mean() * (1.0 if "own" in batch.weight else draws / (draws - 1))
        metrics = {
            "spac_t/projection": variance / 2,
            "spac_t/reward": batch.expect("own", batch.score["own"]).mean(),
            "logps/selfplay": batch.expect("own", batch.logp["own"]).mean(),
        }
        return variance, metrics
