"""Write the tables of `docs/methods/README.md` from what algorithms declare.

    python -m experiments.engine.index

Needs and coverage are declarations; what a gap is is read off a fit of a tiny problem with default options;
the page of an algorithm is the one whose title names it. Nothing in these tables is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.common.files import write_text
from experiments.common.table import Table
from spac_theory import ALGORITHMS, make_algorithm, make_problem
from spac_theory.learning.needs import NEEDS, Coefficient, Learner
from spac_theory.learning.trials import Trial, make_trial

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "methods"
PAGE = FOLDER / "README.md"
# Fewer steps, so that the table is quick; they change no word of it.
QUICK: dict[str, dict[str, Any]] = {
    "dpo_gradient": {"steps": 3},
    "sapo": {"steps": 3},
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


def algorithms() -> str:
    """One line an algorithm."""
    page = pages()
    lines: list[list[str]] = []
    problem = make_problem("tabular", contexts=2, actions=4)
    trial = make_trial(problem, problem.profile)
    for name in ours():
        algorithm: Any = make_algorithm(name)
        link = f"[{Path(page[name]).stem}]({page[name]})" if name in page else "–"
        lines.append(
            [f"`{name}`", link, _needs(algorithm), f"`{algorithm.coefficient}`", _bound(algorithm),
             _gap(name, trial)]
        )  # fmt: skip
    header = ["algorithm", "page", "needs", "coverage", "bound", "its gap is a"]
    return Table("", header, lines, left=len(header)).markdown()


def _gap(name: str, trial: Trial) -> str:
    """What its gap is, with default options."""
    algorithm = make_algorithm(name, **QUICK.get(name, {}))
    fit = algorithm.fit(trial.view, trial.data(40, 1), trial.oracle(range(1), 20))
    return fit.gap_kind


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
