"""Needs, offers and options are declarations: what they say is what happens."""

import dataclasses

import pytest
import torch

from experiments.engine.options import files
from spac_theory import (
    ALGORITHMS,
    BEHAVIOURS,
    BRADLEY_TERRY,
    PROBLEMS,
    InputError,
    make_algorithm,
    make_problem,
)
from spac_theory.bandit.preferences import PreferenceModel
from spac_theory.learning.needs import FEATURES, JUDGE, LABELS, NEEDS, PREFERENCES, Learner, missing
from spac_theory.learning.trials import make_trial
from spac_theory.options import (
    Options,
    choice,
    described,
    flag,
    integer,
    interval,
    number,
    positive,
)
from spac_theory.rewards.base import likeliest_member
from spac_theory.view import Contexts, Fit, LearnerView, TabularPolicy


def trial(problem="tabular", **options):
    built = make_problem(
        problem, **({"contexts": 2, "actions": 4} if problem == "tabular" else options)
    )
    return make_trial(built, built.profile)


def test_a_trial_draws_what_its_parts_say():
    one = trial()
    truth = PreferenceModel.from_reward(one.problem.bandit.reward, BRADLEY_TERRY)
    assert torch.equal(one.preference.probability, truth.probability)
    assert one.law.sum() == pytest.approx(1)
    many = one.data(200_000, range(1)).fraction[0]
    assert float((many - one.law).abs().max()) < 5e-3
    assert torch.equal(one.data(50, [0, 1]).wins[1:], one.data(50, [1]).wins)
    assert (one.data(40, [0]).wins <= one.data(50, [0]).wins).all()
    assert not torch.equal(one.data(50, [0]).wins, one.data(50, [0], "other").wins)
    oracle = one.oracle([0, 1], 7)
    assert oracle.online is not None
    assert oracle.online.remaining.tolist() == [7, 7]
    assert one.oracle().online is None


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_declared_needs_are_those_that_are_refused(name):
    """Without its needs an algorithm skips in words; granted all of them it does not."""
    algorithm = make_algorithm(name)
    assert isinstance(algorithm, Learner)
    assert algorithm.needed() <= set(NEEDS)
    assert algorithm.reads == algorithm.needed() & {LABELS, JUDGE, PREFERENCES}
    good = trial()
    assert algorithm.skip(good.view, good.oracle([0], 5)) is None
    bare = missing(algorithm.needed(), good.view, None)
    assert (bare is None) is not bool(algorithm.reads)


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_contexts_from_a_density_are_refused_by_tables_alone(name):
    """What does not skip them gives probabilities at contexts it never saw."""
    built = make_problem("continuous", evaluation=100)
    prompts = built.on_prompts(12, "test")
    one = make_trial(prompts, prompts.profile)
    view = dataclasses.replace(one.view, known_contexts=False)
    quick = {"spac_t": {"iterations": 3}, "dpo_gradient": {"steps": 5}}.get(name, {})
    algorithm = make_algorithm(name, **quick)
    reason = algorithm.skip(view, one.oracle([0], 5))
    if reason is not None:
        assert "its policy is a table" in reason or "tabular" in reason or "no power of 2" in reason
        return
    fit = algorithm.fit(view, one.data(40, [0]), one.oracle([0], 5))
    contexts = Contexts(built.points, built.profile)
    policy = fit.policy.probabilities(contexts)
    assert torch.allclose(policy.sum(-1), torch.ones(()).double())


def test_a_need_that_nobody_knows_is_named():
    with pytest.raises(KeyError, match="clairvoyance"):
        missing({"clairvoyance"}, trial().view, None)


def test_a_class_that_offers_nothing_is_treated_so():
    cls = make_problem("finite", contexts=2, actions=3, members=4).reward_class
    uniform = torch.full((2, 3), 1 / 3, dtype=torch.float64)
    view = LearnerView(cls, torch.full((2,), 0.5, dtype=torch.float64), uniform, uniform)
    assert missing({FEATURES}, view, None) == "needs a linear (or tabular) reward class"


def test_the_likeliest_member_is_the_likeliest():
    one = trial("finite", contexts=2, actions=3, members=9)
    data = one.data(60, [0, 1])
    best = likeliest_member(one.view.reward_class, data.fraction, BRADLEY_TERRY).reward
    for seed, fraction in enumerate(data.fraction):
        losses = []
        for member in one.view.reward_class.members:
            margin = member.unsqueeze(-1) - member.unsqueeze(-2)
            losses.append(float((fraction * BRADLEY_TERRY.loss(margin)).sum()))
        assert torch.equal(best[seed], one.view.reward_class.members[losses.index(min(losses))])


@dataclasses.dataclass(frozen=True)
class Sample(Options):
    """One option of each kind."""

    weight: float = number(0.5, "a weight", low=0, high=1)
    beta: float | None = positive(None, "a strength", optional=True)
    rounds: int = integer(3, "rounds")
    form: str = choice("plain", "a form", ("plain", "fancy"))
    fast: bool = flag(False, "whether")
    span: tuple[float, float] | None = interval((0.0, 1.0), "a range", optional=True)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"weight": 1.5}, ["weight is 1.5", "[0, 1]"]),
        ({"beta": 0}, ["beta is 0", "(0, inf)"]),
        ({"rounds": 0}, ["rounds is 0", "at least 1"]),
        ({"form": "odd"}, ["form is 'odd'", "fancy, plain"]),
        ({"fast": 1}, ["fast is 1", "true or false"]),
        ({"span": (1, 0)}, ["span is (1, 0)", "low must be below high"]),
        ({"span": [1]}, ["span is [1]", "a pair"]),
        ({"span": "ab"}, ["span is 'ab'", "a pair"]),
    ],
)
def test_options_are_checked_as_declared(bad, words):
    with pytest.raises(InputError) as caught:
        Sample(**bad)
    for word in words:
        assert word in str(caught.value)


def test_options_that_are_right_are_kept():
    values = (0.0, 2.0, 1, "fancy", True, None)
    assert dataclasses.astuple(Sample(*values)) == values
    assert [(o.name, o.default, o.help) for o in described(Sample)][1] == (
        "beta",
        None,
        "a strength",
    )


def test_the_files_of_options_are_those_of_the_dataclasses():
    """`python -m experiments.engine.options` was run after the last change."""
    found = files()
    stale = [p.name for p, text in found.items() if p.read_text(encoding="utf-8") != text]
    assert stale == []
    assert {p.parent.name for p in found} == {"algorithm", "problem", "behaviour"}


@pytest.mark.parametrize("registry", [ALGORITHMS, PROBLEMS, BEHAVIOURS], ids=lambda r: r.kind)
def test_every_option_of_our_own_things_is_described_and_checked(registry):
    ours = [
        t for t in map(registry.__getitem__, registry) if t.__module__.startswith("spac_theory.")
    ]
    assert all(issubclass(thing, Options) for thing in ours)
    for thing in ours:
        for option in dataclasses.fields(thing):
            assert option.metadata["help"], (thing, option.name)
            assert option.metadata["check"] is not None, (thing, option.name)


def test_retired_words_are_refused_with_the_new_ones():
    with pytest.raises(InputError, match=r"certified_wilks.*'wilks' now"):
        make_algorithm("spac", lam="certified_wilks")
    table = TabularPolicy(torch.ones(1, 1, 1, dtype=torch.float64))
    with pytest.raises(InputError, match="its name is gap_kind"):
        Fit(table, certified="none")
