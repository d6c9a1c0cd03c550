"""Offline rivals against closed forms, autograd, conic programs and one another."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
import torch

from spac_theory import InputError, WinnerCounts, make_algorithm, pair_law, winner_law
from spac_theory.algorithms.chi_po import chi_po_margins, smooth_clip
from spac_theory.algorithms.spac_practical import SpacPractical, sampled_pairs, selfplay_pairs
from spac_theory.keys import generator
from spac_theory.learning.baselines import baseline_policy
from spac_theory.learning.chi_squared import chi_squared_tilt, inverse_phi
from spac_theory.learning.optimise import log_policy, log_reference
from spac_theory.objective import practical_loss

from .conftest import make_setting


def policy(name, setting, **options):
    fit = make_algorithm(name, **options).fit(setting.view, setting.data, setting.oracle())
    return fit.policy.probabilities()


def test_ipo_solves_its_least_squares_problem(setting):
    fit = make_algorithm("ipo", tau=0.3).fit(setting.view, setting.data)
    s = fit.reward.clone().requires_grad_(True)
    margin = s.unsqueeze(-1) - s.unsqueeze(-2)
    loss = (setting.data.fraction * (margin - 0.5) ** 2).sum((1, 2, 3))
    loss = loss + (s**2).sum((1, 2)) / (2 * setting.data.n)
    (gradient,) = torch.autograd.grad(loss.sum(), s)
    assert gradient.abs().max() < 1e-12
    ratio = fit.policy.probabilities().log() - log_reference(setting.view) - fit.reward / 0.3
    assert (ratio - ratio[..., :1]).abs().max() < 1e-9


def test_ipo_population_optimum_is_the_win_rate_against_the_behaviour(setting):
    """With complete data and no ridge, `h(a) = P(a ≻ μ)/τ` up to a shift (identity link)."""
    law = winner_law(setting.view.rho, pair_law(setting.view.reference), setting.truth)
    data = WinnerCounts((law * 1e9).round().to(torch.int64)[None])
    fit = make_algorithm("ipo", tau=1.0, ridge=1e-6).fit(setting.view, data)
    rate = setting.truth.probability @ setting.view.reference.unsqueeze(-1)
    difference = fit.reward[0] - rate.squeeze(-1)
    assert (difference - difference[:, :1]).abs().max() < 1e-4


def test_simpo_without_margin_is_dpo_from_the_uniform_policy(setting):
    uniform = torch.full_like(setting.view.reference, 0.25)
    free = replace(setting.view, reference=uniform)
    dpo = make_algorithm("dpo", beta=0.2).fit(free, setting.data).policy.probabilities()
    assert torch.allclose(policy("simpo", setting, beta=0.2, ratio=0.0), dpo, atol=1e-6)


def test_i2_rpo_without_its_second_term_is_dpo(setting):
    dpo = policy("dpo", setting)
    assert torch.allclose(policy("rpo", setting, lam="fixed", scale=1e12), dpo, atol=1e-6)
    assert torch.allclose(policy("vpo_offline", setting, alpha=0.0), dpo, atol=1e-6)
    assert torch.allclose(policy("hypo", setting, lam=0.0), dpo, atol=1e-6)


def test_i2_vpo_with_chosen_calibration_is_rpo(setting):
    vpo = policy("vpo_offline", setting, alpha=0.05, calibration="chosen")
    assert torch.allclose(vpo, policy("rpo", setting, lam="fixed", scale=20.0), atol=1e-7)


def test_rpo_is_the_swapped_saddle_of_regularised_spac():
    """With a class too wide to bind, both solve one convex program in two parametrisations."""
    setting = make_setting(n=200_000, problem="tabular", contexts=2, actions=3, norm_bound=50.0,
                           reward_range=None)  # fmt: skip
    spac = policy("spac_kl", setting, beta=0.2, lam="fixed", scale=30.0, baseline="chosen")
    rpo = policy("rpo", setting, beta=0.2, lam="fixed", scale=30.0, ridge=1e-6)
    # The game weighs contexts by ρ, the loss by their share of the data: equal up to 1/√n.
    assert torch.allclose(spac, rpo, atol=5e-3)


def test_regularised_spac_against_a_conic_solver(setting):
    beta, lam = 0.15, 12.0
    fit = make_algorithm("spac_kl", beta=beta, lam="fixed", scale=lam).fit(
        setting.view, setting.data
    )
    assert fit.converged.all()
    view, wins = setting.view, setting.data.fraction[0].numpy()
    reward = cp.Variable((3, 4))
    objective = 0
    for x in range(3):
        soft = beta * cp.log_sum_exp(log_reference(view)[x].numpy() + reward[x] / beta)
        objective += float(view.rho[x]) * (soft - view.baseline[x].numpy() @ reward[x])
        for a, b in np.argwhere(wins[x] > 0):
            objective += lam * wins[x, a, b] * cp.logistic(reward[x, b] - reward[x, a])
    problem = cp.Problem(cp.Minimize(objective), [reward >= 0, reward <= 1])
    problem.solve(solver=cp.CLARABEL)
    shown = torch.softmax(log_reference(view) + torch.from_numpy(reward.value) / beta, -1)
    assert torch.allclose(fit.policy.probabilities()[0], shown, atol=1e-4)


def test_regularised_spac_approaches_spac_as_beta_falls(setting):
    sharp = policy("spac_kl", setting, beta=1e-3)
    exact = policy("spac", setting)
    bandit = setting.problem.bandit
    assert torch.allclose(bandit.value(sharp), bandit.value(exact), atol=0.02)


def test_i8_spac_without_weight_on_the_data_returns_its_baseline(setting):
    for name in ("view", "reference", "uniform", "chosen", "both"):
        nu = baseline_policy(name, setting.view, setting.data).expand(3, 3, 4)
        shown = policy("spac", setting, lam="fixed", scale=1e-7, baseline=name)
        assert torch.allclose(shown, nu, atol=2e-3), name


@pytest.mark.parametrize("name", ["chosen", "both"])
def test_data_baselines_work_with_the_data_only_rules(setting, name):
    fit = make_algorithm("spac", lam="certified", baseline=name).fit(setting.view, setting.data)
    assert float(fit.gap.max()) < 1e-5


def test_inverse_phi_is_lamberts_function():
    from scipy.special import lambertw

    u = torch.linspace(-30, 30, 400, dtype=torch.float64)
    reference = torch.from_numpy(lambertw(np.exp(u.numpy())).real)
    assert torch.allclose(inverse_phi(u), reference, rtol=1e-12)
    assert torch.isfinite(inverse_phi(torch.tensor([-1e3, 1e6], dtype=torch.float64))).all()


def test_chi_squared_tilt_against_a_conic_solver(setting):
    reference, beta = setting.view.reference, 0.2
    reward = setting.problem.bandit.reward
    shown = chi_squared_tilt(reference, reward, beta)
    for x in range(3):
        p, q = cp.Variable(4), reference[x].numpy()
        chi = 0.5 * cp.sum(cp.multiply(1 / q, cp.square(p - q)))
        kl = cp.sum(cp.rel_entr(p, q))
        cp.Problem(cp.Maximize(reward[x].numpy() @ p - beta * (chi + kl)), [cp.sum(p) == 1]).solve(
            solver=cp.CLARABEL
        )
        assert np.allclose(shown[x].numpy(), p.value, atol=1e-5)


def test_chi_po_recovers_the_chi_squared_optimum_from_complete_data(setting):
    """Its population minimiser is the tilt of the true reward (the loss is proper)."""
    law = winner_law(setting.view.rho, pair_law(setting.view.reference), setting.truth)
    data = WinnerCounts((law * 1e9).round().to(torch.int64)[None])
    fit = make_algorithm("chi_po", beta=0.3, ridge=1e-3).fit(setting.view, data)
    want = chi_squared_tilt(setting.view.reference, setting.problem.bandit.reward, 0.3)
    assert torch.allclose(fit.policy.probabilities()[0], want, atol=1e-3)


def test_i5_phi_is_log_for_small_ratios_and_linear_for_large_ones():
    u = torch.tensor([-20.0, 1e5], dtype=torch.float64)
    w = inverse_phi(u)
    assert abs(float(w[0].log() - u[0])) < 1e-8
    assert abs(float(w[1] / u[1]) - 1) < 1e-3


@pytest.mark.parametrize("z", [1e-9, 1e4])
def test_i5_the_gradient_of_chi_po_is_dpos_for_small_ratios_and_grows_with_large_ones(z):
    """`∂/∂log z` of the loss of one pair, by autograd, against DPO's at the same margin."""
    log_z = torch.tensor([np.log(z), np.log(z)], dtype=torch.float64, requires_grad=True)
    margin = chi_po_margins(log_z, 0.1)[0, 1]
    (chi,) = torch.autograd.grad(-torch.nn.functional.logsigmoid(margin), log_z)
    leaf = log_z.detach().clone().requires_grad_(True)
    (dpo,) = torch.autograd.grad(-torch.nn.functional.logsigmoid(0.1 * (leaf[0] - leaf[1])), leaf)
    assert torch.allclose(chi / dpo, torch.full((2,), 1 + z, dtype=torch.float64), rtol=1e-9)


