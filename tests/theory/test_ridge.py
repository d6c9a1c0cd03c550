"""Regularised maximum likelihood against SciPy, and its data sets against each other."""

import numpy as np
import pytest
import torch
from scipy import optimize

from experiments.claims.games.instances import random_game
from spac_theory import BRADLEY_TERRY, PROBIT, InputError, WinnerCounts
from spac_theory.objective import tabular_preference_loss
from spac_theory.solvers.ridge import ridge_fit
from tests.theory.reference import autograd


@pytest.mark.parametrize("tabular", [True, False])
@pytest.mark.parametrize("link", [BRADLEY_TERRY, PROBIT], ids=["bradley_terry", "probit"])
@pytest.mark.parametrize("gamma", [1e-4, 0.3])
def test_fit_is_scipys(tabular, link, gamma):
    game = random_game(31, 3, (tabular, "ball", "full"), 4, 4, link, n=80)
    fit = ridge_fit(game.reward_class.design, game.data, gamma, link)
    features = game.reward_class.features
    for index in range(3):

        def value(theta, fraction=game.data.fraction[index]):
            loss = tabular_preference_loss(features @ theta, fraction, link)
            return loss + gamma / 2 * theta @ theta

        start = np.zeros(features.shape[-1])
        other = optimize.minimize(
            autograd(value), start, jac=True, method="BFGS", options={"gtol": 1e-10}
        )
        mine = float(value(fit.theta[index]))
        assert mine <= other.fun + 1e-10
        assert mine - float(fit.gap[index]) <= other.fun + 1e-12
        # strong convexity turns a gap into a distance
        distance = float((fit.theta[index] - torch.from_numpy(other.x)).norm())
        assert distance <= (2 * 1e-9 / gamma) ** 0.5


def test_a_data_set_does_not_depend_on_its_batch():
    """Data sets that need different numbers of Newton steps, alone and together: same bits."""
    games = [random_game(i, 1, (True, "ball", "full"), 1, 2, n=n) for i, n in ((1, 10), (2, 10**6))]
    wins = torch.cat([g.data.wins for g in games] + [torch.tensor([[[[0, 7], [0, 0]]]])])
    design, gamma = games[0].reward_class.design, torch.tensor([1e-1, 1e-6, 1e-5])
    batch = ridge_fit(design, WinnerCounts(wins), gamma, BRADLEY_TERRY)
    for lane in range(3):
        alone = ridge_fit(
            design, WinnerCounts(wins[lane : lane + 1]), gamma[lane : lane + 1], BRADLEY_TERRY
        )
        assert torch.equal(alone.theta[0], batch.theta[lane])


def test_ridge_must_be_positive():
    game = random_game(1)
    with pytest.raises(InputError, match="ridge is 0"):
        ridge_fit(game.reward_class.design, game.data, 0.0, BRADLEY_TERRY)
