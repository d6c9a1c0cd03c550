"""Online access and what uses it: budgets, gradients, identities, kernels."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from spac_theory import InputError, LearnerView, Oracle, make_algorithm
from spac_theory.algorithms.hypo import HyPo, sampled_divergence_gradient
from spac_theory.algorithms.sail import Sail, response_term
from spac_theory.algorithms.sapo import ReplayBuffer, pair_shares, segment_kernel, string_length
from spac_theory.algorithms.sim_oprl import laplace_covariance, pair_variance
from spac_theory.algorithms.vpo_online import VpoOnline
from spac_theory.bandit.online import OnlineAccess
from spac_theory.keys import generator
from spac_theory.learning.dpo_loss import dpo_loss
from spac_theory.learning.online_loop import batches
from spac_theory.learning.optimise import log_policy, log_reference
from spac_theory.objective import tabular_margins

from .conftest import make_setting, negative_log_posterior


def some_logits(seeds=3):
    wave = torch.arange(seeds * 12, dtype=torch.float64).reshape(seeds, 3, 4)
    return 2 * torch.sin(1.7 * wave)


# --- the budget -----------------------------------------------------------------------------------


def test_every_label_is_counted_and_the_budget_holds(setting):
    access = setting.oracle(10).online
    requests = torch.zeros(3, 3, 4, 4, dtype=torch.int64)
    requests[:, 0, 1, 2] = 7
    wins = access.label(requests)
    assert torch.equal(wins[:, 0, 1, 2] + wins[:, 0, 2, 1], torch.full((3,), 7))
    assert access.labels.tolist() == [7, 7, 7]
    with pytest.raises(InputError, match="14; the online budget is 10 labels a data set"):
        access.label(requests)
    assert access.labels.tolist() == [7, 7, 7]


def test_labels_follow_the_true_preferences(setting):
    access = setting.oracle(10**6).online
    requests = torch.zeros(3, 3, 4, 4, dtype=torch.int64)
    requests[:, 2, 0, 3] = 10**6
    share = access.label(requests)[:, 2, 0, 3] / 10**6
    chance = float(setting.truth.probability[2, 0, 3])
    assert (share - chance).abs().max() < 5 * math.sqrt(chance * (1 - chance) / 10**6)


@pytest.mark.parametrize("name", ["xpo", "vpo_online", "online_dpo", "sim_oprl"])
def test_online_algorithms_spend_exactly_their_budget(setting, name):
    oracle = setting.oracle(37)
    make_algorithm(name, rounds=4).fit(setting.view, setting.data, oracle)
    assert oracle.online.labels.tolist() == [37, 37, 37]
    assert sum(batches(setting.oracle(37).online, 4)) == 37


@pytest.mark.parametrize("name", ["xpo", "vpo_online", "sim_oprl", "drpo"])
def test_without_access_there_is_a_reason_and_no_fit(setting, name):
    algorithm = make_algorithm(name)
    assert algorithm.skip(setting.view, None)
    assert algorithm.skip(setting.view, Oracle(1.0))


# --- HyPO -----------------------------------------------------------------------------------------


def test_i6_the_surrogate_of_hypo_is_the_gradient_of_the_divergence(setting):
    logits = some_logits(1)[0].requires_grad_(True)
    log_pi = log_policy(setting.view, logits)
    base = log_reference(setting.view)
    divergence = (log_pi.exp() * (log_pi - base)).sum()
    (want,) = torch.autograd.grad(divergence, logits, retain_graph=True)
    weight = (log_pi.exp() * (log_pi - base)).detach()
    (got,) = torch.autograd.grad((weight * log_pi).sum(), logits)
    assert torch.allclose(got, want, atol=1e-12)


def test_hypo_leaves_unseen_actions_in_the_proportions_of_the_reference():
    setting = make_setting(seeds=2)
    wins = setting.data.wins.clone()
    wins[:, :, 2:, :], wins[:, :, :, 2:] = 0, 0
    wins[:, :, 0, 1] += 1
    data = replace(setting.data, wins=wins)
    fit = HyPo(lam=0.02, ridge=1e-6).fit(setting.view, data)
    unseen = fit.policy.probabilities()[..., 2:]
    reference = setting.view.reference[..., 2:]
    shares = unseen / unseen.sum(-1, keepdim=True)
    assert torch.allclose(
        shares, (reference / reference.sum(-1, keepdim=True)).expand_as(shares), atol=1e-4
    )


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_hypo_samples_have_the_gradient_of_the_divergence_as_their_mean(setting, samples):
    """Against autograd of the exact KL, within four standard errors of forty independent draws."""
    logits = some_logits(1).requires_grad_(True)
    log_pi, base, rho = (
        log_policy(setting.view, logits),
        log_reference(setting.view),
        setting.view.rho,
    )
    divergence = (rho[:, None] * log_pi.exp() * (log_pi - base)).sum()
    (want,) = torch.autograd.grad(divergence, logits)
    draws = torch.stack([
        sampled_divergence_gradient(
            log_pi.detach(), base, rho, 2000, samples, [generator("hypo-test", k)]
        )[0]
        for k in range(40)
    ])  # fmt: skip
    error = (draws.mean(0) - want[0]).abs()
    assert (error <= 4 * draws.std(0) / 40**0.5 + 1e-12).all()
    assert draws.sum(-1).abs().max() < 1e-12  # along the shift of a row there is no gradient


def test_sampled_hypo_reaches_the_exact_one_with_many_samples():
    setting = make_setting(n=2000, seeds=2)
    exact = HyPo(lam=0.02).fit(setting.view, setting.data).policy.probabilities()

    def distance(prompts):
        algorithm = HyPo(lam=0.02, divergence="sampled", prompts=prompts, steps=800)
        fit = algorithm.fit(setting.view, setting.data)
        assert fit.extra["own_samples"].tolist() == [800 * prompts * 2] * 2
        return float((fit.policy.probabilities() - exact).abs().max())

    assert distance(1000) < 0.01
    assert distance(1) > distance(1000)


# --- SAIL -----------------------------------------------------------------------------------------


def sail_objective(algorithm, view, logits, fraction, model):
    """The loss itself, with everything that depends on the policy left in the graph."""
    margin = tabular_margins(algorithm.beta * logits)
    policy = log_policy(view, logits).exp()
    own = torch.sigmoid(margin)
    drawn = view.rho[:, None, None] * policy.unsqueeze(-1) * policy.unsqueeze(-2)
    symmetric = fraction + fraction.transpose(-1, -2)
    law = {"ddp": symmetric * own, "dpp": 2 * drawn * own, "dpr": 2 * drawn * model}
    loss = -torch.nn.functional.logsigmoid(margin)
    mine = (law[algorithm.variant] * loss).sum((1, 2, 3))
    return (1 - algorithm.share) * (fraction * loss).sum((1, 2, 3)) + algorithm.share * mine


@pytest.mark.parametrize("variant", ["ddp", "dpp", "dpr"])
def test_the_three_terms_are_the_gradient_of_sail(setting, variant):
    algorithm = Sail(variant=variant, share=0.6, beta=0.4, rho=1.0, pi=1.0, gamma=1.0)
    model = setting.truth.probability.expand(3, -1, -1, -1)
    logits = some_logits().requires_grad_(True)
    value = sail_objective(algorithm, setting.view, logits, setting.data.fraction, model)
    (want,) = torch.autograd.grad(value.sum(), logits)
    got = algorithm.gradient(setting.view, logits.detach(), setting.data.fraction, model)
    assert torch.allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("variant", ["ddp", "dpp"])
def test_self_labelled_sail_does_not_see_the_labels(setting, variant):
    """Swap every winner and loser: the self-labelled part of the gradient does not move."""
    algorithm = Sail(variant=variant, share=1.0, beta=0.4)
    logits, fraction = some_logits(), setting.data.fraction
    one = algorithm.gradient(setting.view, logits, fraction, fraction)
    other = algorithm.gradient(setting.view, logits, fraction.transpose(-1, -2), fraction)
    assert torch.allclose(one, other, atol=1e-14)
    seen = Sail(variant=variant, share=0.5, beta=0.4)
    one = seen.gradient(setting.view, logits, fraction, fraction)
    other = seen.gradient(setting.view, logits, fraction.transpose(-1, -2), fraction)
    assert not torch.allclose(one, other, atol=1e-3)


def test_i4_sail_without_its_response_term_is_dpo_on_own_pairs(setting):
    algorithm = Sail(variant="dpr", share=1.0, beta=0.4, gamma=1.0)
    model = setting.truth.probability.expand(3, -1, -1, -1)
    logits = some_logits()
    pairs = algorithm.law(setting.view, logits, setting.data.fraction, model)
    full = algorithm.gradient(setting.view, logits, setting.data.fraction, model)
    margin = tabular_margins(0.4 * logits)
    term = response_term(
        -torch.nn.functional.logsigmoid(margin), pairs, log_policy(setting.view, logits), False
    )
    leaf = logits.clone().requires_grad_(True)
    dpo = -(pairs * torch.nn.functional.logsigmoid(tabular_margins(0.4 * leaf))).sum()
    (want,) = torch.autograd.grad(dpo, leaf)
    assert torch.allclose(full - term, want, atol=1e-12)


def test_the_released_response_term_points_elsewhere(setting):
    log_pi = log_policy(setting.view, some_logits())
    pairs = log_pi.exp().unsqueeze(-1) * log_pi.exp().unsqueeze(-2)
    loss = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    right = response_term(loss, pairs, log_pi, False).flatten()
    wrong = response_term(loss, pairs, log_pi, True).flatten()
    assert float(torch.nn.functional.cosine_similarity(right, wrong, dim=0)) < 0


# --- XPO and VPO ----------------------------------------------------------------------------------


def test_i4_xpo_without_optimism_is_online_dpo(setting):
    runs = [("xpo", {"alpha": 0.0}), ("online_dpo", {})]
    one, two = (
        make_algorithm(name, rounds=3, **options)
        .fit(setting.view, setting.data, setting.oracle())
        .policy.probabilities()
        for name, options in runs
    )
    assert torch.allclose(one, two, atol=1e-12)


def test_optimism_moves_mass_away_from_the_reference(setting):
    def divergence(alpha):
        fit = make_algorithm("xpo", alpha=alpha, rounds=1, ridge=3.0).fit(
            setting.view, setting.data, setting.oracle()
        )
        pi = fit.policy.probabilities()
        return (setting.view.reference * (setting.view.reference.log() - pi.log())).sum((1, 2))

    assert (divergence(0.05) > divergence(0.0)).all()


def test_the_bonus_of_vpo_is_the_value_over_the_calibration_policy(setting):
    """`β E_{π_ref}[log π/π_ref] = −max_π (E_π r − E_{π_ref} r − β KL)` at `π ∝ π_ref exp(r/β)`."""
    reward, beta, reference = some_logits(), 0.3, setting.view.reference
    algorithm = VpoOnline(beta=beta)
    law = algorithm.optimism(setting.view, torch.zeros_like(reward), torch.ones(3))
    bonus = (law * (log_policy(setting.view, reward / beta) - reference.log())).sum((1, 2))
    value = beta * torch.logsumexp(reference.log() + reward / beta, -1)
    gap = ((value - (reference * reward).sum(-1)) * setting.view.rho).sum(-1)
    assert torch.allclose(bonus, -gap, atol=1e-12)
    assert float(gap.min()) > 0


def test_the_weight_of_vpo_is_the_root_of_the_labels_over_all_comparisons():
    total = torch.tensor([50.0, 200.0], dtype=torch.float64)
    assert VpoOnline().weight(100, total).tolist() == [10 / 50, 10 / 200]
    assert VpoOnline(alpha=0.25).weight(100, total).tolist() == [0.25, 0.25]
    for name in ("xpo", "online_dpo"):
        with pytest.raises(InputError, match="alpha"):
            make_algorithm(name, alpha=None)


class Listening(OnlineAccess):
    """An access that also notes from which policies the pairs were drawn."""

    def pairs(self, count, first, second):
        self.heard = [*getattr(self, "heard", []), (first, second)]
        return super().pairs(count, first, second)


@pytest.mark.parametrize("pairs", ["reference", "policy"])
def test_vpo_compares_with_the_policy_it_was_told_to(setting, pairs):
    access = Listening(setting.truth, setting.view.rho, range(3), 30)
    VpoOnline(rounds=3, pairs=pairs).fit(setting.view, setting.data, Oracle(1.0, access))
    assert len(access.heard) == 3
    for first, second in access.heard:
        want = setting.view.reference.expand_as(first) if pairs == "reference" else first
        assert torch.equal(second, want)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_vpo_online_is_likelihood_minus_the_best_value(setting, alpha):
    """The reward form `E_D(r) − α max_π(E_π[r] − β KL)`, `E_{π_ref}[r] = 0`, up to a constant.

    The maximum is taken over policies by an optimiser, so neither sign nor factor is assumed.
    """
    beta, view, data = 0.4, setting.view, setting.data
    rewards = some_logits()
    rewards = rewards - (view.reference * rewards).sum(-1, keepdim=True)

    def regularised(logits):
        log_pi = log_policy(view, logits)
        inside = rewards - beta * (log_pi - log_reference(view))
        return (view.rho[:, None] * log_pi.exp() * inside).sum((1, 2))

    leaf = torch.zeros_like(rewards).requires_grad_(True)
    optimiser = torch.optim.LBFGS([leaf], lr=1, max_iter=500, tolerance_grad=1e-12,
                                  line_search_fn="strong_wolfe")  # fmt: skip

    def closure():
        optimiser.zero_grad()
        value = -regularised(leaf).sum()
        value.backward()
        return value

    optimiser.step(closure)
    likelihood = -(data.fraction * torch.nn.functional.logsigmoid(tabular_margins(rewards))).sum(
        (1, 2, 3)
    )
    want = likelihood - alpha * regularised(leaf).detach()
    algorithm = make_algorithm("vpo_online", alpha=alpha, beta=beta)
    ratio = rewards / beta
    weight = alpha * algorithm.optimism(view, rewards, torch.ones(3))
    log_pi = log_policy(view, ratio)
    said = dpo_loss(view, ratio, data.fraction, beta).sum(-1) + (weight * log_pi).sum((1, 2))
    constant = alpha * beta * (view.rho[:, None] * view.reference * log_reference(view)).sum()
    assert torch.allclose(said - constant, want, atol=1e-8)


# --- SAPO -----------------------------------------------------------------------------------------


def test_strings_know_their_length():
    assert string_length(16, 4) == 2
    assert string_length(27, 3) == 3
    assert string_length(10, 3) is None


def test_segment_kernel_by_simulation():
    rng = np.random.default_rng(0)
    policy = torch.from_numpy(rng.dirichlet(np.ones(8)))
    kernel = segment_kernel(policy, symbols=2, segment=1)
    assert torch.allclose(kernel.sum(-1), torch.ones(8, dtype=torch.float64))
    table = policy.numpy().reshape(2, 2, 2)
    start, counts, draws = (1, 0, 1), np.zeros(8), 20_000
    for _ in range(draws):
        string, cut = list(start), rng.integers(3)
        prefix = tuple(string[:cut])
        mass = table[prefix].reshape(2, -1).sum(-1)
        string[cut] = int(rng.random() < mass[1] / mass.sum())
        counts[string[0] * 4 + string[1] * 2 + string[2]] += 1
    assert np.abs(counts / draws - kernel[5].numpy()).max() < 0.015


def test_whole_segments_forget_the_string():
    policy = torch.softmax(torch.arange(9.0, dtype=torch.float64), -1)
    kernel = segment_kernel(policy, symbols=9, segment=1)
    assert torch.allclose(kernel, policy.expand(9, 9))


def test_the_buffer_drops_the_oldest_and_forgets_how_often_they_were_drawn():
    queue, stream = ReplayBuffer(1, 5), [generator("replay")]
    numbered = torch.arange(8)[None, :, None].expand(-1, -1, 3)
    queue.push(numbered[:, :4])
    assert queue.held == 4
    drawn = queue.batch(40, stream)[0, :, 0].tolist()
    assert set(drawn) == {0, 1, 2, 3}
    queue.push(numbered[:, 4:])
    assert queue.held == 5
    counts = dict(zip(queue.pairs[0, :, 0].tolist(), queue.drawn[0].tolist(), strict=True))
    assert counts == {3: drawn.count(3), 4: 0, 5: 0, 6: 0, 7: 0}
    assert set(queue.batch(400, stream)[0, :, 0].tolist()) == {3, 4, 5, 6, 7}


def test_the_buffer_draws_by_use_count():
    """Of two pairs drawn 0 and 2 times the first comes with chance `1/(1 + 1/3) = 3/4`."""
    queue = ReplayBuffer(20_000, 2)
    queue.push(torch.arange(2)[None, :, None].expand(20_000, -1, 3))
    queue.drawn[:, 1] = 2
    shared = [generator("use-count", k) for k in range(20_000)]
    first = (queue.batch(1, shared)[:, 0, 0] == 0).double().mean()
    assert abs(float(first) - 0.75) < 5 * (0.75 * 0.25 / 20_000) ** 0.5


def test_pair_shares_count():
    pairs = torch.tensor([[[0, 1, 2], [0, 1, 2], [1, 0, 0], [2, 2, 1]]])
    shares = pair_shares(pairs, 3, 3)
    assert float(shares.sum()) == 1
    assert [float(shares[0, 0, 1, 2]), float(shares[0, 2, 2, 1])] == [0.5, 0.25]


@pytest.mark.parametrize("symbols", [None, 2])
def test_a_queue_of_large_batches_is_the_mean(symbols):
    """One batch in the buffer: with many pairs its law is the exact one."""
    setting = make_setting(n=400, seeds=2)

    def policy(replay, size):
        options = {"symbols": symbols, "steps": 8, "refresh": 3, "batch": size, "buffer": size}
        fit = make_algorithm("sapo", replay=replay, **options).fit(setting.view, setting.data)
        return fit.policy.probabilities()

    exact = policy("mean", 1)
    far, near = (float((policy("queue", k) - exact).abs().max()) for k in (16, 200_000))
    assert near < 0.01
    assert far > 3 * near


# --- Sim-OPRL -------------------------------------------------------------------------------------


def test_laplace_covariance_is_the_inverse_hessian(setting):
    reward = some_logits()
    covariance = laplace_covariance(reward, setting.data.wins, setting.view)

    wins = setting.data.wins[0, 1].double()
    hessian = torch.autograd.functional.hessian(partial(negative_log_posterior, wins), reward[0, 1])
    assert torch.allclose(covariance[0, 1], torch.linalg.inv(hessian), atol=1e-10)
    variance = pair_variance(covariance)
    assert float(variance.diagonal(dim1=-2, dim2=-1).abs().max()) < 1e-12


def test_a_view_without_full_support_is_treated(setting):
    """Actions outside the support of `π_ref` get no mass from the methods that start there."""
    reference = setting.view.reference.clone()
    reference[:, 0] = 0
    reference = reference / reference.sum(-1, keepdim=True)
    view = LearnerView(setting.view.reward_class, setting.view.rho, reference, reference)
    wins = setting.data.wins.clone()
    wins[:, :, 0, :], wins[:, :, :, 0] = 0, 0
    data = replace(setting.data, wins=wins)
    for name in ("ipo", "rpo", "vpo_offline", "chi_po", "chi2_rlhf", "hypo", "spac_kl", "mpo"):
        policy = make_algorithm(name).fit(view, data).policy.probabilities()
        assert torch.isfinite(policy).all(), name
        assert float(policy[..., 0].max()) < 1e-3, name
