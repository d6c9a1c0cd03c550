"""The conformance suite over the registries, over a stranger's file, and over things that fail it."""

from dataclasses import replace

import pytest
import torch

from spac_theory import ALGORITHMS, BEHAVIOURS, PROBLEMS, InputError, load_plugins, make_problem
from spac_theory.objective import tabular_preference_loss
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.linear import LinearClass, tabular_class
from spac_theory.testing import (
    check_algorithm,
    check_behaviour,
    check_problem,
    check_reward_class,
)

QUICK = {"spac_t": {"iterations": 5}, "dpo_gradient": {"steps": 20}}
SMALL = {"continuous": {"evaluation": 100}}

# A family of one's own, under the name `{name}`.
LAZY = """
from dataclasses import dataclass

import torch

from spac_theory.behaviours import BEHAVIOURS
from spac_theory.checks import number


@BEHAVIOURS.register("{name}")
@dataclass(frozen=True)
class Lazy:
    dial_name = "laziness"
    dial_range = (0.0, 1.0)

    def policy(self, problem, dial):
        share = number("dial", dial, low=0, high=1)
        contexts, actions = problem.bandit.shape
        first = torch.eye(actions, dtype=torch.float64)[[0] * contexts]
        return share * first + (1 - share) / actions
"""

STRANGER = """
from dataclasses import dataclass
import torch
from spac_theory.algorithms import ALGORITHMS
from spac_theory.problems import PROBLEMS, Problem
from spac_theory.problems.tabular import Tabular
from spac_theory.view import Fit, TabularPolicy

@ALGORITHMS.register("stranger")
@dataclass(frozen=True)
class Stranger:
    sharpness: float = 1.0
    def skip(self, view, oracle):
        return None
    def fit(self, view, data, oracle=None):
        weight = (data.wins.sum(-1) + 1.0).double() ** self.sharpness
        return Fit(TabularPolicy(weight / weight.sum(-1, keepdim=True)), "closed form")

@PROBLEMS.register("stranger")
@dataclass(frozen=True)
class Twice:
    seed: int = 0
    def build(self):
        inner = Tabular(2, 3, seed=self.seed).build()
        return Problem(inner.bandit, inner.reward_class, inner.profile)
""" + LAZY.format(name="stranger")


@pytest.fixture
def registries(monkeypatch):
    """Copies, so that what a test registers is gone after it."""
    for registry in (ALGORITHMS, BEHAVIOURS, PROBLEMS):
        list(registry)
        monkeypatch.setattr(registry, "_items", dict(registry._items))


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_algorithm(name):
    reasons = check_algorithm(name, **QUICK.get(name, {}))
    if len(reasons) == 2:
        pytest.skip(reasons[0])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *[("spac", {"lam": rule}) for rule in ("fixed", "oracle", "held_out", "certified")],
        ("spac_constrained", {"radius": "wilks"}),
        ("spac_t", {"iterations": 4, "output": "last", "start": "reference"}),
        ("pessimistic_mle", {"form": "pointwise"}),
    ],
)
def test_algorithm_with_options(name, options):
    assert check_algorithm(name, **options) == []


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_problem(name):
    check_problem(name, **SMALL.get(name, {}))


@pytest.mark.parametrize("name", list(BEHAVIOURS))
def test_behaviour(name):
    check_behaviour(name)


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_reward_class_of_a_problem(name):
    check_reward_class(make_problem(name, **SMALL.get(name, {})).reward_class)


@pytest.mark.parametrize(
    "cls",
    [
        tabular_class(3, 4, reward_range=(0.5, 2.0)),
        tabular_class(3, 4, norm_bound=1.5),
        tabular_class(3, 4, norm_bound=2.0, reward_range=(-1.0, 0.7)),
        LinearClass(torch.randn(4, 3, 5, dtype=torch.float64), reward_range=(-1.0, 2.0)),
        LinearClass(torch.randn(4, 3, 5, dtype=torch.float64), 1.0, (-0.5, 0.5)),
        FiniteClass(torch.rand(9, 2, 3, dtype=torch.float64)),
    ],
    ids=["range", "ball", "both", "linear-range", "linear-both", "finite"],
)
def test_reward_class(cls):
    check_reward_class(cls)


