"""No NaN leaves a solver, and none passes a border; the fast saddle does not cycle."""

import pytest
import torch

from experiments.claims.games.fuzz import KINDS, draw_batch
from spac_theory import (
    Certificate,
    Fit,
    Game,
    InputError,
    LearnerView,
    LinearClass,
    PreferenceModel,
    WinnerCounts,
    certify,
    checks,
    fast_saddle,
    make_algorithm,
    pair_law,
    sample_winner_counts,
    tabular_class,
    winner_law,
)
from spac_theory.bounds.upper import finite_complexity, upper_bound
from spac_theory.checks import NotANumber
from spac_theory.rewards.base import BestResponse
from spac_theory.saddle.finite import simplex_saddle
from spac_theory.solvers.design import cholesky
from spac_theory.view import TabularPolicy


def _coin_flips(norm_bound=2.0, n=1000):
    """Games on data of a zero reward: the ball is inactive and its multiplier vanishes."""
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(3, 4, 3, dtype=torch.float64, generator=rng)
    uniform, rho = torch.full((3, 4), 0.25).double(), torch.full((3,), 1 / 3, dtype=torch.float64)
    flat = PreferenceModel.from_reward(torch.zeros(3, 4).double())
    data = sample_winner_counts(winner_law(rho, pair_law(uniform), flat), n, range(64), "flips")
    return Game(LinearClass(features, norm_bound), data, n**0.5, rho, uniform)


def test_the_critic_over_an_inactive_ball_is_a_number():
    game = _coin_flips()
    policy = torch.nn.functional.one_hot(torch.tensor([0, 1, 2]), 4).double().expand(64, -1, -1)
    response = game.best_response(policy)
    assert (response.gap <= 1e-8).all()
    saddle = fast_saddle(game)
    assert (certify(game, saddle.policy, saddle.reward).gap <= 1e-7).all()


@pytest.mark.parametrize("kind", KINDS[:7])
def test_lanes_of_every_scale_are_certified(kind):
    batch = draw_batch(kind, 0, 32)
    saddle = fast_saddle(batch.game)
    scale = batch.game.leader_value(saddle.reward, torch.zeros_like(batch.game.lam)).abs()
    assert (saddle.certificate.gap <= 1e-7 * scale.clamp_min(1) + 1e-12 * batch.game.lam).all()
    assert torch.isfinite(batch.game.best_response(batch.policies).gap).all()


def test_an_indefinite_matrix_spoils_its_own_lane_only():
    matrices = torch.stack([torch.eye(2), -torch.eye(2)]).double()
    answer = cholesky(matrices).solve(torch.ones(2, 2).double())
    assert torch.equal(answer[0], torch.ones(2).double())
    assert answer[1].isnan().all()


def test_a_nan_is_refused_at_every_border():
    table, bad = torch.full((1, 2, 2), 0.5).double(), torch.tensor([torch.nan]).double()
    good = torch.zeros(1).double()
    policy = TabularPolicy(table)
    for build in (
        lambda: upper_bound(1.0, 1.0, finite_complexity(2, good + 9, 0.1), bad),
        lambda: upper_bound(1.0, 1.0, finite_complexity(2, good + 9, 0.1), good + 1, gap=bad),
        lambda: Certificate(bad, good),
        lambda: Certificate(good, bad),
        lambda: BestResponse(table, good, bad),
        lambda: Fit(policy, "duality gap", bad),
        lambda: Fit(policy, "none", lam=bad),
        lambda: Fit(policy, "none", extra={"column": bad}),
        lambda: Fit(policy, "none", reward=table * torch.nan),
        lambda: Fit(TabularPolicy(table * torch.nan), "none"),
    ):
        with pytest.raises(NotANumber, match="is NaN in"):
            build()


def test_a_lambda_beyond_double_precision_is_refused():
    game = _coin_flips(n=10)
    with pytest.raises(InputError, match="lam is 1e\\+12"):
        Game(game.reward_class, game.data, 1e12, game.rho, game.baseline)


def test_a_class_that_tells_no_actions_apart_is_solved():
    """`R = 0`: self-play and χPO once divided by it."""
    features = torch.ones(2, 3, 2, dtype=torch.float64)
    uniform = torch.full((2, 3), 1 / 3, dtype=torch.float64)
    rho = torch.full((2,), 0.5, dtype=torch.float64)
    flat = PreferenceModel.from_reward(torch.zeros(2, 3).double())
    data = sample_winner_counts(winner_law(rho, pair_law(uniform), flat), 50, range(3), "equal")
    view = LearnerView(LinearClass(features, 1.0), rho, uniform, uniform)
    for name in ("spac_t", "chi_po"):
        policy = make_algorithm(name).fit(view, data).policy.probabilities()
        assert torch.allclose(policy.sum(-1), torch.ones(3, 2, dtype=torch.float64))


def test_sizes_that_no_memory_or_integer_holds_are_refused():
    with pytest.raises(InputError, match="at most 10000 cells"):
        tabular_class(5000, 5, norm_bound=1.0)
    with pytest.raises(InputError, match="at most 2\\^53"):
        WinnerCounts(torch.full((1, 1, 2, 2), 2**61))
    with pytest.raises(InputError, match="convert to float64 first"):
        checks.simplex("rho", torch.full((3,), 1 / 3).double())


def test_a_critic_far_from_its_sphere_is_found_by_careful_steps():
    """Separable data at large λ: multipliers of the ball once died before the dual residual did."""
    batch = draw_batch("linear ball", 0, 64)
    response = batch.game.best_response(batch.policies)
    assert (response.gap <= 1e-7).all()


def test_a_table_of_equal_actions_is_solved_in_spite_of_rounding():
    """Both actions have the same features, so all curvature cancels."""
    features = torch.full((1, 2, 1), 1.7811137, dtype=torch.float64)
    rho, uniform = torch.ones(1).double(), torch.full((1, 2), 0.5).double()
    wins = WinnerCounts(torch.tensor([[[[3, 400_000], [600_000, 0]]]]))
    game = Game(LinearClass(features, None, (-10.0, 16.0)), wins, 1017.5, rho, uniform)
    assert fast_saddle(game).converged.all()


@pytest.mark.parametrize("index", [10, 26, 34])
def test_rounding_does_not_stay_in_the_game_over_a_finite_class(index):
    """A residual of the multipliers once kept a few games in a hundred from 1e-8."""
    assert simplex_saddle(draw_batch("finite", index, 64).game).converged.all()
