"""SPAC-T: the gap of its mixture stays under Hedge's `R √(log A / (2T))`."""

import pytest
import torch

from experiments.claims.games.instances import KINDS, random_game, random_simplex
from spac_theory import InputError, fast_saddle, mirror_descent
from spac_theory.keys import generator
from tests.theory.hedge import finite_game, gap_ratio, small_game


@pytest.mark.parametrize(
    ("make", "rounds", "games"),
    [
        (small_game, 10, range(6)),
        (small_game, 100, (0, 3, 4)),
        # Enumerated critics are cheap, so many rounds are; the certificate is that of a mixture.
        (finite_game, 10, range(8)),
        (finite_game, 100, range(6)),
        (finite_game, 1000, range(3)),
    ],
)
def test_gap_from_the_uniform_policy(make, rounds, games):
    for index in games:
        assert gap_ratio(make(index), rounds) <= 1


def test_gap_after_a_thousand_rounds():
    assert gap_ratio(small_game(3, seeds=2), 1000) <= 1


@pytest.mark.parametrize(("rounds", "games"), [(10, (1, 2, 4)), (100, (3,))])
def test_gap_from_a_reference_policy(rounds, games):
    for index in games:
        game = small_game(index)
        start = random_simplex(generator("start", index), *game.reward_class.shape)
        assert gap_ratio(game, rounds, start) <= 1


@pytest.mark.parametrize("index", [0, 2, 4])
def test_mixture_approaches_the_fast_saddle(index):
    """The certificate of SPAC-T brackets the value that another solver finds."""
    game = random_game(index, 2, KINDS[index], max_contexts=4, max_actions=5)
    run, saddle = mirror_descent(game, 30), fast_saddle(game)
    assert (run.certificate.lower <= saddle.certificate.upper + 1e-7).all()
    assert (run.certificate.upper >= saddle.certificate.lower - 1e-7).all()


def test_update_is_the_exponential_weights_of_the_critics():
    """After two rounds, `π_2 ∝ exp(η r_1)` with `r_1` the critic of the uniform policy."""
    game = random_game(2, 1, KINDS[0], max_contexts=3, max_actions=4)
    run = mirror_descent(game, 2, eta=0.7)
    contexts, actions = game.reward_class.shape
    uniform = torch.full((contexts, actions), 1 / actions, dtype=torch.float64)
    first = game.best_response(uniform, 1e-11).reward
    expected = torch.softmax(0.7 * first, -1)
    torch.testing.assert_close(run.last, expected, rtol=0, atol=2e-2)
    torch.testing.assert_close(run.mixture, (uniform + run.last) / 2, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iterations": 0}, "iterations is 0"),
        ({"iterations": 5, "eta": 0.0}, "eta is 0"),
        ({"iterations": 5, "start": "vertex"}, "start has a zero probability"),
    ],
)
def test_bad_input(options, message):
    game = random_game(0, 1, KINDS[0], max_contexts=3, max_actions=4)
    if options.get("start") == "vertex":
        contexts, actions = game.reward_class.shape
        options = {**options, "start": torch.eye(actions, dtype=torch.float64)[[0] * contexts]}
    with pytest.raises(InputError, match=message):
        mirror_descent(game, **options)
