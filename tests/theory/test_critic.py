"""The critic (4) against SciPy's minimisers, and against the certificate's own claim."""

import pytest
import torch

from experiments.claims.games.instances import random_game, random_policies
from spac_theory import PROBIT, fast_saddle
from spac_theory.keys import generator
from tests.theory.reference import scipy_critic

TABLE_RANGE, TABLE_BALL = (True, "range", "full"), (True, "ball", "zeros")
LINEAR_BALL, LINEAR_BOTH = (False, "ball", "full"), (False, "both", "full")


@pytest.mark.parametrize("kind", [TABLE_RANGE, TABLE_BALL, LINEAR_BALL, LINEAR_BOTH])
@pytest.mark.parametrize("link", ["bradley_terry", "probit"])
@pytest.mark.parametrize("index", range(3))
def test_best_response_is_what_scipy_finds(kind, link, index):
    options = {} if link == "bradley_terry" else {"link": PROBIT}
    game = random_game(100 + index, 1, kind, max_contexts=4, max_actions=4, **options)
    policy = random_policies(generator("critic", index), game, 2)[0]
    answer = game.best_response(policy)
    other = scipy_critic(game, policy)
    scale = max(1.0, abs(other))
    assert float(answer.value) <= other + 1e-7 * scale
    assert float(answer.value - answer.gap) <= other + 1e-12 * scale
    assert float(answer.value) >= other - 2e-5 * scale


@pytest.mark.parametrize("kind", [TABLE_RANGE, LINEAR_BALL, LINEAR_BOTH])
def test_a_probit_game_is_certified_and_its_critic_is_scipys(kind):
    """At a saddle the policy's critic value is the value of the game, whoever computes it."""
    game = random_game(7, 1, kind, max_contexts=4, max_actions=4, link=PROBIT, n=300)
    saddle = fast_saddle(game)
    scale = max(1.0, float(saddle.certificate.upper.abs()))
    assert saddle.converged.all()
    assert 0 <= float(saddle.certificate.gap) <= 1e-8 * scale
    worst = scipy_critic(game, saddle.policy[0])
    assert abs(worst - float(saddle.certificate.upper)) <= 2e-5 * scale


def test_stationarity_in_the_interior():
    """Where no bound is active the gradient of the smooth objective vanishes."""
    game = random_game(3, 1, (False, "ball", "full"), max_contexts=6, n=10**6)
    cls = type(game.reward_class)(game.reward_class.features, norm_bound=1e3)
    theta = torch.zeros(cls.dimension, dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, *cls.shape, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    answer = cls.best_response(zero, one, game.data.fraction, game.link, tolerance=1e-13)
    theta = answer.parameters[0].requires_grad_(True)
    reward = cls.features @ theta
    margin = reward.unsqueeze(-1) - reward.unsqueeze(-2)
    loss = -(game.data.fraction[0] * torch.nn.functional.logsigmoid(margin)).sum()
    (gradient,) = torch.autograd.grad(loss, theta)
    assert float(theta.detach().norm()) < 1e3
    assert float(gradient.norm()) < 1e-6


def test_a_warm_start_changes_nothing_but_the_work():
    game = random_game(8, 3, (True, "both", "full"), max_contexts=4, n=500)
    policies = random_policies(generator("warm"), game, 2)
    first = game.best_response(policies[0])
    warm, cold = game.best_response(policies[1], warm=first.warm), game.best_response(policies[1])
    assert ((warm.value - cold.value).abs() <= warm.gap + cold.gap + 1e-12).all()
