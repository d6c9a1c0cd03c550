"""Invariances of data and of every registered algorithm."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.claims.games.instances import (
    random_game,
    random_policies,
    random_setting,
    random_simplex,
)
from spac_theory import (
    ALGORITHMS,
    Game,
    LearnerView,
    LinearClass,
    Oracle,
    PreferenceModel,
    WinnerCounts,
    fast_saddle,
    make_algorithm,
    make_problem,
    pair_law,
    winner_law,
)
from spac_theory.keys import generator
from spac_theory.objective import tabular_preference_loss

seeds = st.integers(0, 10_000)
# SAPO's queue holds draws, which a relabelling changes in value and not in law: its expected form.
QUICK = {"spac_t": {"iterations": 6}, "dpo_gradient": {"steps": 40}, "sapo": {"replay": "mean"}}
ALL = [name for name in ALGORITHMS if name != "uniform"]


def fit(name, view, data, **options):
    """The policy, or a skip with the algorithm's own reason."""
    algorithm, oracle = make_algorithm(name, **{**QUICK.get(name, {}), **options}), Oracle(0.7)
    reason = algorithm.skip(view, oracle)
    if reason is not None:
        pytest.skip(reason)
    return algorithm.fit(view, data, oracle).policy.probabilities()


@given(seeds)
def test_a_shift_by_context_leaves_the_law_of_the_data_unchanged(seed):
    rng = generator("shift", seed)
    reward, shift = (
        torch.from_numpy(rng.normal(0, 1, (3, 4))),
        torch.from_numpy(rng.normal(0, 9, (3, 1))),
    )
    rho, behaviour = random_simplex(rng, 3), random_simplex(rng, 3, 4)
    laws = [
        winner_law(rho, pair_law(behaviour), PreferenceModel.from_reward(r))
        for r in (reward, reward + shift)
    ]
    torch.testing.assert_close(*laws, rtol=0, atol=1e-14)


@given(seeds)
def test_swapping_the_order_of_a_pair_and_its_label_changes_nothing(seed):
    """The law of the data depends on `μ(a,b|x)` through its symmetric part alone."""
    rng = generator("swap", seed)
    rho, model = (
        random_simplex(rng, 2),
        PreferenceModel.from_reward(torch.from_numpy(rng.normal(0, 1, (2, 3)))),
    )
    pairs = random_simplex(rng, 2, 9).reshape(2, 3, 3)
    swapped = winner_law(rho, pairs.transpose(-1, -2), model)
    torch.testing.assert_close(winner_law(rho, pairs, model), swapped, rtol=0, atol=1e-16)


@given(seeds)
def test_the_order_of_rows_changes_nothing(seed):
    rng = generator("rows", seed)
    rows = rng.integers(0, 3, (3, 20))
    mixed = rows[:, rng.permutation(20)]
    one, two = (WinnerCounts.from_triples(*r, contexts=3, actions=3).wins for r in (rows, mixed))
    assert torch.equal(one, two)


@given(seeds, st.integers(2, 1000))
def test_multiplying_every_count_leaves_the_loss_unchanged(seed, factor):
    game = random_game(seed, max_contexts=4)
    more = WinnerCounts(game.data.wins * factor)
    reward = torch.from_numpy(generator("loss", seed).normal(0, 1, game.reward_class.shape))
    before, after = (tabular_preference_loss(reward, d.fraction) for d in (game.data, more))
    torch.testing.assert_close(before, after, rtol=1e-14, atol=0)


@pytest.mark.parametrize("tabular", [True, False])
def test_doubled_data_give_the_same_game_at_fixed_lambda(tabular):
    view, data = random_setting(2, n=100, tabular=tabular)
    twice = WinnerCounts(2 * data.wins)
    for name in ("spac", "spac_t"):
        before, after = (fit(name, view, d, lam="fixed", scale=3.0) for d in (data, twice))
        assert torch.equal(before, after)