def test_a_strangers_file_passes(tmp_path, registries):
    path = tmp_path / "stranger.py"
    path.write_text(STRANGER)
    load_plugins([str(path)])
    load_plugins([str(path)])  # once is enough, twice does no harm
    assert check_algorithm("stranger", sharpness=2.0) == []
    check_behaviour("stranger")
    check_problem("stranger")


def mutate(text, **changes):
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    return text


BROKEN = {
    "sums to 1 only up to": ("weight / weight.sum(-1, keepdim=True)", "weight"),
    "negative probabilities": ("weight / weight.sum(-1, keepdim=True)", "2 - 0 * weight - 3"),
    "is NaN in": ("weight / weight.sum(-1, keepdim=True)", "weight * float('nan')"),
    "has shape": ("weight / weight.sum(-1, keepdim=True)", "weight[0]"),
    "changed the data": ("weight = (", "data.wins.add_(1); weight = ("),
    "global random stream": ("** self.sharpness", "** self.sharpness + torch.rand(())"),
    "lanes mix": ("data.wins.sum(-1)", "data.wins.sum(-1).sum(0, keepdim=True) + data.wins.sum(-1)"),
    "a reason in words": ("return None\n    def fit", "return 3\n    def fit"),
    "must be a frozen dataclass": ("@dataclass(frozen=True)\nclass Stranger", "@dataclass\nclass Stranger"),
    "must say in words": ('"closed form"', '""'),
}  # fmt: skip


@pytest.mark.parametrize("complaint", BROKEN)
def test_a_broken_algorithm_fails_with_a_sentence(complaint, tmp_path, registries):
    path = tmp_path / "broken.py"
    path.write_text(mutate(STRANGER, change=BROKEN[complaint]))
    load_plugins([str(path)])
    with pytest.raises(AssertionError, match=complaint):
        check_algorithm("stranger")


@pytest.mark.parametrize(
    ("complaint", "old", "new"),
    [
        ("sums to 1 only up to", "/ actions\n", "\n"),
        ("accepts the dial NaN", 'number("dial", dial, low=0, high=1)', "0.5"),
        ("low must be below high", "(0.0, 1.0)", "(1.0, 0.0)"),
    ],
)
def test_a_broken_behaviour_fails_with_a_sentence(complaint, old, new, tmp_path, registries):
    path = tmp_path / "broken.py"
    path.write_text(mutate(STRANGER, change=(old, new)))
    load_plugins([str(path)])
    with pytest.raises(AssertionError, match=complaint):
        check_behaviour("stranger")


def test_a_problem_that_names_two_seeds_alike_fails(tmp_path, registries):
    path = tmp_path / "broken.py"
    path.write_text(mutate(STRANGER, change=("seed=self.seed).build()", "seed=0).build()")))
    load_plugins([str(path)])
    with pytest.raises(AssertionError, match="share random streams"):
        check_problem("stranger")


class Broken(LinearClass):
    """A ball whose critic answers for half the policy's push."""

    def best_response(self, linear, *args, **kwargs):
        answer = super().best_response(linear / 2, *args, **kwargs)
        return answer


def test_a_broken_reward_class_fails_with_a_sentence():
    broken = Broken(torch.eye(6, dtype=torch.float64).reshape(2, 3, 6), 1.0, tabular=True)
    with pytest.raises(AssertionError, match="differs from the objective"):
        check_reward_class(broken)


def test_a_class_that_overstates_its_certificate_fails():
    class Eager(LinearClass):
        """Stops half-way to each answer and calls it exact."""

        def best_response(self, linear, lam, fraction, link, tolerance=1e-9, warm=None):
            answer = super().best_response(linear, lam, fraction, link)
            reward = answer.reward.roll(1, 0)
            loss = tabular_preference_loss(reward, fraction, link)
            value = (linear * reward).sum((-2, -1)) + lam * loss
            return replace(answer, reward=reward, value=value, gap=0 * value)

    lazy = Eager(torch.eye(6, dtype=torch.float64).reshape(2, 3, 6), 1.0, tabular=True)
    with pytest.raises(AssertionError, match="undercuts a certified minimum"):
        check_reward_class(lazy)


def test_a_plugin_that_fails_to_load_says_so_every_time(tmp_path, registries):
    path = tmp_path / "typo.py"
    path.write_text("import torhc")
    for _ in range(2):
        with pytest.raises(InputError, match=r"typo\.py.*torhc"):
            load_plugins([str(path)])
