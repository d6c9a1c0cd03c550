"""The losses of the bandit algorithms on tables, from the functions of `spac_theory` and exact sums."""

from dataclasses import dataclass

from torch import Tensor

from spac_theory.algorithms.chi_po import chi_po_margins, smooth_clip
from spac_theory.algorithms.spac_practical import selfplay_pairs
from spac_theory.objective import preference_loss, tabular_margins, tabular_preference_loss

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


def behaviour_cloning(algorithm, tables):
    return -(tables.wins.sum(-1) * tables.logp).sum()


LOSSES = {
    "behaviour_cloning": behaviour_cloning,
    "spac_practical": spac_practical,
    "ipo": ipo,
    "rpo": rpo,
    "simpo": simpo,
    "chi_po": chi_po,
    "hypo": hypo,
    "rebel": rebel,
}