@given(seeds)
@settings(max_examples=10)
def test_suboptimality_lies_between_zero_and_r(seed):
    problem = make_problem("linear", contexts=4, actions=3, dimension=3, seed=seed)
    game_policies = random_policies(
        generator("suboptimality", seed),
        Game(
            problem.reward_class,
            WinnerCounts(torch.ones(1, 4, 3, 3, dtype=torch.int64)),
            torch.ones(1),
            problem.bandit.rho,
            problem.profile,
        ),
        20,
    )
    loss = problem.bandit.suboptimality(game_policies)
    assert (loss >= 0).all()
    assert (loss <= problem.reward_class.difference_bound).all()
    best = problem.bandit.suboptimality(problem.bandit.optimal_policy)
    assert float(best) == 0
    values = problem.bandit.optimal_value - problem.bandit.value(game_policies)
    torch.testing.assert_close(loss, values, rtol=0, atol=1e-12)


def relabelled(view, data, order):
    """The same setting with the actions of every context in another order."""
    cls = view.reward_class
    features = cls.features if cls.tabular else cls.features[:, order]
    moved = LinearClass(features, cls.norm_bound, cls.reward_range, tabular=cls.tabular)
    wins = data.wins[:, :, order][..., order]
    changed = LearnerView(moved, view.rho, view.reference[:, order], view.baseline[:, order])
    return changed, WinnerCounts(wins)


@pytest.mark.parametrize("tabular", [True, False], ids=["tabular", "linear"])
@pytest.mark.parametrize("name", ALL)
def test_relabelling_actions_permutes_the_policy(name, tabular):
    view, data = random_setting(6, n=200, tabular=tabular)
    order = torch.from_numpy(generator("order").permutation(view.reward_class.shape[1]))
    policy = fit(name, view, data)
    moved = fit(name, *relabelled(view, data, order))
    torch.testing.assert_close(moved, policy[..., order], rtol=0, atol=1e-4)


@given(seeds)
@settings(max_examples=15)
def test_relabelling_actions_keeps_the_value_of_the_game(seed):
    game = random_game(seed, max_contexts=5, max_actions=5)
    order = torch.from_numpy(generator("order", seed).permutation(game.reward_class.shape[1]))
    view = LearnerView(game.reward_class, game.rho, game.baseline, game.baseline)
    changed, data = relabelled(view, game.data, order)
    moved = Game(changed.reward_class, data, game.lam, game.rho, changed.baseline)
    one, two = fast_saddle(game).certificate, fast_saddle(moved).certificate
    scale = one.upper.abs().clamp_min(1)
    assert ((one.lower - two.upper) <= 1e-9 * scale).all()
    assert ((two.lower - one.upper) <= 1e-9 * scale).all()


def test_a_context_without_weight_or_data_plays_no_part():
    """`ρ(x) = 0` and no comparisons: value and the other contexts' policies are as without it."""
    view, data = random_setting(8, seeds=2, n=100)
    contexts, actions = view.reward_class.shape
    wins = torch.cat([data.wins, torch.zeros(2, 1, actions, actions, dtype=torch.int64)], 1)
    rho = torch.cat([view.rho, torch.zeros(1, dtype=torch.float64)])
    baseline = torch.cat(
        [view.baseline, torch.full((1, actions), 1 / actions, dtype=torch.float64)]
    )
    cls = view.reward_class
    larger = LinearClass(
        torch.eye((contexts + 1) * actions).double().reshape(contexts + 1, actions, -1),
        cls.norm_bound, cls.reward_range, tabular=True,
    )  # fmt: skip
    lam = torch.tensor([2.0, 9.0])
    small = fast_saddle(Game(cls, data, lam, view.rho, view.baseline))
    large = fast_saddle(Game(larger, WinnerCounts(wins), lam, rho, baseline))
    torch.testing.assert_close(small.certificate.upper, large.certificate.upper, rtol=0, atol=1e-7)
    torch.testing.assert_close(
        large.policy[:, -1], torch.full((2, actions), 1 / actions, dtype=torch.float64)
    )
