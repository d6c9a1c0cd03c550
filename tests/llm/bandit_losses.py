"""The losses of the bandit algorithms on tables, from the functions of `spac_theory` and exact sums."""

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import LearnerView
from spac_theory.algorithms.chi_po import chi_po_margins, smooth_clip
from spac_theory.algorithms.sapo import segment_kernel
from spac_theory.algorithms.spac_practical import selfplay_pairs
from spac_theory.bandit.contextual import greedy
from spac_theory.learning.preference_game import win_rate
from spac_theory.objective import preference_loss, tabular_margins, tabular_preference_loss
from spac_theory.rewards.linear import tabular_class

ALL = (-3, -2, -1)


@dataclass
class Tables:
    """`log π (X, A)`, the frozen policies' and the judge's tables, and the data as win fractions."""

    logp: Tensor
    anchor: dict[str, Tensor]
    score: Tensor
    wins: Tensor

    @property
    def rho(self) -> Tensor:
        return self.wins.sum((-1, -2))

    @property
    def preference(self) -> Tensor:
        """`P(a ≻ b|x)` of the judge."""
        return torch.sigmoid(tabular_margins(self.score))

    def ratio(self, anchor: str) -> Tensor:
        return self.logp - self.anchor[anchor]


def dpo(beta, tables, anchor="initial"):
    return preference_loss(beta * tabular_margins(tables.ratio(anchor)), tables.wins, ALL)


def spac_practical(algorithm, tables):
    s = algorithm.beta * tables.ratio("current")
    pairs = selfplay_pairs(tables.wins[None], tables.anchor["current"].exp()[None], "both")[0]
    critic = algorithm.w * tabular_preference_loss(s, pairs)
    return critic + algorithm.scale * tabular_preference_loss(s, tables.wins)


def ipo(algorithm, tables):
    margins = tabular_margins(tables.ratio("initial"))
    return (tables.wins * (margins - 1 / (2 * algorithm.tau)).square()).sum()


def rpo(algorithm, tables):
    supervised = (tables.wins.sum(-1) * tables.logp).sum()
    return dpo(algorithm.beta, tables) - algorithm.beta / algorithm.scale * supervised


def simpo(algorithm, tables):
    margins = algorithm.beta * tabular_margins(tables.logp) - algorithm.ratio * algorithm.beta
    return preference_loss(margins, tables.wins, ALL)


def chi_po(algorithm, tables):
    margins = chi_po_margins(tables.ratio("initial"), algorithm.beta)
    return preference_loss(smooth_clip(margins, 2 * WIDE), tables.wins, ALL)


WIDE = 60.0  # χPO's range of rewards here: no margin comes near its rounded corners


def hypo(algorithm, tables):
    divergence = (tables.logp.exp() * tables.ratio("initial")).sum(-1)
    return dpo(algorithm.beta, tables) + algorithm.lam * (tables.rho * divergence).sum()


def rebel(algorithm, tables):
    pi = tables.anchor["current"].exp()
    reward = tables.score - algorithm.kl * (tables.anchor["current"] - tables.anchor["initial"])
    residual = tabular_margins(tables.ratio("current") - algorithm.eta * reward)
    pairs = tables.rho[:, None, None] * pi.unsqueeze(-1) * pi.unsqueeze(-2)
    return (pairs * residual.square()).sum()


def own_pairs(tables, second):
    """The law `(X, A, A)` of an own response against one of `second`, no gradient through who was drawn."""
    own = tables.logp.detach().exp()
    return tables.rho[:, None, None] * own.unsqueeze(-1) * second.unsqueeze(-2)


def judged(tables, pairs):
    """The law of (winner, loser) when `pairs` are judged by `σ` of score differences."""
    won = pairs * tables.preference
    return won + (pairs - won).transpose(-1, -2)


def online_dpo(algorithm, tables):
    wins = judged(tables, own_pairs(tables, tables.anchor["initial"].exp()))
    return preference_loss(algorithm.beta * tabular_margins(tables.ratio("initial")), wins, ALL)


