"""Write the tables of `docs/methods/README.md` from what algorithms declare.

    python -m experiments.engine.index

Needs and coverage are declarations. What an algorithm reads (a change of it moves the policy) and what
its gap is are found out on a small problem. The page of an algorithm is the one whose title names it. Nothing
in these tables is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from experiments.common.files import write_text
from experiments.common.table import Table
from spac_theory import (
    ALGORITHMS,
    Fit,
    LearnerView,
    WinnerCounts,
    make_algorithm,
    make_problem,
)
from spac_theory.learning.needs import NEEDS, Coefficient, Learner
from spac_theory.learning.trials import make_trial

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "methods"
PAGE = FOLDER / "README.md"
# How an algorithm is tried: in few steps, and so that what it reads shows in its policy at this size.
TRIED: dict[str, dict[str, Any]] = {
    "dpo_gradient": {"steps": 3},
    "linear_alignment": {"decode": "sample"},
    "mpo": {"iterations": 5},
    "nash_md": {"iterations": 5},
    "online_dpo": {"rounds": 1},
    "sail": {"steps": 3},
    "sapo": {"steps": 3},
    "sim_oprl": {"offline": True},
    "spac_constrained": {"radius": "wilks"},
    "spac_practical": {"rounds": 1, "steps": 3},
    "spac_t": {"iterations": 3},
    "spo": {"steps": 3},
    "vpo_online": {"rounds": 1},
    "xpo": {"rounds": 1},
}


def ours() -> list[str]:
    """The project's own algorithms, SPAC's first."""
    known = [n for n in ALGORITHMS if ALGORITHMS[n].__module__.startswith("spac_theory.")]
    return sorted(known, key=lambda name: (not name.startswith("spac"), name))


def pages() -> dict[str, str]:
    """Algorithm to the page whose title names it."""
    found: dict[str, str] = {}
    for path in sorted(FOLDER.glob("*.md")):
        title = path.read_text(encoding="utf-8").partition("\n")[0]
        found |= dict.fromkeys(re.findall(r"`(\w+)`", title), path.name)
    return found


def _bound(algorithm: Learner) -> str:
    """The theorem that speaks of its fits."""
    return {(True, False): "(T1)", (False, True): "(T2)"}.get(
        (algorithm.solves_game, algorithm.solves_constraint_form), "–"
    )


def _needs(algorithm: Learner) -> str:
    """What it needs of a setting, and which of it is paid for."""
    wanted = [n for n in NEEDS if n in algorithm.needed()]
    paid = algorithm.spends
    return ", ".join(f"{n} (paid)" if n in paid else n for n in wanted) or "–"


class Probe:
    """A small, uneven problem on which every algorithm is tried."""

    def __init__(self) -> None:
        problem = make_problem("tabular", contexts=2, actions=4)
        uneven = torch.softmax(2 * torch.arange(8.0, dtype=torch.float64).reshape(2, 4).sin(), -1)
        self.trial = make_trial(problem, uneven)
        view, data = self.trial.view, self.trial.data(3000, 1)
        self.plain = view, data
        self.changed = {
            "data": (view, WinnerCounts(data.wins.transpose(-1, -2))),
            "π_ref": (replace(view, reference=view.reference.flip(-1)), data),
        }

    def fit(self, name: str, view: LearnerView, data: WinnerCounts) -> Fit:
        """A quick fit, with labels and a judge for who asks."""
        algorithm = make_algorithm(name, **TRIED.get(name, {}))
        return algorithm.fit(view, data, self.trial.oracle(range(1), 20))

    def facts(self, name: str) -> tuple[str, str]:
        """The inputs whose change moves the policy, and what the gap is."""
        fit = self.fit(name, *self.plain)
        policy, moves = fit.policy.probabilities(), []
        for word, inputs in self.changed.items():
            other = self.fit(name, *inputs).policy.probabilities()
            names_streams = (name, word) == ("drpo", "data")  # and they are not read otherwise
            if not names_streams and not torch.allclose(policy, other, atol=1e-9):
                moves.append(word)
        return ", ".join(moves) or "–", fit.gap_kind


def algorithms() -> str:
    """One line an algorithm."""
    page, probe = pages(), Probe()
    lines: list[list[str]] = []
    for name in ours():
        algorithm: Any = make_algorithm(name)
        link = f"[{Path(page[name]).stem}]({page[name]})" if name in page else "–"
        reads, gap = probe.facts(name)
        declared = [_needs(algorithm), f"`{algorithm.coefficient}`", _bound(algorithm)]
        lines.append([f"`{name}`", link, reads, *declared, gap])
    header = ["algorithm", "page", "reads", "needs", "coverage", "bound", "its gap is a"]
    return Table("", header, lines, left=len(header)).markdown()


def coefficients() -> str:
    """One line a coefficient: what it is, and whose theory asks for it."""
    asked: dict[str, list[str]] = {str(c): [] for c in Coefficient}
    for name in ours():
        asked[str(getattr(ALGORITHMS[name], "coefficient", ""))].append(f"`{name}`")
    lines = [[f"`{c}`", c.meaning, ", ".join(asked[str(c)]) or "–"] for c in Coefficient]
    return Table("", ["coverage", "what it is", "who asks for it"], lines, left=3).markdown()


TABLES = {"algorithms": algorithms, "coefficients": coefficients}


def page(text: str, only: Iterable[str] = TABLES) -> str:
    """The page with its tables made again, each between its two marks."""
    for name in only:
        start, end = f"<!-- {name}: python -m experiments.engine.index -->", f"<!-- end {name} -->"
        head, _, rest = text.partition(start)
        _, _, tail = rest.partition(end)
        text = f"{head}{start}\n{TABLES[name]().strip()}\n{end}{tail}"
    return text


if __name__ == "__main__":
    write_text(PAGE, page(PAGE.read_text(encoding="utf-8")))
