"""Self-play on general preferences: equilibria, identities, cycles and convergence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import linprog

from spac_theory import Oracle, PreferenceModel, make_algorithm
from spac_theory.algorithms.sppo import squared_loss_step
from spac_theory.learning.optimise import minimise
from spac_theory.learning.preference_game import (
    exploitability,
    multiplicative,
    regularised_exploitability,
    win_rate,
)

from .conftest import make_setting

CYCLE = torch.tensor([[[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]]], dtype=torch.float64)


def equilibrium(matrix):
    """The maximin policy of a symmetric game by linear programming."""
    k = len(matrix)
    result = linprog(
        np.r_[np.zeros(k), -1.0],
        A_ub=np.c_[-matrix.T, np.ones(k)],
        b_ub=np.zeros(k),
        A_eq=[np.r_[np.ones(k), 0.0]],
        b_eq=[1.0],
        bounds=[(0, 1)] * k + [(None, None)],
    )
    return torch.from_numpy(result.x[:k])


def cyclic_setting():
    setting = make_setting(problem="tabular", contexts=1, actions=3)
    setting.truth = PreferenceModel(CYCLE)
    reference = torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64)
    setting.view = replace(setting.view, reference=reference)
    return setting, Oracle(1.0, preference=setting.truth)


def test_exploitability_is_zero_exactly_at_the_equilibrium():
    rho = torch.ones(1, dtype=torch.float64)
    point = equilibrium(CYCLE[0].numpy())
    assert abs(float(exploitability(point[None], CYCLE, rho))) < 1e-9
    assert float(exploitability(torch.tensor([[1.0, 0, 0]]).double(), CYCLE, rho)) > 0.2


def test_mpo_converges_where_multiplicative_weights_cycle():
    setting, oracle = cyclic_setting()
    rho = setting.view.rho
    mpo = make_algorithm("mpo", preference="true", iterations=4000, refresh=100)
    fit = mpo.fit(setting.view, setting.data, oracle)
    last = fit.policy.probabilities()
    assert float(exploitability(last, CYCLE, rho).max()) < 1e-3
    assert torch.allclose(fit.gap, 2 * exploitability(last, CYCLE, rho))
    assert torch.allclose(last[0, 0], equilibrium(CYCLE[0].numpy()), atol=1e-2)
    plain = make_algorithm("sppo", preference="true", iterations=4000, eta=0.1)
    cycling = plain.fit(setting.view, setting.data, oracle).policy.probabilities()
    average = replace(plain, output="mixture").fit(setting.view, setting.data, oracle)
    assert float(exploitability(cycling, CYCLE, rho).min()) > 0.05
    assert float(exploitability(average.policy.probabilities(), CYCLE, rho).max()) < 0.02


def test_i1_fixed_magnet_and_nash_md_reach_the_regularised_equilibrium():
    setting, oracle = cyclic_setting()
    magnet = setting.view.reference
    mpo = make_algorithm("mpo", preference="true", alpha=0.2, refresh=0, iterations=2000)
    ours = mpo.fit(setting.view, setting.data, oracle).policy.probabilities()
    gap = regularised_exploitability(ours, CYCLE, setting.view.rho, magnet, 0.2)
    assert float(gap.min()) >= -1e-12
    assert float(gap.max()) < 1e-9
    nash = make_algorithm("nash_md", preference="true", tau=0.2, eta=0.05, iterations=4000)
    fit = nash.fit(setting.view, setting.data, oracle)
    assert torch.allclose(fit.policy.probabilities(), ours, atol=2e-2)
    assert float(fit.gap.max()) < 1e-2


def test_i1_without_magnet_the_three_updates_are_one(setting):
    oracle = setting.oracle()
    runs = [
        make_algorithm("mpo", alpha=0.0, eta=0.7, iterations=5, refresh=0),
        make_algorithm("sppo", eta=0.7, iterations=5),
        make_algorithm("dno", eta=1 / 0.7, iterations=5),
    ]
    # With reward `Q` held fixed REBEL's round is the same step; five of them add up.
    rebel = make_algorithm("rebel", eta=0.7, iterations=5, kl=0.0)
    fit = rebel.fit(setting.view, setting.data)
    tilted = setting.view.reference * (5 * 0.7 * fit.reward).exp()
    want = tilted / tilted.sum(-1, keepdim=True)
    assert torch.allclose(fit.policy.probabilities(), want, atol=1e-10)
    first, *others = (
        a.fit(setting.view, setting.data, oracle).policy.probabilities() for a in runs
    )
    for other in others:
        assert torch.allclose(first, other, atol=1e-10)


def test_i1_and_i7_one_round_of_rebel_is_the_natural_step(setting):
    rebel = make_algorithm("rebel", eta=2.5, iterations=1, kl=0.0)
    natural = make_algorithm("linear_alignment", form="natural", size=2.5)
    one, two = (a.fit(setting.view, setting.data).policy.probabilities() for a in (rebel, natural))
    assert torch.allclose(one, two, atol=1e-12)


def test_rebel_minimises_its_regression(setting):
    fit = make_algorithm("rebel", eta=0.8, iterations=1, kl=0.0).fit(setting.view, setting.data)
    ratio = (fit.policy.probabilities() / setting.view.reference).log() / 0.8 - fit.reward
    assert (ratio - ratio[..., :1]).abs().max() < 1e-9


def test_dno_minimises_its_cross_entropy():
    log_pi = torch.tensor([[0.5, 0.2, 0.3]], dtype=torch.float64).log()
    rate = win_rate(CYCLE, log_pi.exp())

    def loss(logits, base, reward):
        ratio = torch.log_softmax(logits, -1) - base
        target = torch.sigmoid(reward.unsqueeze(-1) - reward.unsqueeze(-2))
        weight = base.exp().unsqueeze(-1) * base.exp().unsqueeze(-2)
        said = torch.nn.functional.logsigmoid(0.4 * (ratio.unsqueeze(-1) - ratio.unsqueeze(-2)))
        return -2 * (weight * target * said).sum((-2, -1))

    found = minimise(loss, log_pi.clone(), [log_pi, rate])
    want = multiplicative(log_pi, rate, 1 / 0.4)
    assert torch.allclose(torch.log_softmax(found.point, -1), want, atol=1e-5)


def test_squared_loss_step_is_the_minimiser_and_nears_the_multiplicative_one():
    generator = torch.Generator().manual_seed(3)
    log_pi = torch.log_softmax(torch.randn(6, 4, generator=generator, dtype=torch.float64), -1)
    wins = torch.rand(6, 4, 4, generator=generator, dtype=torch.float64)
    preference = (wins + 1 - wins.transpose(-1, -2)) / 2
    rate = win_rate(preference, log_pi.exp())
    for eta in (0.5, 5.0):

        def loss(logits, base, target):
            ratio = torch.log_softmax(logits, -1) - base
            return (base.exp() * (ratio - target) ** 2).sum(-1)

        target = eta * (rate - 0.5)
        found = minimise(loss, multiplicative(log_pi, rate, eta), [log_pi, target])
        ours = squared_loss_step(log_pi, rate, eta)
        assert torch.allclose(ours.exp(), torch.softmax(found.point, -1), atol=1e-5)
        distance = (ours.exp() - multiplicative(log_pi, rate, eta).exp()).abs().sum(-1) / 2
        assert float(distance.max()) < (2e-3 if eta < 1 else 0.2)


def test_spin_minimises_its_logistic_loss():
    base = torch.tensor([[0.5, 0.2, 0.3]], dtype=torch.float64).log()
    data = torch.tensor([[0.1, 0.6, 0.3]], dtype=torch.float64)
    lam = 1.7

    def loss(logits, base, data):
        ratio = lam * (torch.log_softmax(logits, -1) - base)
        weight = data.unsqueeze(-1) * base.exp().unsqueeze(-2)
        said = torch.nn.functional.logsigmoid(ratio.unsqueeze(-1) - ratio.unsqueeze(-2))
        return -(weight * said).sum((-2, -1))

    found = minimise(loss, base.clone(), [base, data])
    want = torch.log_softmax(base + (data.log() - base) / lam, -1)
    assert torch.allclose(torch.log_softmax(found.point, -1), want, atol=1e-5)