def xpo(algorithm, tables):
    pairs = own_pairs(tables, tables.anchor["initial"].exp())
    optimism = algorithm.alpha * pairs.sum(-2) * tables.logp
    return online_dpo(algorithm, tables) + optimism.sum()


def sail(algorithm, tables):
    """The value of the mixture, with the gradient that the algorithm itself computes."""
    base = tables.anchor["initial"].exp()
    view = LearnerView(tabular_class(*base.shape, reward_range=(0, 1)), tables.rho, base, base)
    ratio, hard = tables.ratio("initial"), (tables.preference - 0.5).sign() / 2 + 0.5
    args = (view, ratio.detach()[None], tables.wins[None], hard[None])
    law = algorithm.law(*args)[0].detach()
    losses = -torch.nn.functional.logsigmoid(algorithm.beta * tabular_margins(ratio.detach()))
    squared = {"ddp": algorithm.rho, "dpp": algorithm.pi, "dpr": 0.0}[algorithm.variant] / 2
    mine = (law * (losses - squared * losses.square())).sum()
    offline = (tables.wins * losses).sum()
    value = (1 - algorithm.share) * offline + algorithm.share * mine
    linear = (algorithm.gradient(*args)[0].detach() * ratio).sum()
    return value + linear - linear.detach()


def sppo(algorithm, tables):
    pi = tables.anchor["current"].exp()
    rate = win_rate(tables.preference, pi)
    error = tables.ratio("current") - algorithm.eta * (rate - 0.5)
    return (tables.rho[:, None] * pi * error.square()).sum()


def mpo(algorithm, tables):
    pi = tables.anchor["current"].exp()
    rate = win_rate(tables.preference, pi)
    pull = algorithm.alpha * algorithm.eta
    magnet = tabular_margins(tables.anchor["magnet"] - tables.anchor["current"])
    residual = (1 + pull) * tabular_margins(tables.ratio("current"))
    residual = residual - algorithm.eta * tabular_margins(rate) - pull * magnet
    pairs = tables.rho[:, None, None] * pi.unsqueeze(-1) * pi.unsqueeze(-2)
    return (pairs * residual.square()).sum()


def nash_md(algorithm, tables):
    pull = algorithm.eta * algorithm.tau
    base = tables.anchor["initial"]
    rival = ((1 - pull) * tables.logp.detach() + pull * base).softmax(-1)
    won = tables.logp.exp() * win_rate(tables.preference, rival)
    divergence = tables.logp.exp() * tables.ratio("initial")
    return (tables.rho[:, None] * (algorithm.tau * divergence - won)).sum()


def sapo(algorithm, tables):
    """Winners against themselves rewritten by the slow copy, as it is (no temperature, no nucleus)."""
    kernel = segment_kernel(tables.anchor["ema"].exp(), tables.logp.shape[-1], algorithm.segment)
    pairs = tables.wins.sum(-1, keepdim=True) * kernel
    return tabular_preference_loss(algorithm.beta * tables.ratio("opponent"), pairs)


def behaviour_cloning(algorithm, tables):
    return -(tables.wins.sum(-1) * tables.logp).sum()


def sim_oprl(algorithm, tables):
    """Maximum likelihood of the algorithm's answer, greedy in the lower bound (`score`)."""
    return -(tables.rho[:, None] * greedy(tables.score) * tables.logp).sum()


LOSSES = {
    "sim_oprl": sim_oprl,
    "behaviour_cloning": behaviour_cloning,
    "sapo": sapo,
    "online_dpo": online_dpo,
    "xpo": xpo,
    "sail": sail,
    "sppo": sppo,
    "mpo": mpo,
    "nash_md": nash_md,
    "spac_practical": spac_practical,
    "ipo": ipo,
    "rpo": rpo,
    "simpo": simpo,
    "chi_po": chi_po,
    "hypo": hypo,
    "rebel": rebel,
}
