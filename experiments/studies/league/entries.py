"""Who plays in the league, with the equal tuning budget of each, and the coverage each one needs.

Every entry may try four settings: its defaults and three others, all written here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spac_theory import ALGORITHMS
from spac_theory.learning.needs import Coefficient

Options = dict[str, Any]
BUDGET = 4


@dataclass(frozen=True)
class Entry:
    """An algorithm in the league.

    Attributes
    ----------
    algorithm, fixed : registered name, and options every setting shares
    grid : three settings beside the defaults (fewer where there is nothing to choose)
    own_needs : the coverage coefficient of its theory where these options change what the algorithm
        declares
    """

    algorithm: str
    grid: tuple[Options, ...] = ()
    own_needs: str | None = None
    fixed: tuple[tuple[str, Any], ...] = ()

    @property
    def needs(self) -> str:
        """The coverage coefficient: a key of `COEFFICIENTS` or, where there is none, of `NOT_NUMBERS`."""
        declared = getattr(ALGORITHMS[self.algorithm], "coefficient", Coefficient.UNSTATED)
        return str(self.own_needs or declared)

    @property
    def settings(self) -> list[Options]:
        """The defaults first, then the grid."""
        return [{**dict(self.fixed), **options} for options in ({}, *self.grid)]


def one(option: str, *values: Any) -> tuple[Options, ...]:
    """A grid over one option."""
    return tuple({option: value} for value in values)


SINGLE, CHOSEN = Coefficient.SINGLE, Coefficient.CHOSEN

ENTRIES: dict[str, Entry] = {
    "spac": Entry("spac", one("scale", 0.1, 0.3, 3.0)),
    "spac λ from data": Entry("spac", one("lam", "held_out", "wilks"),
                              fixed=(("lam", "certified"),)),
    "spac constrained": Entry("spac_constrained", one("radius", "wilks")),
    "spac ν = chosen": Entry("spac", one("scale", 0.1, 0.3, 3.0), CHOSEN,
                             (("baseline", "chosen"),)),
    "spac_t mixture": Entry("spac_t", one("scale", 0.1, 0.3, 3.0), fixed=(("iterations", 30),)),
    "spac_t last": Entry("spac_t", one("scale", 0.1, 0.3, 3.0),
                         fixed=(("iterations", 30), ("output", "last"))),
    "spac_kl": Entry("spac_kl", ({"beta": 0.03}, {"scale": 0.3}, {"beta": 0.03, "scale": 0.3})),
    "spac_practical": Entry("spac_practical", one("scale", 1.0, 3.0, 30.0)),
    "spac_practical mixture": Entry("spac_practical", one("scale", 1.0, 3.0, 30.0),
                                    fixed=(("output", "mixture"),)),
    "spac_practical sampled": Entry("spac_practical", one("scale", 1.0, 3.0, 30.0),
                                    fixed=(("selfplay", "sampled"), ("shrink", True))),
    "pessimistic_mle": Entry("pessimistic_mle", one("scale", 0.01, 0.03, 0.3)),
    "rpo": Entry("rpo", ({"scale": 0.3}, {"beta": 0.03}, {"beta": 0.03, "scale": 0.3})),
    "vpo_offline": Entry("vpo_offline", one("alpha", 0.003, 0.01, 0.1)),
    "chi_po": Entry("chi_po", one("beta", 0.01, 0.03, 0.3)),
    "chi2_rlhf": Entry("chi2_rlhf", one("beta", 0.01, 0.03, 0.3)),
    "dpo": Entry("dpo", one("beta", 0.01, 0.03, 0.3)),
    "dpo_gradient": Entry("dpo_gradient", one("beta", 0.03, 0.3, 1.0), fixed=(("steps", 500),)),
    "ipo": Entry("ipo", one("tau", 0.01, 0.03, 0.3)),
    "simpo": Entry("simpo", ({"ratio": 0.0}, {"beta": 0.03}, {"beta": 0.3})),
    "kl_rlhf": Entry("kl_rlhf", one("beta", 0.01, 0.03, 0.3)),
    "mle_greedy": Entry("mle_greedy", one("ridge", 0.1, 3.0, 10.0)),
    "behaviour_cloning": Entry("behaviour_cloning"),
    "uniform": Entry("uniform"),
    "spin": Entry("spin", one("iterations", 1, 2, 8)),
    "sppo": Entry("sppo", one("iterations", 10, 20, 100)),
    "sppo squared loss": Entry("sppo", one("eta", 0.3, 3.0, 10.0),
                               fixed=(("update", "squared_loss"), ("iterations", 10))),
    "dno": Entry("dno", one("iterations", 3, 5, 30)),
    "rebel": Entry("rebel", one("iterations", 5, 10, 50)),
    "nash_md": Entry("nash_md", one("tau", 0.02, 0.1, 0.3)),
    "mpo": Entry("mpo", one("iterations", 50, 150, 400), fixed=(("refresh", 50),)),
    "hypo": Entry("hypo", ({"lam": 0.001}, {"lam": 0.003}, {"beta": 0.03, "lam": 0.001})),
    "hypo sampled": Entry("hypo", ({"lam": 0.001}, {"lam": 0.003}, {"beta": 0.03, "lam": 0.001}),
                          fixed=(("divergence", "sampled"), ("steps", 300))),
    "sail ddp": Entry("sail", ({"share": 0.1}, {"share": 0.9}, {"rho": 1.0}),
                      fixed=(("variant", "ddp"), ("steps", 150))),
    "sail dpp": Entry("sail", ({"share": 0.1}, {"share": 0.9}, {"pi": 1.0}),
                      fixed=(("variant", "dpp"), ("steps", 150))),
    "sail dpr": Entry("sail", ({"share": 0.1}, {"share": 0.9}, {"gamma": 1.0}),
                      fixed=(("steps", 150),)),
    "sail dpr online": Entry("sail", ({"share": 0.1}, {"share": 0.9}, {"gamma": 1.0}),
                             fixed=(("labels", "online"), ("steps", 100))),
    "online_dpo": Entry("online_dpo", one("beta", 0.01, 0.03, 0.3), fixed=(("rounds", 5),)),
    "xpo": Entry("xpo", ({"alpha": 0.003}, {"alpha": 0.03}, {"beta": 0.03}),
                 fixed=(("rounds", 5),)),
    "vpo_online": Entry("vpo_online",
                        ({"alpha": 0.03}, {"alpha": 0.3, "pairs": "policy"}, {"beta": 0.03}),
                        fixed=(("rounds", 5),)),
    "sim_oprl": Entry("sim_oprl", one("width", 0.3, 2.0, 3.0)),
    "sim_oprl uniform": Entry("sim_oprl", one("width", 0.3, 2.0, 3.0), SINGLE,
                              fixed=(("query", "uniform"),)),
    "sapo": Entry("sapo", ({"steps": 54}, {"beta": 0.03}, {"beta": 0.3})),
    "sapo segments": Entry("sapo", ({"steps": 54}, {"beta": 0.03}, {"beta": 0.3}),
                           fixed=(("symbols", 4),)),
    "spo": Entry("spo", one("gamma", 0.1, 1.0, 3.0)),
    "linear_alignment logit": Entry("linear_alignment", one("size", 0.3, 30.0, 300.0),
                                    fixed=(("form", "logit"),)),
    "linear_alignment natural": Entry("linear_alignment", one("size", 1.0, 10.0, 30.0),
                                      fixed=(("form", "natural"),)),
    "linear_alignment released": Entry(
        "linear_alignment", ({"size": 1.0}, {"size": 5.0}, {"decode": "sample"})
    ),
    "linear_alignment contrastive": Entry("linear_alignment", one("size", 1.0, 5.0, 10.0),
                                          fixed=(("form", "contrastive"),)),
    "drpo": Entry("drpo", one("depth", 5, 10, 40)),
    "drpo fixed criteria": Entry("drpo", one("depth", 5, 10, 40), fixed=(("judge", "fixed"),)),
}  # fmt: skip
