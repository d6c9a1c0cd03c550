"""Identities between methods: limits, closed forms, and what each of them solves."""

import cvxpy as cp
import numpy as np
import pytest
import torch
from scipy import optimize

from experiments.claims.games.instances import KINDS, random_game, random_setting, random_simplex
from spac_theory import (
    BRADLEY_TERRY,
    Game,
    LearnerView,
    PreferenceModel,
    WinnerCounts,
    fast_saddle,
    make_algorithm,
    pair_law,
    tabular_class,
    winner_law,
)
from spac_theory.bandit.contextual import ContextualBandit, tilt
from spac_theory.keys import generator
from spac_theory.objective import tabular_preference_loss
from spac_theory.rewards.linear import one_hot_features
from spac_theory.saddle.reference.conic import conic_saddle
from tests.theory.reference import autograd


def worst_case(game, policy):
    """`min_r L(π, r) + λ E_D(r)` over the class for one policy `(X, A)`, by a conic solver."""
    cls = game.reward_class
    theta = cp.Variable(cls.dimension)
    reward = cls.features.flatten(0, 1).numpy() @ theta
    shift = (game.rho[:, None] * (policy - game.baseline)).flatten().numpy()
    objective = shift @ reward
    actions = cls.shape[1]
    fraction = game.data.fraction[0].numpy()
    for x, a, b in np.argwhere(fraction):
        margin = reward[x * actions + a] - reward[x * actions + b]
        objective += float(game.lam[0]) * fraction[x, a, b] * cp.logistic(-margin)
    limits = [] if cls.norm_bound is None else [cp.norm(theta) <= cls.norm_bound]
    if cls.reward_range is not None:
        limits += [reward >= cls.reward_range[0], reward <= cls.reward_range[1]]
    return cp.Problem(cp.Minimize(objective), limits).solve(cp.CLARABEL)


@pytest.mark.parametrize("start", ["uniform", "reference"])
@pytest.mark.parametrize("kind", KINDS[:6], ids=str)
def test_i8_spac_t_attains_the_value_of_the_epigraph_program_within_hedges_bound(kind, start):
    """The mixture's worst case is at most the value, and short of it by at most Hedge's bound.

    Both sides by a conic solver: the saddle as an epigraph program, the worst case of the policy
    that SPAC-T returned as another one.
    """
    game = random_game(7, 1, kind, max_contexts=3, max_actions=4, n=200)
    lam = 0.3 * game.data.n.to(torch.float64).sqrt()
    game = Game(game.reward_class, game.data, lam, game.rho, game.baseline)
    value, bound = conic_saddle(game).value, game.reward_class.difference_bound
    reference = random_simplex(generator("I8"), *game.reward_class.shape)
    view = LearnerView(game.reward_class, game.rho, reference, game.baseline)
    width = np.log(reference.shape[1]) if start == "uniform" else -np.log(float(reference.min()))
    for rounds in (4, 64):
        algorithm = make_algorithm("spac_t", iterations=rounds, scale=0.3, start=start)
        fit = algorithm.fit(view, game.data)
        hedge = bound * np.sqrt(width / (2 * rounds))
        # Each critic is certified to a hundredth of the bound, which is added to it.
        assert hedge <= float(fit.extra["hedge_bound"]) <= 1.02 * hedge
        shortfall = value - worst_case(game, fit.policy.probabilities()[0])
        assert -1e-6 <= shortfall <= float(fit.extra["hedge_bound"]) + 1e-6
        assert shortfall <= float(fit.gap) + 1e-6


@pytest.mark.parametrize("kind", KINDS[:6], ids=str)
def test_i8_without_data_term_the_baseline_is_optimal(kind):
    """`λ → 0` with `ν = μ`: the value is exactly 0 and `μ` attains it (the critic can be flat).

    A class without a constant member at every context still has value 0: `L(ν, r) = 0` for all `r`.
    """
    game = random_game(5, 1, kind, max_contexts=5)
    free = Game(game.reward_class, game.data, torch.zeros(1), game.rho, game.baseline)
    certificate = fast_saddle(free).certificate
    assert abs(float(certificate.upper)) <= 1e-7
    assert abs(float(certificate.lower)) <= 1e-7
    response = free.best_response(game.baseline)
    assert float(response.value - response.gap) >= -1e-8


def test_i8_as_lambda_vanishes_the_policy_returns_to_the_baseline():
    """In total variation, for a table with a range and a baseline of full support."""
    game = random_game(12, 1, (True, "range", "full"), max_contexts=3, n=500)
    baseline = random_simplex(generator("I8"), *game.reward_class.shape)
    distances = []
    for lam in (1e-1, 1e-3, 1e-5):
        small = Game(game.reward_class, game.data, torch.tensor([lam]), game.rho, baseline)
        policy = fast_saddle(small, 1e-10).policy[0]
        distances.append(float((policy - baseline).abs().sum(-1).max()))
    assert distances[2] < 1e-3
    assert distances[0] >= distances[1] >= distances[2]


