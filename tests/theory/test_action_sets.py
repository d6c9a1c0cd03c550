"""Action sets of their own: a rectangle with repeats is the ragged problem itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from spac_theory import (
    Game,
    InputError,
    LearnerView,
    LinearClass,
    fast_saddle,
    make_algorithm,
)
from spac_theory.bandit.action_sets import ActionSets, from_groups
from spac_theory.concentrability import (
    ridge_concentrability,
    single_policy_concentrability,
)

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


# --- algorithms on action sets --------------------------------------------------------------------

ALGORITHMS = {
    "spac": {"lam": "sqrt_n"},
    "spac_wilks": {"lam": "wilks"},
    "spac_constrained": {"radius": "wilks"},
    "pessimistic_mle": {"scale": 1e-4},
    "mle_greedy": {},
    "dpo": {},
    "behaviour_cloning": {},
}


def view_of(sets: ActionSets, features: torch.Tensor, rho: torch.Tensor) -> LearnerView:
    cls = LinearClass(sets.spread(features), norm_bound=1.5)
    return LearnerView(cls, rho, sets.uniform(), sets.uniform())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithms_do_not_see_what_is_repeated(name: str) -> None:
    """Actions in another order, with more repeats: the same policy, or one of the same pessimistic value."""
    sets, features, (x, winner, loser), rho = ragged(n=400)
    method = make_algorithm(name.removesuffix("_wilks"), **ALGORITHMS[name])
    first = method.fit(view_of(sets, features, rho), sets.counts(x, winner, loser))
    policy = sets.gather(first.policy.probabilities()[0])
    wide = ActionSets(
        torch.tensor([*SIZES, 6])
    )  # a sixth context without weight widens the rectangle
    more = torch.cat([features, torch.zeros(6, 3, dtype=torch.float64)])
    ends = np.array(SIZES)
    flipped = torch.cat([part.flip(0) for part in lists(features)] + [more[-6:]])
    second = method.fit(
        view_of(wide, flipped, torch.cat([rho, rho.new_zeros(1)])),
        wide.counts(x, ends[x] - 1 - winner, ends[x] - 1 - loser),
    )
    found = wide.gather(second.policy.probabilities()[0])[: sets.total]
    back = torch.cat([part.flip(0) for part in torch.split(found, SIZES)])
    if name.startswith("spac"):  # the saddle may be flat: the value is what is known
        view, data = view_of(sets, features, rho), sets.counts(x, winner, loser)
        game = Game(view.reward_class, data, first.lam, rho, view.baseline)
        values = [game.best_response(sets.mass(p)).value for p in (policy, back)]
        torch.testing.assert_close(*values, atol=1e-7, rtol=0)
    else:
        torch.testing.assert_close(back, policy, atol=2e-4, rtol=0)
    folded = sets.fold(first.policy.probabilities())
    assert torch.equal(folded.sum(-1).round(decimals=9), torch.ones(1, len(SIZES)).double())
    assert float(folded[:, ~sets.real].abs().sum()) == 0


def test_pessimistic_likelihood_is_that_of_a_loop() -> None:
    """Its value, written with lists, is at least that of ν and of a thousand other policies."""
    sets, features, (x, winner, loser), rho = ragged(n=400)
    n, scale, parts = len(x), 0.01, [part.numpy() for part in lists(features)]
    gaps = np.array([parts[c][w] - parts[c][l] for c, w, l in zip(x, winner, loser, strict=True)])
    theta = optimize.minimize(
        lambda t: np.logaddexp(0, -gaps @ t).mean() + t @ t / (2 * n), np.zeros(3), tol=1e-12
    ).x
    widest = 1.5 * max(np.linalg.norm(p[i] - q) for p in parts for i in range(len(p)) for q in p)
    kappa = 2 + 2 * np.cosh(widest)
    radius = scale * np.sqrt(((3 + np.log(10)) * kappa**2 + 1.5**2) / n)
    sigma = gaps.T @ gaps / n + np.eye(3) / n

    def value(masses: list[torch.Tensor]) -> float:
        shift = sum(
            p * (mass.numpy() - 1 / len(part)) @ part
            for p, mass, part in zip(rho.numpy(), masses, parts, strict=True)
        )
        return float(shift @ theta - radius * np.sqrt(shift @ np.linalg.solve(sigma, shift)))

    view, data = view_of(sets, features, rho), sets.counts(x, winner, loser)
    fit = make_algorithm("pessimistic_mle", scale=scale).fit(view, data)
    best = value(lists(sets.gather(fit.policy.probabilities()[0])))
    rng = np.random.default_rng(0)
    others = [
        [torch.from_numpy(rng.dirichlet(np.full(k, 0.3))) for k in SIZES] for _ in range(1000)
    ]
    assert best >= max(map(value, others)) - 1e-7
    assert best >= -1e-7  # that of ν


def test_likelihood_dpo_and_cloning_are_those_of_a_loop() -> None:
    """The ridge fit by SciPy over a list of comparisons, and the policies read off it prompt by prompt."""
    sets, features, (x, winner, loser), rho = ragged(n=200)
    n, parts = len(x), [part.numpy() for part in lists(features)]
    gaps = np.array([parts[c][w] - parts[c][l] for c, w, l in zip(x, winner, loser, strict=True)])

    def loss(theta: np.ndarray) -> float:
        return float(np.logaddexp(0, -gaps @ theta).mean() + theta @ theta / (2 * n))

    theta = optimize.minimize(loss, np.zeros(3), tol=1e-12).x
    view, data = view_of(sets, features, rho), sets.counts(x, winner, loser)
    policies = {
        name: lists(sets.gather(make_algorithm(name).fit(view, data).policy.probabilities()[0]))
        for name in ("mle_greedy", "dpo", "behaviour_cloning")
    }
    for c, part in enumerate(parts):
        reward = part @ theta
        assert int(policies["mle_greedy"][c].argmax()) == int(reward.argmax())
        weights = np.exp((reward - reward.max()) / 0.1)
        np.testing.assert_allclose(policies["dpo"][c], weights / weights.sum(), atol=1e-4)
        wins = np.bincount(winner[x == c], minlength=SIZES[c])
        share = wins / wins.sum() if wins.sum() else np.full(SIZES[c], 1 / SIZES[c])
        np.testing.assert_allclose(policies["behaviour_cloning"][c], share)


def test_regularised_concentrability_does_not_see_repeats() -> None:
    sets, features, _, rho = ragged()
    phi, mu = sets.spread(features), sets.uniform()
    policy = sets.fold(torch.rand(len(SIZES), sets.width).double().softmax(-1))
    pairs = mu[:, :, None] * mu[:, None]
    found = ridge_concentrability(phi, rho, pairs, policy, mu, 0.3)
    sigma, shift = 0.3 * np.eye(3), np.zeros(3)
    masses = lists(sets.gather(policy))
    for p, part, mass in zip(rho.numpy(), lists(features), masses, strict=True):
        a = part.numpy()
        shift += p * (mass.numpy() - 1 / len(a)) @ a
        for i in range(len(a)):
            for j in range(len(a)):
                sigma += p * np.outer(a[i] - a[j], a[i] - a[j]) / len(a) ** 2
    assert float(found) == pytest.approx(float(shift @ np.linalg.solve(sigma, shift)), rel=1e-10)


def test_half_a_win_each_way() -> None:
    """A tie is half of both losses; `n` counts comparisons, and pairs of wins are the same data."""
    sets = ActionSets(torch.tensor([2, 3]))
    data = sets.counts([0, 1, 1], [0, 2, 0], [1, 0, 2], [2, 1, 1], unit=2)
    assert data.n.tolist() == [2]
    assert float(data.fraction.sum()) == 1
    assert float(data.fraction[0, 1, 2, 0]) == 0.25
    whole = sets.counts([0, 1], [0, 2], [1, 0])
    twice = sets.counts([0, 1], [0, 2], [1, 0], [2, 2], unit=2)
    assert torch.equal(whole.fraction, twice.fraction)
    assert torch.equal(whole.n, twice.n)
    with pytest.raises(InputError, match="no multiple of unit"):
        sets.counts([0], [0], [1], [3], unit=2)
    with pytest.raises(InputError, match="cannot be split"):
        data.split(0.5, "key")
