"""Inexact critics: what they certify is true, and self-play with them agrees with exact self-play."""

import math

import pytest
import torch

from experiments.claims.games.instances import KINDS, random_game, random_policies
from spac_theory import PROBIT, mirror_descent
from spac_theory.keys import generator
from spac_theory.rewards.linear import LinearClass
from spac_theory.saddle.follower import BallFollower, BoxFollower, ExactFollower, follower_of
from tests.theory.hedge import finite_game, hedge_bound, small_game

FOLLOWERS = {
    (True, "range"): BoxFollower,
    (True, "ball"): BallFollower,
    (False, "ball"): BallFollower,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_class_has_its_follower(kind):
    game = random_game(3, 1, kind, max_contexts=3, max_actions=4)
    expected = FOLLOWERS.get(kind[:2], ExactFollower)
    assert type(follower_of(game, "inexact", 1e-6)) is expected
    assert type(follower_of(game, "exact", 1e-6)) is ExactFollower


def test_a_class_of_ones_own_answers_for_itself():
    class Own(LinearClass):
        def best_response(self, *args, **options):
            return super().best_response(*args, **options)

    game = small_game(0)
    own = Own(game.reward_class.features, game.reward_class.norm_limit)
    object.__setattr__(game, "reward_class", own)
    assert type(follower_of(game, "inexact", 1e-6)) is ExactFollower


@pytest.mark.parametrize("kind", [k for k in KINDS if k[:2] in FOLLOWERS])
@pytest.mark.parametrize(("link", "index"), [(None, 0), (None, 1), (None, 11), (PROBIT, 2)])
@pytest.mark.parametrize("allowed", [1e-2, 1e-8])
def test_an_answer_is_a_member_and_its_gap_is_true(kind, link, index, allowed):
    """Against the interior-point solver, over policies that follow each other without likeness."""
    options = {} if link is None else {"link": link}
    game = random_game(200 + index, 3, kind, max_contexts=5, max_actions=5, **options)
    cls, follower = game.reward_class, follower_of(game, "inexact", 1e-9)
    room = torch.full_like(game.lam, allowed)
    for policy in random_policies(generator("follower", index), game, 4):
        found, exact = follower.answer(policy, room), game.best_response(policy, 1e-10)
        value = game.value(policy, found.reward)
        rounding = 1e-11 * (1 + game.lam)
        assert (found.gap <= room + rounding).all()
        assert (value - found.gap <= exact.value + rounding).all()
        assert (value >= exact.value - exact.gap - rounding).all()
        design_reward = cls.design.forward(found.parameters)
        torch.testing.assert_close(design_reward, found.reward, rtol=0, atol=1e-12)
        assert float(found.parameters.norm(dim=-1).max()) <= cls.norm_limit * (1 + 1e-12)
        low, high = cls.reward_range or (-math.inf, math.inf)
        assert float(found.reward.min()) >= low
        assert float(found.reward.max()) <= high


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("rounds", [1, 7, 60])
def test_the_bound_adds_the_average_gap_and_it_is_a_hundredth(index, rounds):
    game = small_game(index)
    run, hedge = mirror_descent(game, rounds), hedge_bound(game, rounds)
    assert run.bound == pytest.approx(hedge + float(run.critic_gap.max()), rel=1e-12)
    assert (run.critic_gap >= -1e-9).all()
    assert (run.critic_gap <= 1.5e-2 * hedge).all()
    assert (run.certificate.gap <= run.bound).all()
    assert (run.critic_gap <= run.spread + 1e-12).all()


@pytest.mark.parametrize("index", range(6))
def test_inexact_and_exact_self_play_agree_to_what_they_certify(index):
    """Both bracket the value of one game, and their mixtures' values differ by less than the gaps."""
    game = small_game(index)
    ours, exact = mirror_descent(game, 50), mirror_descent(game, 50, critic="exact")
    assert (ours.certificate.lower <= exact.certificate.upper + 1e-8).all()
    assert (exact.certificate.lower <= ours.certificate.upper + 1e-8).all()
    apart = (ours.certificate.lower - exact.certificate.lower).abs()
    assert (apart <= torch.maximum(ours.certificate.gap, exact.certificate.gap) + 1e-8).all()
    assert (ours.certificate.gap <= exact.certificate.gap + 2e-2 * ours.bound).all()


def test_a_batch_is_its_data_sets_one_by_one():
    for kind in ((True, "range", "full"), (False, "ball", "full")):
        game = random_game(5, 3, kind, max_contexts=4, max_actions=4)
        together = mirror_descent(game, 20)
        for s in range(3):
            lane = type(game)(
                game.reward_class, type(game.data)(game.data.wins[s : s + 1]), game.lam[s : s + 1],
                game.rho, game.baseline, game.link,
            )  # fmt: skip
            alone = mirror_descent(lane, 20)
            torch.testing.assert_close(alone.mixture[0], together.mixture[s], rtol=0, atol=1e-9)


def test_a_finite_class_is_enumerated_either_way():
    game = finite_game(0)
    ours, exact = mirror_descent(game, 20), mirror_descent(game, 20, critic="exact")
    assert torch.equal(ours.mixture, exact.mixture)
    assert float(ours.critic_gap.max()) == 0