def test_the_rounded_clip_differs_from_the_clip_at_its_corners_alone():
    x = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    difference = (smooth_clip(x, 2.0) - x.clamp(-2, 2)).abs()
    assert float(difference.max()) <= 0.05 * np.log(2) + 1e-12
    assert float(difference[(x.abs() - 2).abs() > 0.5].max()) < 1e-5


@pytest.mark.parametrize("form", ["smoothed", "linear"])
@pytest.mark.parametrize("baseline", ["both", "chosen", "rejected"])
def test_practical_gradient_is_that_of_the_one_objective(setting, form, baseline):
    """Against autograd of `objective.practical_loss` on the plain triples, one row a pair."""
    triples = torch.from_numpy(setting.data.to_triples(0))
    x, chosen, rejected = triples.T
    start = torch.sin(torch.arange(12.0, dtype=torch.float64)).reshape(3, 4)
    pi_t = log_policy(setting.view, start).exp()
    s = (0.3 * torch.cos(torch.arange(12.0, dtype=torch.float64)).reshape(3, 4)).requires_grad_(
        True
    )
    loss = practical_loss(
        s[x, chosen], s[x, rejected], s[x], lam=4.0, beta=0.2, beta_c=0.5, w=1.7,
        baseline=baseline, form=form, selfplay_weight=pi_t[x],
    )  # fmt: skip
    (want,) = torch.autograd.grad(loss.total, s)
    algorithm = SpacPractical(beta=0.2, beta_c=0.5, w=1.7, form=form, baseline=baseline)
    wins = setting.data.wins[:1]
    pairs = selfplay_pairs(wins, pi_t[None], baseline)
    lam = torch.tensor([4.0], dtype=torch.float64)
    got = algorithm.gradient(s.detach()[None], pairs, setting.data.fraction[:1], lam)
    assert torch.allclose(got[0], want, atol=1e-12)


