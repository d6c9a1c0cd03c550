"""The finite class: the interior point against a linear program, and certificates with mixtures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spac_theory import Game, InputError, PreferenceModel, certify, pair_law, winner_law
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.rewards.finite import FiniteClass
from spac_theory.saddle.finite import simplex_saddle
from spac_theory.saddle.mirror_descent import mirror_descent
from spac_theory.saddle.reference.linear_program import linear_program_saddle, mixture_certificate


def random_game(seed: int, shape: tuple[int, int], members: int, n: int, lanes: int = 3) -> Game:
    rng = np.random.default_rng(seed)
    rewards = torch.from_numpy(rng.uniform(-1, 1, (members, *shape)))
    rho = torch.from_numpy(rng.dirichlet(np.ones(shape[0])))
    mu = torch.from_numpy(rng.dirichlet(np.ones(shape[1]), shape[0]))
    law = winner_law(rho, pair_law(mu), PreferenceModel.from_reward(rewards[0]))
    wins = rng.multinomial(n, law.flatten().numpy() / float(law.sum()), size=lanes)
    data = WinnerCounts(torch.from_numpy(wins).reshape(lanes, *law.shape))
    return Game(FiniteClass(rewards), data, torch.tensor(n**0.5), rho, mu)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 5),
    st.integers(2, 5),
    st.integers(1, 20),
    st.sampled_from([1, 30, 10**4, 10**6]),
)
def test_interior_point_has_the_value_of_the_linear_program(seed, contexts, actions, members, n):
    game = random_game(seed, (contexts, actions), members, n)
    ours, reference = simplex_saddle(game), linear_program_saddle(game)
    assert bool(ours.converged.all())
    scale = reference.certificate.upper.abs().clamp_min(1)
    assert ((ours.certificate.upper - reference.certificate.upper).abs() <= 1e-6 * scale).all()
    assert (ours.certificate.gap >= -1e-9 * scale).all()
    assert torch.allclose(ours.policy.sum(-1), torch.ones(()).double())


def test_a_context_without_weight_gets_the_uniform_policy():
    game = random_game(1, (3, 4), 6, 100)
    rho = torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64)
    saddle = simplex_saddle(Game(game.reward_class, game.data, game.lam, rho, game.baseline))
    assert torch.allclose(saddle.policy[:, 1], torch.full((3, 4), 0.25).double())
    assert bool(saddle.converged.all())


def test_certificate_averages_losses_not_rewards():
    """`E_D` of the averaged reward is smaller: with it the "gap" of the same pair is smaller."""
    game = random_game(2, (2, 3), 8, 50)
    mixture = torch.full((3, 8), 1 / 8, dtype=torch.float64)
    saddle = simplex_saddle(game)
    honest = mixture_certificate(game, saddle.policy, mixture)
    cls = game.reward_class
    wrong = game.leader_value(cls.average(mixture)) - honest.lower
    assert (honest.gap > wrong + 1e-3).all()
    with pytest.raises(InputError, match="mixture"):
        certify(game, saddle.policy, saddle.reward)


def test_mirror_descent_stays_under_its_bound():
    game = random_game(3, (3, 4), 12, 1000)
    for rounds in (10, 100):
        run = mirror_descent(game, rounds)
        assert (run.certificate.gap >= -1e-9).all()
        assert (run.certificate.gap <= run.bound).all()


def test_lanes_do_not_see_each_other():
    game = random_game(4, (3, 3), 10, 300, lanes=5)
    whole = simplex_saddle(game).policy
    for lane in range(5):
        data = WinnerCounts(game.data.wins[lane : lane + 1])
        alone = Game(game.reward_class, data, game.lam[:1], game.rho, game.baseline)
        assert torch.allclose(simplex_saddle(alone).policy[0], whole[lane], atol=1e-5)


def test_a_list_of_tables_says_that_it_does_not_generalise():
    cls = FiniteClass(torch.rand(2, 2, 3))
    with pytest.raises(InputError, match="contexts it was not listed for"):
        cls.reward_at(torch.tensor([0]), torch.rand(1, 3, 2))


def test_a_baseline_of_each_data_set_gives_the_value_of_the_linear_program_of_its_own():
    game = random_game(5, (3, 4), 12, 400)
    baseline = torch.from_numpy(np.random.default_rng(5).dirichlet(np.ones(4), (3, 3)))
    whole = simplex_saddle(Game(game.reward_class, game.data, game.lam, game.rho, baseline))
    assert bool(whole.converged.all())
    for lane in range(3):
        data = WinnerCounts(game.data.wins[lane : lane + 1])
        alone = Game(game.reward_class, data, game.lam[:1], game.rho, baseline[lane])
        reference = linear_program_saddle(alone).certificate.upper
        assert float((whole.certificate.upper[lane] - reference).abs()) < 1e-6
