"""Numbers do not depend on the size of a batch, on the order of its lanes, or on the run.

Tables give the same bits whatever the batch, and so do shared features wherever matrix products are
batched lane by lane. What contracts over data sets in one product (the covariance of pessimistic
likelihood) rounds by the size of the batch: there numbers agree to 1e-10.
"""

import pytest
import torch

from experiments.claims.games.instances import KINDS, random_game, random_setting
from spac_theory import ALGORITHMS, Oracle, WinnerCounts, fast_saddle, make_algorithm

QUICK = {"spac_t": {"iterations": 3}, "dpo_gradient": {"steps": 20}}
CORE = (
    "behaviour_cloning",
    "dpo",
    "dpo_gradient",
    "kl_rlhf",
    "mle_greedy",
    "pessimistic_mle",
    "spac",
    "spac_constrained",
    "spac_t",
    "uniform",
)


def policies(name, view, wins):
    algorithm = make_algorithm(name, **QUICK.get(name, {}))
    return algorithm.fit(view, WinnerCounts(wins), Oracle(0.7)).policy.probabilities()


def in_pieces(name, view, wins, size):
    return torch.cat([policies(name, view, part) for part in wins.split(size)])


def test_every_algorithm_of_the_core_is_registered():
    assert set(CORE) <= set(ALGORITHMS)


@pytest.mark.parametrize("name", CORE)
def test_tables_give_the_same_bits_in_any_batch(name):
    """Two sizes that divide nothing, the reversed order, and a batch above the solver's chunk."""
    view, data = random_setting(1, seeds=66, n=300)
    together = policies(name, view, data.wins)
    assert torch.equal(policies(name, view, data.wins.flip(0)).flip(0), together)
    assert torch.equal(in_pieces(name, view, data.wins, 64), together)
    few = data.wins[:14]
    assert torch.equal(in_pieces(name, view, few, 7), together[:14])
    assert torch.equal(in_pieces(name, view, few[:5], 1), together[:5])


@pytest.mark.parametrize("name", [*CORE, "chi_po", "hypo"])
def test_shared_features_agree_to_1e_10_in_any_batch(name):
    """A search from projected starts (the last two) would turn one bit into 1e-6."""
    view, data = random_setting(1, seeds=15, n=300, tabular=False)
    together = policies(name, view, data.wins)
    for size in (1, 7):
        torch.testing.assert_close(
            in_pieces(name, view, data.wins, size), together, rtol=0, atol=1e-10
        )
    back = policies(name, view, data.wins.flip(0)).flip(0)
    torch.testing.assert_close(back, together, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS[:6], ids=str)
def test_games_of_different_difficulty_share_a_batch(kind):
    """`λ` from 0 to hundreds in one batch; lanes leave it at different iterations."""
    game = random_game(9, 9, kind, max_contexts=4, n=5000)
    lam = torch.tensor([0.0, 1e-3, 0.1, 1.0, 5.0, 20.0, 70.0, 150.0, 350.0])
    batch = type(game)(game.reward_class, game.data, lam, game.rho, game.baseline)
    together = fast_saddle(batch)
    for lane in range(9):
        one = WinnerCounts(game.data.wins[lane : lane + 1])
        alone = fast_saddle(type(game)(game.reward_class, one, lam[lane], game.rho, game.baseline))
        torch.testing.assert_close(alone.policy[0], together.policy[lane], rtol=0, atol=1e-10)
        torch.testing.assert_close(
            alone.certificate.upper[0], together.certificate.upper[lane], rtol=0, atol=1e-10
        )
