"""Who plays in the league, with the equal tuning budget of each, and the coverage each one needs.

Every entry may try four settings: its defaults and three others, all written here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Options = dict[str, Any]
BUDGET = 4


@dataclass(frozen=True)
class Entry:
    """An algorithm in the league.

    Attributes
    ----------
    algorithm, fixed : registered name, and options every setting shares
    grid : three settings beside the defaults (fewer where there is nothing to choose)
    needs : the coverage coefficient of its theory, a key of `league_tables.COEFFICIENTS` or, where
        there is none, of `NOT_NUMBERS`; the pages of docs/methods say how sure each is
    """

    algorithm: str
    grid: tuple[Options, ...] = ()
    needs: str = "none stated"
    fixed: tuple[tuple[str, Any], ...] = ()

    @property
    def settings(self) -> list[Options]:
        """The defaults first, then the grid."""
        return [{**dict(self.fixed), **options} for options in ({}, *self.grid)]


def one(option: str, *values: Any) -> tuple[Options, ...]:
    """A grid over one option."""
    return tuple({option: value} for value in values)


SINGLE, CHOSEN, ALL = "C(π*)", "C(π*; chosen)", "sup C(π)"
L1, BEST_RATIO, RATIO = "E[π*/μ]", "max π*/μ", "max 1/μ"
LOCAL, WIDE, COVERABILITY, NONE = "KL ball", "KL ball R/β", "coverability", "none"

ENTRIES: dict[str, Entry] = {
    "spac": Entry("spac", one("scale", 0.1, 0.3, 3.0), SINGLE),
    "spac certified λ": Entry("spac", one("lam", "held_out", "certified_wilks"), SINGLE,
                              (("lam", "certified"),)),
    "spac ν = chosen": Entry("spac", one("scale", 0.1, 0.3, 3.0), CHOSEN,
                             (("baseline", "chosen"),)),
    "spac_t mixture": Entry("spac_t", one("scale", 0.1, 0.3, 3.0), SINGLE, (("iterations", 30),)),
    "spac_t last": Entry("spac_t", one("scale", 0.1, 0.3, 3.0), SINGLE,
                         (("iterations", 30), ("output", "last"))),
    "spac_kl": Entry("spac_kl", ({"beta": 0.03}, {"scale": 0.3}, {"beta": 0.03, "scale": 0.3}),
                     SINGLE),
    "spac_practical": Entry("spac_practical", one("scale", 1.0, 3.0, 30.0)),
    "spac_practical mixture": Entry("spac_practical", one("scale", 1.0, 3.0, 30.0),
                                    fixed=(("output", "mixture"),)),
    "spac_practical sampled": Entry("spac_practical", one("scale", 1.0, 3.0, 30.0),
                                    fixed=(("selfplay", "sampled"), ("shrink", True))),
    "pessimistic_mle": Entry("pessimistic_mle", one("scale", 0.01, 0.03, 0.3), SINGLE),
    "rpo": Entry("rpo", ({"scale": 0.3}, {"beta": 0.03}, {"beta": 0.03, "scale": 0.3}), CHOSEN),
    "vpo_offline": Entry("vpo_offline", one("alpha", 0.003, 0.01, 0.1), SINGLE),
    "chi_po": Entry("chi_po", one("beta", 0.01, 0.03, 0.3), L1),
    "chi2_rlhf": Entry("chi2_rlhf", one("beta", 0.01, 0.03, 0.3), L1),
    "dpo": Entry("dpo", one("beta", 0.01, 0.03, 0.3), RATIO),
    "dpo_gradient": Entry("dpo_gradient", one("beta", 0.03, 0.3, 1.0), RATIO, (("steps", 500),)),
    "ipo": Entry("ipo", one("tau", 0.01, 0.03, 0.3), RATIO),
    "simpo": Entry("simpo", ({"gamma": 0.0}, {"beta": 0.03}, {"beta": 0.3})),
    "kl_rlhf": Entry("kl_rlhf", one("beta", 0.01, 0.03, 0.3), WIDE),
    "mle_greedy": Entry("mle_greedy", one("ridge", 0.1, 3.0, 10.0), ALL),
    "behaviour_cloning": Entry("behaviour_cloning"),
    "uniform": Entry("uniform"),
    "spin": Entry("spin", one("iterations", 1, 2, 8)),
    "sppo": Entry("sppo", one("iterations", 10, 20, 100)),
    "sppo squared loss": Entry("sppo", one("eta", 0.3, 3.0, 10.0),
                               fixed=(("update", "squared_loss"), ("iterations", 10))),
    "dno": Entry("dno", one("iterations", 3, 5, 30), RATIO),
    "rebel": Entry("rebel", one("iterations", 5, 10, 50), BEST_RATIO),
    "nash_md": Entry("nash_md", one("tau", 0.02, 0.1, 0.3)),
    "mpo": Entry("mpo", one("iterations", 50, 150, 400), fixed=(("refresh", 50),)),
    "hypo": Entry("hypo", ({"lam": 0.001}, {"lam": 0.003}, {"beta": 0.03, "lam": 0.001}), LOCAL),
    "hypo sampled": Entry("hypo", ({"lam": 0.001}, {"lam": 0.003}, {"beta": 0.03, "lam": 0.001}),
                          LOCAL, (("divergence", "sampled"), ("steps", 300))),
    "sail ddp": Entry("sail", one("share", 0.1, 0.6, 0.9), fixed=(("variant", "ddp"), ("steps", 150))),
    "sail dpp": Entry("sail", one("share", 0.1, 0.6, 0.9), fixed=(("variant", "dpp"), ("steps", 150))),
    "sail dpr": Entry("sail", one("share", 0.1, 0.6, 0.9), fixed=(("steps", 150),)),
    "sail dpr online": Entry("sail", one("share", 0.1, 0.6, 0.9),
                             fixed=(("labels", "online"), ("steps", 100))),
    "online_dpo": Entry("online_dpo", one("beta", 0.01, 0.03, 0.3), fixed=(("rounds", 5),)),
    "xpo": Entry("xpo", ({"alpha": 0.003}, {"alpha": 0.03}, {"beta": 0.03}), COVERABILITY,
                 fixed=(("rounds", 5),)),
    "vpo_online": Entry("vpo_online",
                        ({"alpha": 0.03}, {"alpha": 0.3, "pairs": "policy"}, {"beta": 0.03}),
                        NONE, (("rounds", 5),)),
    "sim_oprl": Entry("sim_oprl", one("width", 0.3, 2.0, 3.0), NONE),
    "sim_oprl uniform": Entry("sim_oprl", one("width", 0.3, 2.0, 3.0), SINGLE,
                              fixed=(("query", "uniform"),)),
    "sapo": Entry("sapo", ({"steps": 50}, {"beta": 0.03}, {"beta": 0.3})),
    "spo": Entry("spo", one("gamma", 0.1, 1.0, 3.0)),
    "linear_alignment logit": Entry("linear_alignment", one("size", 0.3, 30.0, 300.0),
                                    fixed=(("form", "logit"),)),
    "linear_alignment natural": Entry("linear_alignment", one("size", 1.0, 10.0, 30.0),
                                      fixed=(("form", "natural"),)),
    "linear_alignment contrastive": Entry("linear_alignment", one("size", 1.0, 5.0, 10.0)),
    "drpo": Entry("drpo", one("depth", 5, 10, 40)),
}  # fmt: skip
