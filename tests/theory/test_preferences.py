"""Preference data: the law of the sample, nesting over `n`, triples, splits, and refusals."""

import itertools
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.claims.games.instances import random_simplex
from spac_theory import (
    PROBIT,
    InputError,
    PreferenceModel,
    WinnerCounts,
    pair_law,
    sample_winner_counts,
    winner_law,
)
from spac_theory.bandit.preferences import ladder
from spac_theory.keys import generator


def random_law(seed, contexts=2, actions=3):
    rng = generator("law", seed)
    rho, behaviour = random_simplex(rng, contexts), random_simplex(rng, contexts, actions)
    model = PreferenceModel.from_reward(torch.from_numpy(rng.normal(0, 1, (contexts, actions))))
    return rho, behaviour, model, winner_law(rho, pair_law(behaviour), model)


@given(st.integers(0, 200))
def test_winner_law_sums_to_one(seed):
    rho, behaviour, _, law = random_law(seed)
    assert float(law.sum()) == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(law.sum((-2, -1)), rho)
    ties = torch.diagonal(law, dim1=-2, dim2=-1)
    torch.testing.assert_close(ties, rho[:, None] * behaviour**2)


def test_winner_law_by_simulating_single_comparisons():
    """Draw x, two actions and a coin one by one; chi-square against the law."""
    rho, behaviour, model, law = random_law(4)
    rng, n = np.random.default_rng(0), 20_000
    x = rng.choice(len(rho), n, p=rho.numpy())
    a, b = (np.array([rng.choice(3, p=behaviour[i].numpy()) for i in x]) for _ in range(2))
    first = rng.uniform(size=n) < model.probability.numpy()[x, a, b]
    winner, loser = np.where(first, a, b), np.where(first, b, a)
    counts = WinnerCounts.from_triples(x, winner, loser, contexts=2, actions=3)
    assert stats.chisquare(counts.wins.flatten(), n * law.flatten().numpy()).pvalue > 1e-3


@pytest.mark.parametrize("n", [1000, 54_321, 10**9])
def test_sample_follows_the_law(n):
    """Chi-square of 20 data sets pooled; the statistic of single ones is itself chi-square."""
    *_, law = random_law(1)
    counts = sample_winner_counts(law, n, range(200, 220), "chi-square")
    assert (counts.n == n).all()
    cells = law.flatten().numpy()
    pooled = counts.wins.sum(0).flatten().numpy()
    assert stats.chisquare(pooled, 20 * n * cells).pvalue > 1e-3
    single = stats.chisquare(counts.wins.flatten(1).numpy(), n * cells, axis=1).statistic
    assert stats.kstest(single, stats.chi2(cells.size - 1).cdf).pvalue > 1e-3


def test_zero_cells_stay_empty():
    law = random_law(2)[-1].clone()
    law[0, 1] = 0.0
    wins = sample_winner_counts(law / law.sum(), 10**6, range(3), "zeros").wins
    assert (wins[:, 0, 1] == 0).all()


def test_data_are_nested_along_the_ladder():
    *_, law = random_law(3)
    sizes = [1, 7, 10, 30, 100, 4000, 10**6]
    draws = [sample_winner_counts(law, n, range(4), "nested").wins for n in sizes]
    for smaller, larger in itertools.pairwise(draws):
        assert (smaller <= larger).all()
    assert ladder(300) == [*range(1, 11), *range(20, 101, 10), 200, 300]
    assert ladder(250) == [*ladder(200), 250]


def test_sizes_off_the_ladder_contain_the_rung_below():
    *_, law = random_law(3)
    rung = sample_winner_counts(law, 200, range(3), "nested").wins
    between = sample_winner_counts(law, 250, range(3), "nested").wins
    assert (rung <= between).all()


def test_seeds_and_order_change_nothing_and_keys_do():
    *_, law = random_law(5)
    many = sample_winner_counts(law, 500, range(10), "key").wins
    few = sample_winner_counts(law, 500, [7, 2], "key").wins
    assert torch.equal(few, many[[7, 2]])
    assert torch.equal(sample_winner_counts(law, 500, [7, 2], "key").wins, few)
    assert not torch.equal(sample_winner_counts(law, 500, [7, 2], "other").wins, few)
    assert len({tuple(row.flatten().tolist()) for row in many}) == 10


def test_keys_are_told_apart_by_type_and_by_boundary():
    keys = [("a", 1), ("a", "1"), ("a1",), ("a", 1, ""), (1, "a")]
    draws = {tuple(generator(*key).integers(0, 2**60, 2)) for key in keys}
    assert len(draws) == len(keys)