@pytest.mark.parametrize("beta", [0.1, 1.0, 5.0])
def test_tilt_is_the_regularised_optimum(beta):
    """`π_ref exp(r/β)` against L-BFGS on the logits of `E_π[r] − β KL(π ‖ π_ref)`."""
    rng = generator("tilt")
    reward = torch.from_numpy(rng.normal(0, 1, (1, 5)))
    reference = random_simplex(rng, 1, 5)

    def loss(logits):
        policy = torch.softmax(logits, -1)
        kl = (policy * (torch.log_softmax(logits, -1) - reference[0].log())).sum()
        return -(policy * reward[0]).sum() + beta * kl

    found = optimize.minimize(autograd(loss), np.zeros(5), jac=True, options={"gtol": 1e-10})
    expected = torch.softmax(torch.from_numpy(found.x), -1)
    torch.testing.assert_close(tilt(reference, reward, beta)[0], expected, rtol=0, atol=1e-6)
    bandit = ContextualBandit(torch.ones(1), one_hot_features(1, 5), reward)
    optimum = bandit.regularised_optimum(reference, beta)[0]
    torch.testing.assert_close(optimum, expected, atol=1e-6, rtol=0)


def test_tilt_keeps_the_zeros_of_the_reference():
    reference = torch.tensor([[0.5, 0.0, 0.5]], dtype=torch.float64)
    policy = tilt(reference, torch.tensor([[0.0, 9.0, 1.0]], dtype=torch.float64), 0.1)
    assert float(policy[0, 1]) == 0
    assert torch.isfinite(policy).all()


def population(contexts=2, actions=4, n=10**9):
    """Counts in the exact proportions of the law, every pair covered."""
    rng = generator("population")
    reward = torch.from_numpy(rng.uniform(0, 1, (contexts, actions)))
    rho = torch.full((contexts,), 1 / contexts, dtype=torch.float64)
    behaviour = torch.full((contexts, actions), 1 / actions, dtype=torch.float64)
    law = winner_law(rho, pair_law(behaviour), PreferenceModel.from_reward(reward))
    wins = (law * n).round().to(torch.int64)[None]
    reference = random_simplex(rng, contexts, actions)
    cls = tabular_class(contexts, actions, reward_range=(-1.0, 2.0))
    return reward, WinnerCounts(wins), LearnerView(cls, rho, reference, behaviour)


@pytest.mark.parametrize("beta", [0.2, 1.0])
def test_dpo_on_the_population_is_the_regularised_optimum(beta):
    reward, data, view = population()
    optimum = tilt(view.reference, reward, beta)
    for name, options in (
        ("dpo", {}),
        ("kl_rlhf", {}),
        ("dpo_gradient", {"steps": 4000, "learning_rate": 0.02}),
    ):
        policy = make_algorithm(name, beta=beta, **options).fit(view, data).policy.probabilities()
        assert float((policy[0] - optimum).abs().max()) < 2e-4, name


def test_gradient_dpo_stays_at_the_reference_where_nothing_was_compared():
    _, data, view = population()
    wins = data.wins.clone()
    wins[:, 1] = 0
    fit = make_algorithm("dpo_gradient", steps=50).fit(view, WinnerCounts(wins))
    torch.testing.assert_close(fit.policy.probabilities()[0, 1], view.reference[1])


def test_behaviour_cloning_counts_winners():
    view, data = random_setting(3, n=30)
    policy = make_algorithm("behaviour_cloning").fit(view, data).policy.probabilities()
    for seed in range(3):
        triples = data.to_triples(seed)
        for x in range(view.reward_class.shape[0]):
            winners = triples[triples[:, 0] == x, 1]
            expected = view.reference[x]
            if len(winners):
                counts = np.bincount(winners, minlength=policy.shape[-1])
                expected = torch.from_numpy(counts / counts.sum())
            torch.testing.assert_close(policy[seed, x], expected)


def test_greedy_likelihood_plays_the_lucky_rare_action():
    """An action that won its only comparison beats one that won 60 % of a thousand."""
    wins = torch.zeros(1, 1, 3, 3, dtype=torch.int64)
    wins[0, 0, 0, 1], wins[0, 0, 1, 0], wins[0, 0, 2, 0] = 600, 400, 1
    cls = tabular_class(1, 3, reward_range=(0.0, 1.0))
    uniform = torch.full((1, 3), 1 / 3, dtype=torch.float64)
    view = LearnerView(cls, torch.ones(1, dtype=torch.float64), uniform, uniform)
    policy = make_algorithm("mle_greedy").fit(view, WinnerCounts(wins)).policy.probabilities()
    assert policy[0, 0].tolist() == [0.0, 0.0, 1.0]


def test_kl_rlhf_fits_within_the_class():
    """The fit is the likelihood's constrained minimum (L-BFGS-B), not the clipped free one."""
    view, data = random_setting(4, seeds=1, n=40)
    cls = tabular_class(*view.reward_class.shape, reward_range=(0.0, 0.4))
    view = LearnerView(cls, view.rho, view.reference, view.baseline)
    fit = make_algorithm("kl_rlhf").fit(view, data)

    def loss(flat):
        return tabular_preference_loss(flat.reshape(cls.shape), data.fraction[0])

    size = cls.dimension
    found = optimize.minimize(
        autograd(loss), np.full(size, 0.2), jac=True, method="L-BFGS-B", bounds=[(0, 0.4)] * size
    )
    mine = float(tabular_preference_loss(fit.reward, data.fraction, BRADLEY_TERRY))
    assert mine == pytest.approx(found.fun, abs=1e-7)
