"""Action sets of their own: a rectangle with repeats is the ragged problem itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from spac_theory import Game, InputError, LinearClass, fast_saddle
from spac_theory.bandit.action_sets import ActionSets, from_groups
from spac_theory.concentrability import single_policy_concentrability

SIZES = [2, 4, 1, 3, 4]


def ragged(seed: int = 0, n: int = 60):
    """Sets, features `(N, d)`, triples, and a distribution over contexts."""
    rng = np.random.default_rng(seed)
    sets = ActionSets(torch.tensor(SIZES))
    features = torch.from_numpy(rng.normal(size=(sets.total, 3)))
    x = rng.choice([0, 1, 3, 4], size=n)
    winner = np.array([rng.integers(SIZES[i]) for i in x])
    loser = np.array([rng.integers(SIZES[i]) for i in x])
    rho = torch.from_numpy(rng.dirichlet(np.ones(len(SIZES))))
    return sets, features, (x, winner, loser), rho


def lists(flat: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.split(flat, SIZES))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_spreading_and_gathering(sizes: list[int]) -> None:
    sets = ActionSets(torch.tensor(sizes))
    values = torch.rand(sets.total, dtype=torch.float64)
    assert torch.equal(sets.gather(sets.mass(values)), values)
    assert torch.equal(sets.spread(values)[sets.real], values)
    assert torch.allclose(sets.uniform().sum(-1), torch.ones(len(sizes), dtype=torch.float64))
    groups = [x for x, size in enumerate(sizes) for _ in range(size)]
    assert torch.equal(from_groups(groups).sizes, sets.sizes)


def test_the_game_is_that_of_a_loop_over_contexts() -> None:
    """Value against a plain minimisation of theory (7) written context by context, by SciPy."""
    sets, features, (x, winner, loser), rho = ragged()
    lam, bound = 5.0, 1.5
    cls = LinearClass(sets.spread(features), norm_bound=bound)
    data = sets.counts(x, winner, loser)
    saddle = fast_saddle(Game(cls, data, lam, rho, sets.uniform()))
    parts = [part.numpy() for part in lists(features)]

    def objective(theta: np.ndarray) -> float:
        rewards = [part @ theta for part in parts]
        gain = sum(float(p) * (r.max() - r.mean()) for p, r in zip(rho, rewards, strict=True))
        margins = [rewards[c][w] - rewards[c][l] for c, w, l in zip(x, winner, loser, strict=True)]
        return gain + lam * float(np.mean(np.logaddexp(0, -np.array(margins))))

    ball = {"type": "ineq", "fun": lambda t: bound**2 - t @ t}
    starts = np.random.default_rng(1).normal(size=(20, 3)) * 0.3
    best = min(
        optimize.minimize(objective, s, constraints=[ball], method="SLSQP", tol=1e-12).fun
        for s in starts
    )
    assert float(saddle.certificate.gap) <= 1e-7
    # SLSQP stops at kinks of the max from above; the certified lower end is what it cannot pass.
    assert float(saddle.certificate.lower) <= best + 1e-9
    assert best - float(saddle.certificate.upper) <= 1e-2


def test_a_dense_problem_is_a_ragged_one_with_equal_sizes_and_padding_changes_nothing() -> None:
    sets, features, triples, rho = ragged()
    wide = sets.spread(features)
    wider = torch.cat([wide, wide[:, :1], wide[:, :1]], 1)  # two more repeats everywhere
    pad = torch.zeros(len(SIZES), 2, dtype=torch.float64)
    nu = sets.uniform()
    wins = sets.counts(*triples).wins
    wins_wider = torch.nn.functional.pad(wins, (0, 2, 0, 2))
    values = []
    for phi, counts, baseline in (
        (wide, wins, nu),
        (wider, wins_wider, torch.cat([nu, pad], 1)),
    ):
        game = Game(
            LinearClass(phi, norm_bound=2.0),
            type(sets.counts(*triples))(counts),
            3.0,
            rho,
            baseline,
        )
        values.append(fast_saddle(game).certificate)
    a, b = values
    assert float((a.upper - b.upper).abs()) <= float(a.gap + b.gap) + 1e-10


def test_concentrability_does_not_see_repeats() -> None:
    sets, features, _, rho = ragged()
    phi, mu = sets.spread(features), sets.uniform()
    policy = torch.nn.functional.one_hot(
        torch.zeros(len(SIZES), dtype=torch.long), sets.width
    ).double()
    found = single_policy_concentrability(phi, rho, mu[:, :, None] * mu[:, None], policy, mu)
    sigma, shift = torch.zeros(3, 3).double(), torch.zeros(3).double()
    for p, part in zip(rho, lists(features), strict=True):
        size = len(part)
        for a in part:
            shift += p * (part[0] - a) / size
            for b in part:
                sigma += p * torch.outer(a - b, a - b) / size**2
    expected = shift @ torch.linalg.solve(sigma, shift)
    assert float(found) == pytest.approx(float(expected), rel=1e-10)


def test_bad_sets_are_refused_in_words() -> None:
    with pytest.raises(InputError, match=r"sizes\[1\] is 0"):
        ActionSets(torch.tensor([2, 0]))
    with pytest.raises(InputError, match="at most"):
        ActionSets(torch.cat([torch.full((60_000,), 2), torch.tensor([5000])]))
    sets = ActionSets(torch.tensor([2, 3]))
    with pytest.raises(InputError, match=r"winner\[0\] is 2; context 0 has 2 actions"):
        sets.counts([0], [2], [0])
    with pytest.raises(InputError, match="one an action"):
        sets.spread(torch.zeros(4))
    with pytest.raises(InputError, match="in order"):
        from_groups([0, 2, 1])
