"""The constraint form: against a conic solver and a linear program, its multiplier, and (T2)."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.claims.games.instances import KINDS, random_game, random_member, random_policies
from experiments.engine.referee import theorem_bound
from experiments.engine.setting import at_coverage as place
from experiments.studies.violations.cells import draw_instances
from spac_theory import (
    ALGORITHMS,
    BRADLEY_TERRY,
    PROBIT,
    InputError,
    LearnerView,
    LinearClass,
    Oracle,
    WinnerCounts,
    certify,
    make_algorithm,
    make_problem,
)
from spac_theory.bounds import (
    best_upper_bound,
    constraint_bound,
    covering_complexity,
    finite_complexity,
)
from spac_theory.keys import generator
from spac_theory.learning.lambda_rules import loss_radius, make_game
from spac_theory.objective import tabular_preference_loss, tabular_relative_value
from spac_theory.rewards.finite import FiniteClass
from spac_theory.saddle.constrained import constrained_saddle
from spac_theory.saddle.game import Game
from spac_theory.saddle.reference.conic import conic_saddle
from spac_theory.saddle.reference.linear_program import linear_program_saddle
from spac_theory.view import Contexts

seeds = st.integers(0, 10_000)


def radii(game: Game, index: int) -> torch.Tensor:
    """A tenth to thirty times `1/n`, one a data set: from bounds that bite to bounds that do not."""
    rng = generator("radius", index)
    scale = torch.from_numpy(10 ** rng.uniform(-1, 1.5, len(game.lam)))
    return scale / game.data.n.double()


def value(game: Game, policy: torch.Tensor, reward: torch.Tensor) -> torch.Tensor:
    return tabular_relative_value(reward, policy, game.baseline, game.rho)


def loss(game: Game, reward: torch.Tensor) -> torch.Tensor:
    return tabular_preference_loss(reward, game.data.fraction, game.link)


@pytest.mark.parametrize("index", range(24))
def test_value_and_multiplier_are_those_of_the_conic_program(index):
    """The constraint itself handed to Clarabel; 24 games are every kind of bound twice."""
    game = random_game(index, max_contexts=6)
    found = constrained_saddle(game, radii(game, index))
    certificate = found.saddle.certificate
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Solution may be inaccurate")
        reference = conic_saddle(game, level=float(found.level[0]))
    scale = max(1.0, abs(reference.value))
    assert found.saddle.converged.all()
    assert 0 <= float(certificate.gap) <= 1e-8 * scale
    assert float(certificate.lower) - 1e-6 * scale <= reference.value
    assert reference.value <= float(certificate.upper) + 1e-6 * scale
    if reference.value > 1e-3:
        assert float(found.lam) == pytest.approx(reference.multiplier, rel=1e-2)
    else:
        assert abs(float(found.lam) - reference.multiplier) <= 1e-2 * (1 + reference.multiplier)


@given(seeds, st.sampled_from(KINDS))
@settings(max_examples=25, deadline=None)
def test_the_answer_is_feasible_and_both_ends_hold(seed, kind):
    """Gap ≥ 0; the critic is a member of `V`; no member of `V` and no policy beats the certificate."""
    game = random_game(seed, 2, kind, max_contexts=4, max_actions=5)
    found = constrained_saddle(game, radii(game, seed))
    saddle, cls = found.saddle, game.reward_class
    assert (saddle.certificate.gap >= -1e-12).all()
    assert (loss(game, saddle.reward) <= found.level + 1e-12).all()
    assert (found.lam >= 0).all()
    assert (found.fit_gap >= 0).all()
    low, high = cls.reward_range or (-math.inf, math.inf)
    assert low - 1e-9 <= float(saddle.reward.min()) <= float(saddle.reward.max()) <= high + 1e-9
    assert float(saddle.parameters.norm(dim=-1).max()) <= cls.norm_limit * (1 + 1e-9)
    rng = generator("opponents of V", seed)
    members = random_member(rng, cls, 10)
    for share in (1.0, 0.3, 0.03):  # towards the critic, so that some of them are in V
        rewards = share * members[:, None] + (1 - share) * saddle.reward
        for reward in rewards:
            inside = loss(game, reward) <= found.level
            claim = value(game, saddle.policy, reward)
            assert (claim >= saddle.certificate.lower - 1e-9)[inside].all()
    for policy in random_policies(rng, game, 10):
        assert (value(game, policy, saddle.reward) <= saddle.certificate.upper + 1e-9).all()


@pytest.mark.parametrize("index", [1, 3, 6, 8, 22, 33])
def test_it_is_the_saddle_of_the_game_at_its_multiplier(index):
    """Certified afresh in the penalised game; and the penalised saddle spends the radius exactly."""
    game = random_game(index, 2, max_contexts=6)
    radius = radii(game, index)
    found = constrained_saddle(game, radius)
    penalised = replace(game, lam=found.lam)
    afresh = certify(penalised, found.saddle.policy, found.saddle.reward, 1e-8)
    assert (found.lam > 0).any()
    assert (afresh.gap <= 1e-7 * afresh.upper.abs().clamp_min(1)).all()
    spent = loss(game, found.saddle.reward)
    assert (found.lam * (found.level - spent) <= 1e-7).all()  # complementary slackness
    constrained = afresh.lower - found.lam * found.level
    assert torch.allclose(constrained, found.saddle.certificate.lower, rtol=0, atol=1e-7)


def test_the_level_never_lies_below_the_exact_one():
    """`V` holds what it would hold with the exact fit, and `fit_gap` covers what it holds besides."""
    game = random_game(2, 4, max_contexts=4, n=400)
    radius = radii(game, 2)
    found = constrained_saddle(game, radius)
    nothing, one = torch.zeros_like(found.saddle.reward), torch.ones_like(radius)
    fine = game.reward_class.best_response(nothing, one, game.data.fraction, game.link, 1e-11)
    assert (found.level >= fine.value - fine.gap + radius).all()
    assert (found.level - found.fit_gap <= fine.value + radius).all()
    assert (found.fit_gap <= 1e-3 * radius).all()


def finite_game(seed: int, members: int, lanes: int = 4) -> Game:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 4)), int(rng.integers(2, 5)))
    rewards = torch.from_numpy(rng.uniform(-1, 1, (members, *shape)))
    rho, mu = (torch.from_numpy(rng.dirichlet(np.ones(k))) for k in shape)
    wins = rng.integers(0, 6, (lanes, shape[0], shape[1], shape[1]))
    wins[:, 0, 0, 1] += 1
    data = WinnerCounts(torch.from_numpy(wins))
    return Game(FiniteClass(rewards), data, torch.zeros(lanes), rho, mu.expand(shape))


@given(seeds, st.integers(1, 24))
@settings(max_examples=25, deadline=None)
def test_finite_class_is_the_linear_program_over_its_members_in_v(seed, members):
    game = finite_game(seed, members)
    cls, radius = game.reward_class, radii(game, seed)
    found = constrained_saddle(game, radius)
    losses = cls.losses(game.data.fraction, game.link)
    assert (found.saddle.certificate.gap >= -1e-12).all()
    assert (found.fit_gap == 0).all()
    for lane in range(len(radius)):
        inside = losses[lane] <= losses[lane].min() + radius[lane]
        small = FiniteClass(cls.members[inside])
        data = WinnerCounts(game.data.wins[lane : lane + 1])
        alone = linear_program_saddle(Game(small, data, 0.0, game.rho, game.baseline))
        ours = found.saddle.certificate
        assert float(ours.lower[lane]) == pytest.approx(float(alone.certificate.lower), abs=1e-6)
        worst = value(game, found.saddle.policy[lane], small.members).min()
        assert float(worst) == pytest.approx(float(ours.lower[lane]), abs=1e-9)
        mixture = found.saddle.parameters[lane]
        assert float(mixture[~inside].sum()) <= 1e-6


def test_where_nothing_is_ruled_out_the_answer_is_the_baseline_and_costs_nothing():
    game = random_game(1, 3, max_contexts=4, n=50)
    found = constrained_saddle(game, torch.full((3,), 5.0).double())
    assert torch.equal(found.saddle.policy, game.baseline.expand(3, -1, -1))
    assert (found.lam == 0).all()
    assert (found.saddle.certificate.gap.abs() <= 1e-12).all()
    assert (found.rounds == 0).all()


def test_with_more_and_more_data_it_plays_what_is_best():
    here = place("rare_lucky", 0.3)
    data = here.data(10**8, 3)
    for radius in ("theorem", "wilks"):
        fit = make_algorithm("spac_constrained", radius=radius).fit(here.view, data)
        assert float(here.suboptimality(fit.policy.probabilities()).max()) <= 1e-3
        assert bool(fit.converged.all())


@pytest.mark.parametrize("tabular", [True, False])
def test_batch_is_loop(tabular):
    """Radii and difficulties of every size in one batch; lanes leave it at different rounds."""
    game = random_game(9, 6, (tabular, "ball", "full"), max_contexts=4, n=2000)
    radius = torch.tensor([1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0]).double()
    together = constrained_saddle(game, radius)
    for lane in range(6):
        data = WinnerCounts(game.data.wins[lane : lane + 1])
        one = replace(game, data=data, lam=game.lam[:1])
        alone = constrained_saddle(one, radius[lane : lane + 1])
        for ours, theirs in (
            (alone.saddle.policy[0], together.saddle.policy[lane]),
            (alone.lam[0], together.lam[lane]),
            (alone.saddle.certificate.upper[0], together.saddle.certificate.upper[lane]),
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_larger_radius_is_never_worth_more():
    """`V` grows with its radius, so the value falls, and the multiplier is its slope."""
    game = random_game(1, 1, max_contexts=4, n=3000)
    radius = torch.tensor([1e-3, 1.01e-3, 3e-3]).double()
    found = [constrained_saddle(game, radius[i : i + 1], 1e-10) for i in range(3)]
    values = [float(f.saddle.certificate.upper) for f in found]
    assert values[0] > values[1] > values[2] > 0
    slope = (values[0] - values[1]) / 1e-5
    assert slope == pytest.approx(float(found[0].lam), rel=2e-2)


# --- the theorem ----------------------------------------------------------------------------------


@given(st.floats(0.1, 5), st.floats(0.0, 100), st.integers(10, 10**9), st.integers(1, 10**6))
def test_t2_is_root_two_times_t1_at_the_oracles_lambda(bound, c, n, members):
    size = finite_complexity(members, torch.tensor([n]), 0.1)
    ours, theirs = constraint_bound(bound, c, size).total, best_upper_bound(bound, c, size)
    torch.testing.assert_close(ours, math.sqrt(2) * theirs, rtol=1e-12, atol=0)
    netted = covering_complexity(make_problem("tabular").reward_class, torch.tensor([n]), 0.1)
    ours, theirs = constraint_bound(bound, c, netted).total, best_upper_bound(bound, c, netted)
    assert (ours <= math.sqrt(2) * theirs * (1 + 1e-12)).all()
    assert (ours >= theirs).all()


def test_t2_gains_what_the_fit_and_the_game_fall_short():
    size = finite_complexity(8, torch.tensor([50, 500]), 0.1)
    gaps = torch.tensor([0.01, 0.02]).double()
    found = constraint_bound(1.0, 2.0, size, fit_gap=2 * size.epsilon_n, gap=gaps)
    by_hand = 2 * (BRADLEY_TERRY.kappa(1.0) * 2.0 * 4 * size.epsilon_n).sqrt() + gaps
    torch.testing.assert_close(found.total, by_hand)
    assert torch.isinf(constraint_bound(1.0, math.inf, size).total).all()
    wide = constraint_bound(1.0, 2.0, size, link=PROBIT).total
    assert (wide != constraint_bound(1.0, 2.0, size).total).all()


@pytest.mark.parametrize("kind", ["finite", "linear", "kernel"])
def test_the_proof_holds_step_by_step(kind):
    """Wherever (H) holds at the fit the truth is in `V`, and the certified lower end is below its value."""
    drawn = draw_instances({"class": kind, "group": 1, "instances": 40, "delta": 0.1})
    game = drawn.game(torch.zeros(40))
    found = constrained_saddle(game, drawn.size.epsilon_n, 1e-7)
    truth = drawn.group.truth
    inside = loss(game, truth) <= found.level
    assert int(inside.sum()) >= 36
    worth = value(game, found.saddle.policy, truth)
    assert (worth >= found.saddle.certificate.lower - 1e-9)[inside].all()


@pytest.mark.parametrize("problem", ["finite", "linear", "rare_lucky"])
def test_the_referee_states_t2_for_the_theorems_radius_alone(problem):
    here = place(problem, 0.3)
    data = here.data(3000, 2)
    c, cls = here.coverage.single, here.view.reward_class
    oracle = Oracle(c)
    for options, stated in (
        ({}, True),
        ({"radius": "wilks"}, False),
        ({"baseline": "uniform"}, False),
    ):
        algorithm = ALGORITHMS["spac_constrained"](**options)
        fit = algorithm.fit(here.view, data, oracle)
        bound = theorem_bound(here, data.n, fit, algorithm)
        assert (bound is not None) is stated
        if bound is not None:
            size = covering_complexity(cls, data.n, here.view.delta)
            factor = (
                4
                * BRADLEY_TERRY.kappa(cls.difference_bound)
                * c
                * (2 * size.epsilon_n + fit.extra["fit_gap"])
            )
            net = 2 * size.net_radius * min(1.0, math.sqrt(c))
            torch.testing.assert_close(bound, factor.sqrt() + net + fit.gap)


# --- the algorithm --------------------------------------------------------------------------------


def test_the_algorithm_plays_the_constrained_saddle_and_reports_its_multiplier():
    here = place("rare_lucky", 0.3)
    data = here.data(10**6, 3)
    fit = make_algorithm("spac_constrained").fit(here.view, data)
    radius = covering_complexity(here.view.reward_class, data.n, here.view.delta).epsilon_n
    game = make_game(here.view, data, torch.zeros(3))
    assert torch.equal(fit.extra["radius"], radius)
    assert torch.equal(fit.lam, constrained_saddle(game, radius).lam)
    at_lambda = make_algorithm("spac", lam="fixed", scale=float(fit.lam[0]))
    policy = at_lambda.fit(here.view, data).policy.probabilities()[0]
    torch.testing.assert_close(fit.policy.probabilities()[0], policy, rtol=0, atol=1e-5)
    worth = here.suboptimality(here.view.baseline) - here.suboptimality(fit.policy.probabilities())
    assert (worth >= fit.extra["pessimistic_value"]).all()  # J(π̂) − J(ν), on this data
    finite = place("finite", 0.3)
    assert make_algorithm("spac_constrained").fit(finite.view, finite.data(300, 2)).lam is None


def test_wilks_radius_is_the_smaller_one():
    here = place("rare_lucky", 0.3)
    data = here.data(1000, 1)
    small, large = (loss_radius(here.view, data, kind) for kind in ("wilks", "theorem"))
    assert float(large / small) > 10


def test_bad_input_gets_a_sentence():
    game = random_game(0, max_contexts=3)
    with pytest.raises(InputError, match="radius is 0"):
        constrained_saddle(game, torch.zeros(1).double())
    with pytest.raises(InputError, match="radius has shape"):
        constrained_saddle(game, torch.ones(2).double())
    with pytest.raises(InputError, match="radius is 'bayes'"):
        make_algorithm("spac_constrained", radius="bayes")
    network = make_problem("neural", contexts=2, actions=2, width=2, starts=1, steps=5)
    algorithm = make_algorithm("spac_constrained")
    even = torch.full((2, 2), 0.5, dtype=torch.float64)
    view = LearnerView(network.reward_class, even[0], even, even)
    assert "finite or a bounded linear" in str(algorithm.skip(view, None))
    data = WinnerCounts(torch.ones(1, 2, 2, 2, dtype=torch.int64))
    with pytest.raises(InputError, match="NeuralClass"):
        constrained_saddle(make_game(view, data, torch.zeros(1)), torch.ones(1))


def test_at_new_contexts_it_is_greedy_or_where_it_knows_nothing_the_reference():
    features = torch.from_numpy(generator("new contexts").standard_normal((3, 3, 2)))
    here = place("linear", 0.3)
    cls = LinearClass(features, norm_bound=1.0)
    even = torch.full((3, 3), 1 / 3, dtype=torch.float64)
    view = replace(here.view, reward_class=cls, rho=even[0], baseline=even, reference=even)
    wins = torch.zeros(2, 3, 3, 3, dtype=torch.int64)
    wins[0, :, 0, 1], wins[0, :, 1, 2], wins[1, 0, 0, 1] = 100_000, 100_000, 1
    fit = make_algorithm("spac_constrained").fit(view, WinnerCounts(wins))
    reference = torch.tensor([[0.2, 0.3, 0.5]]).double()
    played = fit.policy.probabilities(Contexts(features[:1], reference))
    assert float(fit.lam[0]) > 0
    assert float(fit.lam[1]) == 0
    assert torch.equal(played[1], reference)
    assert played[0].max() == 1
