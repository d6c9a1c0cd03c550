"""Networks: the bound on them is real, and what is only estimated says so."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from spac_theory import (
    Game,
    LearnerView,
    PreferenceModel,
    make_algorithm,
    make_problem,
    sample_winner_counts,
    winner_law,
)
from spac_theory.bandit.preferences import pair_law
from spac_theory.bounds.upper import covering_complexity, oracle_lambda, upper_bound
from spac_theory.concentrability.classes import Design, concentrability_of, of_all_functions
from spac_theory.rewards.linear import tabular_class
from spac_theory.rewards.neural import NeuralClass
from spac_theory.saddle.neural import relaxed_certificate
from spac_theory.saddle.solve import solve_saddle
from tests.theory.test_finite_class import random_game


@pytest.fixture
def network() -> NeuralClass:
    points = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0)).double()
    return NeuralClass(points, width=6, depth=2, starts=3, steps=60, spectral_bound=1.5)


def layers(network: NeuralClass, weights: list[torch.Tensor], lane: int) -> torch.nn.Sequential:
    parts: list[torch.nn.Module] = []
    for index in range(0, len(weights), 2):
        matrix, bias = weights[index][lane], weights[index + 1][lane, 0]
        layer = torch.nn.Linear(*matrix.shape, dtype=torch.float64)
        layer.weight.data, layer.bias.data = matrix.T.contiguous(), bias
        parts += [layer, torch.nn.Tanh()]
    return torch.nn.Sequential(*parts[:-1])


def test_forward_is_the_network_that_torch_builds(network):
    weights = network.initial(1)
    rewards = network.forward(weights)
    for lane in range(3):
        with torch.no_grad():
            raw = layers(network, weights, lane)(network.points).squeeze(-1)
        assert torch.allclose(rewards[lane], 2 * torch.tanh(raw / 2), atol=1e-12)


def test_weights_stay_inside_and_output_obeys_the_lipschitz_constant_of_the_covering(network):
    """`log N = P log(1 + 2ωΛ/ε)`: recover `ωΛ` from it and compare with pairs of random networks."""
    pairs = []
    for seed in range(20):
        many = NeuralClass(**{**vars(network), "seed": seed, "starts": 8})
        weights = [w * 5 for w in many.initial(1)]
        many.project(weights)
        for w in weights:
            assert torch.linalg.matrix_norm(w, ord=2).max() <= 1.5 + 1e-9
        pairs.append(weights)
    size = math.expm1(network.log_covering(0.1) / network.parameters) * 0.1 / 2  # ω Λ
    norms = [
        torch.stack([(w**2).sum((-2, -1)) for w in weights]).sum(0).sqrt() for weights in pairs
    ]
    ball = max(float(n.max()) for n in norms)
    for first, second in itertools.pairwise(pairs):
        moved = (network.forward(first) - network.forward(second)).abs().amax((-2, -1))
        change = torch.stack(
            [((a - b) ** 2).sum((-2, -1)) for a, b in zip(first, second, strict=True)]
        )
        assert (moved <= size / ball * change.sum(0).sqrt()).all()


def test_its_answers_are_labelled_estimates_with_their_spread(network):
    game = random_game(6, (4, 3), 1, 500)
    game = Game(network, game.data, game.lam, game.rho, game.baseline)
    saddle = solve_saddle(game)
    assert saddle.kind == "estimate"
    assert saddle.spread is not None
    assert (saddle.certificate.gap >= -1e-9).all()
    view = LearnerView(network, game.rho, game.baseline, game.baseline)
    for name, options in (("spac", {}), ("spac_t", {"iterations": 2}), ("kl_rlhf", {})):
        fit = make_algorithm(name, **options).fit(view, game.data)
        assert fit.gap_kind == "estimate"
    assert "critic_spread" in make_algorithm("spac").fit(view, game.data).extra


def test_concentrability_is_a_lower_estimate_below_that_of_all_functions():
    problem = make_problem("neural", contexts=4, actions=3)
    bandit = problem.bandit
    mu = torch.full((4, 3), 1 / 3, dtype=torch.float64)
    design = Design(bandit.reward, bandit.rho, pair_law(mu), mu)
    found = concentrability_of(problem.reward_class, design, bandit.optimal_policy)
    everything = concentrability_of(tabular_class(4, 3, 10.0), design, bandit.optimal_policy)
    assert found.kind == "lower estimate"
    assert 0.1 < found.value <= everything.value * (1 + 1e-9)


def network_game(seed: int, n: int) -> tuple[Game, torch.Tensor]:
    """A game whose truth is a network of the class, with the best policy."""
    points = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(seed)).double()
    options = {"width": 4, "depth": 1, "spectral_bound": 1.5, "output_bound": 1.0}
    cls = NeuralClass(points, starts=2, steps=40, learning_rate=0.05, **options)
    weights = [3 * w for w in NeuralClass(points, seed=seed + 1, **options).initial(1)]
    cls.project(weights)
    truth = cls.forward(weights)[0]
    rho, mu = (torch.full(size, 1 / size[-1], dtype=torch.float64) for size in ((2,), (2, 3)))
    law = winner_law(rho, pair_law(mu), PreferenceModel.from_reward(truth))
    data = sample_winner_counts(law, n, range(2), "network", str(seed))
    best = torch.nn.functional.one_hot(truth.argmax(-1), 3).double()
    c = of_all_functions(Design(truth, rho, pair_law(mu), mu), best).value
    lam = oracle_lambda(cls.difference_bound, c, covering_complexity(cls, data.n, 0.1))
    return Game(cls, data, lam, rho, mu), truth


def test_relaxed_certificate_is_below_every_network_and_above_every_policy():
    game, _ = network_game(0, 3000)
    cls = game.reward_class
    assert isinstance(cls, NeuralClass)
    saddle = solve_saddle(game)
    found = relaxed_certificate(game, saddle.policy, saddle.reward)
    for seed in range(10):
        many = NeuralClass(**{**vars(cls), "seed": seed, "starts": 20})
        weights = [4 * w for w in many.initial(1)]
        many.project(weights)
        for reward in many.forward(weights):
            assert (game.value(saddle.policy, reward[None]) >= found.lower - 1e-9).all()
    for choice in itertools.product(range(3), repeat=2):
        policy = torch.nn.functional.one_hot(torch.tensor(choice), 3).double()
        assert (game.value(policy, saddle.reward) <= found.upper + 1e-9).all()
    assert (found.gap >= saddle.certificate.gap - 1e-9).all()


@pytest.mark.parametrize("seed", range(3))
def test_theorem_for_networks_is_a_bound_and_says_something(seed):
    game, truth = network_game(seed, 10**6)
    cls, n = game.reward_class, game.data.n
    best = torch.nn.functional.one_hot(truth.argmax(-1), 3).double()
    c = of_all_functions(Design(truth, game.rho, pair_law(game.baseline), game.baseline), best)
    saddle = solve_saddle(game)
    gap = relaxed_certificate(game, saddle.policy, saddle.reward).gap
    size = covering_complexity(cls, n, 0.1)
    bound = upper_bound(cls.difference_bound, c.value, size, game.lam, gap).total
    loss = (game.rho[:, None] * (best - saddle.policy) * truth).sum((-2, -1))
    assert (loss <= bound).all()
    assert (bound < cls.difference_bound / 2).all()