def test_a_billion_comparisons_take_no_longer_than_a_few():
    """Not a benchmark: a loop over comparisons would take hours, counting takes milliseconds."""
    law = torch.full((10, 10, 10), 1e-3, dtype=torch.float64)
    start = time.perf_counter()
    counts = sample_winner_counts(law, 10**9, range(5), "large")
    assert time.perf_counter() - start < 30
    assert (counts.n == 10**9).all()


@given(st.integers(0, 10**6), st.integers(1, 40))
def test_triples_round_trip(seed, n):
    rng = np.random.default_rng(seed)
    x, a, b = rng.integers(0, [[3], [4], [4]], (3, n))
    counts = WinnerCounts.from_triples(x, a, b, contexts=3, actions=4)
    triples = counts.to_triples()
    given_rows = sorted(zip(x.tolist(), a.tolist(), b.tolist(), strict=False))
    assert sorted(map(tuple, triples.tolist())) == given_rows
    again = WinnerCounts.from_triples(*triples.T, contexts=3, actions=4)
    assert torch.equal(again.wins, counts.wins)


def test_fractions_keep_the_diagonal():
    wins = torch.tensor([[[[2, 1], [0, 1]]]])
    counts = WinnerCounts(wins)
    assert counts.n.tolist() == [4]
    assert counts.fraction.tolist() == [[[[0.5, 0.25], [0.0, 0.25]]]]
    assert counts.compared.tolist() == [[[[0, 1], [1, 0]]]]


@given(st.integers(0, 1000), st.floats(0.01, 0.99))
def test_split_partitions(seed, share):
    *_, law = random_law(seed)
    counts = sample_winner_counts(law, 2 + seed % 50, range(3), "split")
    kept, held = counts.split(share, "key")
    assert torch.equal(kept.wins + held.wins, counts.wins)
    assert (kept.n >= 1).all()
    assert (held.n >= 1).all()
    alone, _ = WinnerCounts(counts.wins[1:2]).split(share, "key")
    assert torch.equal(alone.wins[0], kept.wins[1])


def test_split_takes_the_share_it_is_asked_for():
    *_, law = random_law(0)
    counts = sample_winner_counts(law, 10**6, range(4), "split share")
    _, held = counts.split(0.2, "key")
    z = (held.n - 2e5) / (1e6 * 0.2 * 0.8) ** 0.5
    assert (z.abs() < 4).all()


def test_intransitive_preferences_are_data_like_any_other():
    """Rock, paper, scissors."""
    cycle = torch.tensor([[[0.5, 0.9, 0.1], [0.1, 0.5, 0.9], [0.9, 0.1, 0.5]]], dtype=torch.float64)
    model = PreferenceModel(cycle)
    uniform = torch.full((1, 3), 1 / 3, dtype=torch.float64)
    law = winner_law(torch.ones(1, dtype=torch.float64), pair_law(uniform), model)
    wins = sample_winner_counts(law, 10**6, [0], "cycle").wins[0, 0].to(torch.float64)
    share = wins / (wins + wins.T)
    torch.testing.assert_close(share, cycle[0], atol=5e-3, rtol=0)


def test_models_of_rewards_follow_their_link():
    reward = torch.tensor([[0.3, -1.2, 2.0]], dtype=torch.float64)
    for link, cdf in (({}, stats.logistic.cdf), ({"link": PROBIT}, stats.norm.cdf)):
        p = PreferenceModel.from_reward(reward, **link).probability[0].numpy()
        expected = cdf(reward[0].numpy()[:, None] - reward[0].numpy()[None, :])
        np.testing.assert_allclose(p, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0, 2], [0, 1], [1, 0]), r"context\[1\] is 2; it must be an index between 0 and 1"),
        (([0], [3], [1]), r"winner\[0\] is 3; it must be an index between 0 and 2"),
        (([0], [0], [-1]), r"loser\[0\] is -1"),
        (([0, 1], [0], [1]), "they must be equal"),
        (([], [], []), "n is 0"),
        (([0.5], [0], [1]), "context has entries that are no whole numbers"),
        (([float("nan")], [0], [1]), "context has entries that are no whole numbers"),
        ((["a"], [0], [1]), "context must be a one-dimensional array of whole numbers"),
        (([[0]], [0], [1]), "context must be a one-dimensional array"),
        (([True], [0], [1]), "context must be a one-dimensional array of whole numbers"),
    ],
)
def test_bad_triples(columns, message):
    with pytest.raises(InputError, match=message):
        WinnerCounts.from_triples(*columns, contexts=2, actions=3)
