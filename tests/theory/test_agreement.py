"""The fast saddle against the conic solver; `make claims` runs more games of the same kind."""

import pytest
import torch

from experiments.claims.games.agreement import compare
from experiments.claims.games.instances import KINDS, random_game
from spac_theory import fast_saddle
from spac_theory.saddle.reference.conic import conic_saddle


@pytest.mark.parametrize("index", range(40))
def test_value_and_certificate_agree_with_the_conic_solver(index):
    result = compare(index)
    assert result.converged
    assert result.difference <= 1e-6
    assert 0 <= result.gap <= 1e-6
    assert result.outside <= 1e-7


@pytest.mark.parametrize("index", range(0, 12, 5))
def test_policy_of_the_conic_solver_is_optimal_here_too(index):
    """The conic policy, certified by our critic, is worth what our own policy is."""
    game = random_game(index)
    ours = fast_saddle(game)
    theirs = game.best_response(conic_saddle(game).policy)
    scale = ours.certificate.upper.abs().clamp_min(1)
    assert (ours.certificate.lower - theirs.value <= 1e-5 * scale).all()
    assert (theirs.value - theirs.gap <= ours.certificate.upper + 1e-9 * scale).all()


def test_all_kinds_of_games_are_drawn():
    kinds = set()
    for index in range(len(KINDS)):
        game = random_game(index)
        cls = game.reward_class
        kinds.add((cls.tabular, cls.norm_bound is None, cls.reward_range is None))
        assert torch.isclose(game.rho.sum(), torch.tensor(1.0, dtype=torch.float64))
    assert len(kinds) == 6
