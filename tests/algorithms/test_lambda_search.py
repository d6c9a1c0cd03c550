"""The rule `certified` chooses what the whole grid would, from fewer saddles."""

import pytest
import torch

from experiments.claims.games.instances import KINDS, random_game
from spac_theory import LearnerView
from spac_theory.learning import lambda_rules
from spac_theory.learning.lambda_rules import GRID, loss_radius, make_game
from spac_theory.rewards.base import likeliest_member
from spac_theory.saddle.solve import solve_saddle
from tests.theory.hedge import finite_game


def whole_grid(view, data, scale, radius):
    """`λ` and pessimistic value of every multiple, `(6, S)` each, one solve after the other."""
    fit = likeliest_member(view.reward_class, data.fraction, view.link)
    level = fit.value + loss_radius(view, data, radius)
    lam = [scale * m * data.n.double().sqrt() for m in GRID]
    saddles = [solve_saddle(make_game(view, data, x)) for x in lam]
    values = [s.certificate.lower - x * level for s, x in zip(saddles, lam, strict=True)]
    return torch.stack(lam), torch.stack(values)


def view_of(game):
    return LearnerView(game.reward_class, game.rho, game.baseline, game.baseline, link=game.link)


GAMES = [random_game(40 + i, 4, KINDS[i % 6], max_contexts=4, max_actions=5) for i in range(12)]


@pytest.mark.parametrize("game", [*GAMES, *(finite_game(i) for i in range(4))])
@pytest.mark.parametrize(("radius", "scale"), [("theorem", 1.0), ("wilks", 1.0), ("wilks", 0.01)])
def test_the_search_finds_the_best_of_the_whole_grid(game, radius, scale):
    view = view_of(game)
    chosen = lambda_rules.certified(view, game.data, scale, None, radius)
    lam, values = whole_grid(view, game.data, scale, radius)
    best = values.max(0).values
    size = best.abs().clamp_min(1) + 1e-4 * chosen.lam
    assert ((chosen.extra["pessimistic_value"] - best).abs() <= 3e-8 * size).all()
    played = (chosen.lam == lam).nonzero()
    assert sorted(set(played[:, 1].tolist())) == list(range(len(best)))
    again = solve_saddle(make_game(view, game.data, chosen.lam)).certificate
    assert (chosen.saddle.certificate.lower <= again.upper + 1e-9).all()
    assert (again.lower <= chosen.saddle.certificate.upper + 1e-9).all()


def test_it_solves_fewer_saddles_than_the_grid_has(monkeypatch):
    solved = []

    def counting(game, *options):
        solved.append(len(game.lam))
        return solve_saddle(game, *options)

    monkeypatch.setattr(lambda_rules, "solve_saddle", counting)
    for game in GAMES:
        lambda_rules.wilks(view_of(game), game.data, 1.0, None)
    lanes = sum(len(game.lam) for game in GAMES)
    assert lanes <= sum(solved) <= 0.7 * len(GRID) * lanes


def test_scale_0_plays_the_game_without_data():
    game = GAMES[0]
    chosen = lambda_rules.wilks(view_of(game), game.data, 0.0, None)
    assert float(chosen.lam.abs().max()) == 0
    assert torch.isfinite(chosen.extra["pessimistic_value"]).all()
