"""A user's own class is one file: an interval of multiples of one feature, from outside the package."""

from __future__ import annotations

import sys

import pytest
import torch

from spac_theory import (
    InputError,
    LearnerView,
    LinearClass,
    WinnerCounts,
    load_plugins,
    make_algorithm,
)
from spac_theory.concentrability.classes import Design, concentrability_of
from spac_theory.learning.lambda_rules import make_game
from spac_theory.rewards.base import gap_kind
from spac_theory.saddle.solve import solve_saddle

OWN = '''
from dataclasses import dataclass

import torch

from spac_theory.objective import tabular_preference_gradient, tabular_preference_loss
from spac_theory.rewards.base import BestResponse


@dataclass(frozen=True)
class Multiples:
    """`r = c φ` with `|c| ≤ bound` and one feature `φ (X, A)`; the critic bisects on `c`."""

    feature: torch.Tensor
    bound: float = 1.0
    convex = True
    finite = False
    gap_is_bound = True

    @property
    def shape(self):
        return tuple(self.feature.shape)

    @property
    def difference_bound(self):
        return float(self.bound * (self.feature.amax(-1) - self.feature.amin(-1)).max())

    def log_covering(self, radius):
        import math
        return math.log(max(1, math.ceil(self.bound * float(self.feature.abs().max()) / radius)))

    def contains(self, reward):
        return True

    def best_response(self, linear, lam, win_fraction, link, tolerance=1e-9, warm=None):
        low = -self.bound * torch.ones_like(lam)
        high = -low

        def slope(c):
            reward = c[:, None, None] * self.feature
            loss = tabular_preference_gradient(reward, win_fraction, link)
            return ((linear + lam[:, None, None] * loss) * self.feature).sum((-2, -1))

        for _ in range(60):
            middle = (low + high) / 2
            up = slope(middle) > 0
            low, high = torch.where(up, low, middle), torch.where(up, middle, high)
        c = (low + high) / 2
        reward = c[:, None, None] * self.feature
        value = (linear * reward).sum((-2, -1))
        value = value + lam * tabular_preference_loss(reward, win_fraction, link)
        # convexity: f(c') ≥ f(c) + f'(c)(c' − c)
        gap = slope(c).abs() * (self.bound + c.abs()) * ((c.abs() < self.bound - 1e-12))
        return BestResponse(reward, value, gap, None, c)

    def reward_at(self, parameters, points):
        return parameters[:, None, None] * points[..., 0]
'''


def test_one_file_is_enough(tmp_path, monkeypatch):
    monkeypatch.setattr("spac_theory.saddle.solve.MIRROR_ROUNDS", 100)
    path = tmp_path / "multiples.py"
    path.write_text(OWN)
    load_plugins([str(path)])
    module = next(m for n, m in sys.modules.items() if n.startswith("spac_plugin_multiples"))
    generator = torch.Generator().manual_seed(0)
    feature = torch.randn(4, 3, generator=generator).double()
    wins = torch.randint(0, 30, (2, 4, 3, 3), generator=generator)
    data = WinnerCounts(wins)
    uniform = torch.full((4, 3), 1 / 3, dtype=torch.float64)
    rho = torch.full((4,), 0.25, dtype=torch.float64)
    own = LearnerView(module.Multiples(feature), rho, uniform, uniform)
    linear = LearnerView(LinearClass(feature[..., None], 1.0), rho, uniform, uniform)
    lam = data.n.double().sqrt()
    ours = solve_saddle(make_game(own, data, lam)).certificate
    exact = solve_saddle(make_game(linear, data, lam)).certificate
    assert (ours.lower <= exact.upper + 1e-9).all()
    assert (exact.lower <= ours.upper + 1e-9).all()
    assert (ours.gap >= 0).all()
    assert (ours.gap <= 0.1).all()
    for name, options in (("spac", {}), ("spac_t", {"iterations": 50}), ("mle_greedy", {})):
        fit = make_algorithm(name, **options).fit(own, data)
        assert fit.gap_kind == "duality gap"
        assert torch.allclose(fit.policy.probabilities().sum(-1), torch.ones(()).double())


def test_a_class_without_coverage_of_its_own_is_refused_in_words():
    class Nameless:
        shape = (1, 2)

    pairs = torch.full((1, 2, 2), 0.25, dtype=torch.float64)
    half = torch.full((1, 2), 0.5, dtype=torch.float64)
    design = Design(truth=half, rho=torch.ones(1, dtype=torch.float64), pairs=pairs, baseline=half)
    with pytest.raises(InputError, match=r"Nameless.*concentrability_of\.register"):
        concentrability_of(Nameless(), design, half)


def test_the_old_name_of_a_bounded_gap_is_read_as_it_was_meant():
    class Old:
        certified = True

    class Unsaid:
        """Claims nothing."""

    assert (gap_kind(Old()), gap_kind(Unsaid())) == ("duality gap", "estimate")
