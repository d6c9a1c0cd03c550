"""Adding a thing is adding a file: each test adds one, and what must find it finds it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.theory.test_own_class import OWN
from tests.theory.test_own_things import LAZY

ROOT = Path(__file__).resolve().parents[2]

# What a newcomer writes: the one file under `spac_theory/` (and how `testing` checks it).
FILES = {
    "algorithm": (
        "algorithms/coin.py",
        """
from dataclasses import dataclass

import torch

from spac_theory.algorithms import ALGORITHMS
from spac_theory.learning.needs import FEATURES, Coefficient, Learner
from spac_theory.options import number
from spac_theory.view import Fit, TabularPolicy


@ALGORITHMS.register("coin")
@dataclass(frozen=True)
class Coin(Learner):
    needs = frozenset({FEATURES})
    coefficient = Coefficient.NONE

    edge: float = number(0.5, "weight of the reference", low=0, high=1)

    def fit(self, view, data, oracle=None):
        uniform = torch.full_like(view.reference, 1 / view.reference.shape[-1])
        table = self.edge * view.reference + (1 - self.edge) * uniform
        return Fit(TabularPolicy(table.expand(len(data.n), -1, -1)), "closed form")
""",
        "testing.check_algorithm('coin', edge=0.25)",
    ),
    "problem": (
        "problems/coins.py",
        """
from dataclasses import dataclass

from spac_theory.options import Options, integer
from spac_theory.keys import generator
from spac_theory.problems import PROBLEMS, unit_table
import torch


@PROBLEMS.register("coins")
@dataclass(frozen=True)
class Coins(Options):
    seed: int = integer(0, "draws the rewards", low=0)

    def build(self):
        reward = torch.from_numpy(generator("problem", "coins", self.seed).uniform(0, 1, (3, 4)))
        return unit_table(reward, f"coins-{self.seed}")
""",
        "testing.check_problem('coins')",
    ),
    "behaviour": (
        "behaviours/lazy.py",
        LAZY.format(name="lazy"),
        "testing.check_behaviour('lazy')",
    ),
    "reward class": (
        "rewards/multiples.py",
        OWN,
        "from spac_theory.rewards.multiples import Multiples; import torch; "
        "testing.check_reward_class(Multiples(torch.rand(2, 3).double()))",
    ),
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The tracked library alone, in a folder of its own."""
    for name in sorted((ROOT / "spac_theory").rglob("*.py")):
        target = tmp_path / name.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(name.read_bytes())
    return tmp_path


@pytest.mark.parametrize("kind", FILES)
def test_one_file_is_all(kind: str, copy: Path) -> None:
    path, text, check = FILES[kind]
    target = copy / "spac_theory" / path
    assert not target.exists()
    target.write_text(text)
    command = [sys.executable, "-c", f"from spac_theory import testing; {check}"]
    run = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_the_page_names_the_files() -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    for kind, (path, _, _) in FILES.items():
        folder = path.partition("/")[0]
        assert re.search(rf"^\| {kind}.*\| `spac_theory/{folder}/", page, re.MULTILINE), kind


def test_every_place_that_the_page_names_is_there() -> None:
    """`NAME` stands for the new thing; what is beside it is a file or folder of today."""
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    table = [line for line in page.splitlines() if line.startswith("| ")]
    named = re.findall(
        r"`((?:spac_theory|experiments|llm|conf|docs|tests)/[\w./]*)`", "\n".join(table)
    )
    assert len(named) >= 12
    for name in named:
        place = ROOT / name
        assert (place.parent if "NAME" in place.name else place).exists(), name


# --- a claim, and a method of the language-model path: one file, and one with its YAML ------------

CLAIM = '''"""A claim about coins."""

from experiments.claims import CLAIMS, Outcome


@CLAIMS.register("coins_are_fair")
def coins_are_fair(size: str) -> Outcome:
    """A coin is fair. Heads and tails alike."""
    return Outcome(size == "small", "0.5 and 0.5")
'''
METHOD = '''"""The hinge loss of SLiC."""

from dataclasses import dataclass

from llm.methods import METHODS, Method, data


@METHODS.register("hinge")
@dataclass(frozen=True)
class Hinge(Method):
    """`(margin − h(y⁺) + h(y⁻))_+`."""

    margin: float = 1.0

    def streams(self):
        return data("initial")

    def loss(self, batch):
        gap = batch.ratio("chosen", "initial") - batch.ratio("rejected", "initial")
        return (self.margin - gap).clamp_min(0).mean(), {"hinge/gap": gap.mean()}
'''
YAML = (
    "# Hinge.\nhinge:\n  # method, title and margin\n  name: hinge\n  title: hinge\n  margin: 2.0\n"
)
FIND_CLAIM = """
from experiments.claims import CLAIMS, statement
assert CLAIMS["coins_are_fair"]("small").holds
assert statement(CLAIMS["coins_are_fair"]).startswith("A coin is fair.")
"""
FIND_METHOD = """
from pathlib import Path
from experiments.common.program import composed
from llm.methods import METHODS
values = composed("run", "methods=[hinge,dpo]", folder=str(Path("conf/llm").resolve()))
assert list(values["methods"]) == ["hinge", "dpo"], values["methods"]
assert METHODS["hinge"](margin=values["methods"]["hinge"]["margin"]).margin == 2.0
"""


@pytest.mark.parametrize(
    ("files", "check"),
    [
        ({"experiments/claims/coins.py": CLAIM}, FIND_CLAIM),
        ({"llm/methods/hinge.py": METHOD, "conf/llm/methods/hinge.yaml": YAML}, FIND_METHOD),
    ],
    ids=["claim", "method"],
)
def test_a_claim_is_a_file_and_a_method_is_a_file_with_its_options(
    files: dict[str, str], check: str, tmp_path: Path
) -> None:
    for folder in ("spac_theory", "experiments", "llm", "conf"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    for path, text in files.items():
        assert not (tmp_path / path).exists()
        (tmp_path / path).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
