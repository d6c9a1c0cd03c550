"""The certificate (6): non-negative, weakly dual, and never below the true gap."""

import pytest
import torch

from experiments.claims.games.instances import random_game, random_member, random_policies
from spac_theory import (
    Game,
    InputError,
    PreferenceModel,
    certify,
    fast_saddle,
    make_behaviour,
    make_problem,
    pair_law,
    sample_winner_counts,
    winner_law,
)
from spac_theory.keys import generator
from tests.theory.reference import conic_critic

ROUNDING = 1e-9


@pytest.mark.parametrize("index", range(24))
def test_weak_duality_for_arbitrary_pairs(index):
    """Any policy's lower value is below any reward's upper value: `lower(π) ≤ upper(r)`."""
    game = random_game(index, max_contexts=6)
    rng = generator("weak duality", index)
    policies = random_policies(rng, game, 4)
    rewards = random_member(rng, game.reward_class, 5)
    lower = torch.stack([_lower(game, p) for p in policies])
    upper = torch.stack([game.leader_value(r[None])[0] for r in rewards])
    slack = ROUNDING * max(1.0, float(upper.abs().max()))
    assert (lower[:, None] <= upper[None, :] + slack).all()


def _lower(game, policy):
    response = game.best_response(policy)
    assert (response.gap >= -ROUNDING).all()
    return (response.value - response.gap)[0]


@pytest.mark.parametrize("index", range(24))
def test_both_ends_bound_every_opponent(index):
    """No random member beats the certified critic, no random policy the closed-form leader."""
    game = random_game(index, max_contexts=6)
    rng = generator("opponents", index)
    policy, reward = random_policies(rng, game, 2)[0], random_member(rng, game.reward_class)[0]
    certificate = certify(game, policy, reward[None])
    slack = ROUNDING * max(1.0, float(certificate.upper.abs()))
    for member in random_member(rng, game.reward_class, 30):
        assert game.value(policy, member[None]) >= certificate.lower - slack
    for other in random_policies(rng, game, 30):
        assert game.value(other, reward[None]) <= certificate.upper + slack


@pytest.mark.parametrize("index", range(12))
def test_certificate_is_not_below_the_true_gap(index):
    """The gap of an arbitrary pair with the critic solved by a conic solver."""
    game = random_game(index, max_contexts=6)
    rng = generator("true gap", index)
    policy, reward = random_policies(rng, game, 2)[0], random_member(rng, game.reward_class)[0]
    certificate = certify(game, policy, reward[None])
    true = float(game.leader_value(reward[None])) - conic_critic(game, policy)
    scale = max(1.0, abs(true))
    assert float(certificate.gap) >= true - 1e-7 * scale
    assert float(certificate.gap) <= true + 1e-6 * scale


@pytest.mark.parametrize("index", range(12))
def test_solved_gap_is_the_gap_of_its_own_pair(index):
    """The solver's cheap bound holds for the pair it returns: recomputed from scratch."""
    game = random_game(index, seeds=3)
    saddle = fast_saddle(game)
    again = certify(game, saddle.policy, saddle.reward, tolerance=1e-11)
    scale = saddle.certificate.upper.abs().clamp_min(1)
    assert (saddle.certificate.gap >= -1e-12 * scale).all()
    assert (again.gap <= saddle.certificate.gap + 1e-10 * scale).all()
    assert (saddle.policy.sum(-1) - 1).abs().max() < 1e-12
    assert saddle.policy.min() >= 0
    cls = game.reward_class
    if cls.reward_range is not None:
        low, high = cls.reward_range
        assert saddle.reward.min() >= low
        assert saddle.reward.max() <= high


def test_a_game_cut_short_says_so_and_its_certificate_still_holds():
    game = random_game(3, seeds=4)
    rough, fine = fast_saddle(game, max_iterations=3), fast_saddle(game)
    assert not rough.converged.any()
    assert (rough.certificate.lower <= fine.certificate.upper).all()
    assert (rough.certificate.upper >= fine.certificate.lower).all()


def test_certify_refuses_what_is_no_policy():
    game = random_game(0)
    with pytest.raises(InputError, match="policy sums to"):
        certify(game, torch.ones(game.reward_class.shape, dtype=torch.float64), torch.zeros(1))


def test_accuracy_is_of_value_however_large_the_data_term_is():
    """At n = 1e9 `λ E_D` is 2e4; the gap asked for is still 1e-8 of value, freshly certified."""
    problem = make_problem("tabular", contexts=4, actions=4)
    bandit = problem.bandit
    behaviour = make_behaviour("coverage").policy(problem, 0.3)
    law = winner_law(bandit.rho, pair_law(behaviour), PreferenceModel.from_reward(bandit.reward))
    data = sample_winner_counts(law, 10**9, range(4), "certificates", "large")
    game = Game(problem.reward_class, data, data.n.double().sqrt(), bandit.rho, behaviour)
    saddle = fast_saddle(game, 1e-8)
    assert bool(saddle.converged.all())
    assert float(saddle.certificate.upper.min()) > 1e4
    fresh = certify(game, saddle.policy, saddle.reward, 1e-9)
    assert float(fresh.gap.max()) <= 1.1e-8