def test_sampled_selfplay_has_the_exact_law_as_its_mean(setting):
    wins = setting.data.wins[:1]
    pi = setting.view.reference.expand(1, 3, 4)
    stream = generator("test")
    mean = torch.stack([sampled_pairs(wins, pi, "both", [stream]) for _ in range(400)]).mean(0)
    exact = selfplay_pairs(wins, pi, "both")
    assert (mean - exact).abs().max() < 4 * (exact.max() / (400 * 400)) ** 0.5 + 1e-3


def test_practical_without_critic_is_iterated_dpo(setting):
    """`w = 0`, one round, many steps: DPO by gradient.

    Far beyond convergence Adam is no contraction: its second moments fade, and rounding grows again.
    """
    practical = policy("spac_practical", setting, w=0.0, rounds=1, steps=400, beta=0.5, scale=1.0)
    gradient = policy("dpo_gradient", setting, beta=0.5, steps=400, learning_rate=0.05)
    assert torch.allclose(practical, gradient, atol=1e-9)


def test_i3_spin_is_practical_spac_without_preferences(setting):
    """`λ = 0`, `y = y⁺`: the loss is SPIN's, whose minimiser is the closed form."""
    spin = policy("spin", setting, lam=0.5, iterations=1, smoothing=1e-9)
    practical = policy("spac_practical", setting, scale=0.0, baseline="chosen", beta=0.5, w=1.0,
                       rounds=1, steps=3000)  # fmt: skip
    assert torch.allclose(practical, spin, atol=2e-3)


@pytest.mark.parametrize(
    ("name", "options", "field"),
    [("ipo", {"tau": 0}, "tau"), ("rpo", {"beta": -1.0}, "beta"), ("chi_po", {"ridge": 0}, "ridge"),
     ("dpo", {"beta": 0.0}, "beta is 0"), ("dpo", {"beta": float("nan")}, "beta is nan"),
     ("kl_rlhf", {"beta": -1.0}, "beta is -1"), ("dpo_gradient", {"steps": 0}, "steps is 0"),
     ("mle_greedy", {"ridge": 0}, "ridge is 0"),
     ("spac", {"baseline": "best"}, "baseline"), ("spac_practical", {"rounds": 0}, "rounds"),
     ("vpo_offline", {"calibration": "x"}, "calibration"), ("nash_md", {"eta": 99.0}, "eta")],
)  # fmt: skip
def test_bad_options_are_refused_by_name(name, options, field):
    with pytest.raises(InputError, match=field):
        make_algorithm(name, **options)
