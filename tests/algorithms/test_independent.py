"""What a fit returns against the same problem written out a second time, by loops or other solvers."""

from __future__ import annotations

from functools import partial
from itertools import combinations

import cvxpy as cp
import numpy as np
import pytest
import torch
from scipy import optimize

from spac_theory import Oracle, WinnerCounts, make_algorithm
from spac_theory.algorithms.spo import item_bits
from spac_theory.bandit.online import OnlineAccess
from spac_theory.keys import generator
from spac_theory.learning.optimise import log_policy

from .conftest import make_setting, negative_log_posterior


class Recording(OnlineAccess):
    """An access that keeps what it drew and what it answered."""

    drawn, asked, answered = 0, 0, 0

    def pairs(self, count, first, second):
        pairs = super().pairs(count, first, second)
        self.drawn = self.drawn + pairs
        return pairs

    def label(self, requests):
        wins = super().label(requests)
        self.asked, self.answered = self.asked + requests, self.answered + wins
        return wins


def recorded(setting, algorithm, budget=60):
    seeds = range(len(setting.data.n))
    access = Recording(setting.truth, setting.view.rho, seeds, budget)
    return algorithm.fit(setting.view, setting.data, Oracle(1.0, access)), access


@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_simpo_is_a_convex_program_in_the_logits(setting, gamma):
    beta, fraction, n = 0.3, setting.data.fraction[0].numpy(), int(setting.data.n[0])
    fit = make_algorithm("simpo", beta=beta, ratio=gamma / beta).fit(setting.view, setting.data)
    for x in range(3):
        logits = cp.Variable(4)
        loss = beta**2 / (2 * n) * cp.sum_squares(logits)
        for a, b in np.argwhere(fraction[x]):
            loss += fraction[x, a, b] * cp.logistic(gamma - beta * (logits[a] - logits[b]))
        cp.Problem(cp.Minimize(loss)).solve(
            cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12
        )
        want = torch.softmax(torch.from_numpy(logits.value), -1)
        assert torch.allclose(fit.policy.probabilities()[0, x], want, atol=1e-5)


ONLINE = [("online_dpo", {}), ("xpo", {"alpha": 0.05}), ("vpo_online", {"alpha": 0.2}),
          ("vpo_online", {"alpha": 0.2, "pairs": "policy"})]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), ONLINE)
def test_the_last_online_policy_is_stationary_for_all_labels_of_its_own_run(setting, name, options):
    """The objective, comparison by comparison, from what the access drew and answered; autograd."""
    beta, view = 0.3, setting.view
    fit, access = recorded(setting, make_algorithm(name, beta=beta, rounds=3, **options))
    for seed in range(3):
        known = setting.data.wins[seed] + access.answered[seed]
        total = int(known.sum())
        ell = (fit.reward[seed] / beta).requires_grad_(True)
        log_pi = torch.log_softmax(view.reference.log() + ell, -1)
        x, a, b = known.nonzero(as_tuple=True)
        margin = beta * (log_pi[x, a] - log_pi[x, b])
        margin = margin - beta * (view.reference.log()[x, a] - view.reference.log()[x, b])
        loss = (known[x, a, b] * torch.nn.functional.softplus(-margin)).sum() / total
        loss = loss + beta**2 * (ell**2).sum() / (2 * total)
        if name == "xpo":
            second = access.drawn[seed].sum(-2)  # responses of π_ref
            loss = loss + options["alpha"] * (second * log_pi).sum() / total
        elif name == "vpo_online":
            mean = (view.rho[:, None] * view.reference * log_pi).sum()
            loss = loss + options["alpha"] * beta * mean
        (gradient,) = torch.autograd.grad(loss, ell)
        assert float(gradient.abs().max()) < 1e-6
        assert torch.allclose(fit.policy.probabilities()[seed], log_pi.detach().exp(), atol=1e-10)


def posterior(wins):
    """Mode and covariance of one context: `N(0, I)` prior, by SciPy and autograd's Hessian."""

    negative = partial(negative_log_posterior, wins)

    def both(flat):
        r = torch.from_numpy(flat).requires_grad_(True)
        value = negative(r)
        (gradient,) = torch.autograd.grad(value, r)
        return float(value), gradient.numpy()

    start = np.zeros(wins.shape[-1])
    mode = optimize.minimize(both, start, jac=True, options={"gtol": 1e-10}).x
    mode = torch.from_numpy(mode)
    return mode, torch.linalg.inv(torch.autograd.functional.hessian(negative, mode))


def test_sim_oprl_asks_about_the_most_uncertain_seen_pair_and_plays_the_best_lower_bound():
    """Both by enumeration, with a posterior fitted by SciPy."""
    setting = make_setting(n=60, seeds=3)
    algorithm = make_algorithm("sim_oprl", query="uncertain", offline=True, rounds=1, width=0.8)
    fit, access = recorded(setting, algorithm, 12)
    assert access.asked.sum((1, 2, 3)).tolist() == [12] * 3
    for seed, x in np.ndindex(3, 3):
        seen = setting.data.wins[seed, x].double()
        _, covariance = posterior(seen)
        pairs = [(a, b) for a, b in combinations(range(4), 2) if seen[a, b] + seen[b, a] > 0]

        def variance(pair, covariance=covariance):
            (a, b), c = pair, covariance
            return float(c[a, a] + c[b, b] - 2 * c[a, b])

        asked = {tuple(sorted(p)) for p in access.asked[seed, x].nonzero().tolist()}
        assert asked <= {max(pairs, key=variance)}
        mode, covariance = posterior(seen + access.answered[seed, x])
        bounds = []
        for a in range(4):
            direction = torch.eye(4, dtype=torch.float64)[a] - setting.view.baseline[x]
            width = 0.8 * float(direction @ covariance @ direction) ** 0.5
            bounds.append(float(mode[a]) - width)
        assert int(fit.policy.probabilities()[seed, x].argmax()) == int(np.argmax(bounds))


def test_chi2_rlhf_has_the_chi_squared_optimum_of_the_truth_on_complete_data(setting):
    """Against a conic solver with the true reward, and the counts of a billion comparisons."""
    beta, view, reward = 0.3, setting.view, setting.problem.bandit.reward
    pair = view.reference.unsqueeze(-1) * view.reference.unsqueeze(-2)
    law = view.rho[:, None, None] * pair * setting.truth.probability
    data = WinnerCounts((1e9 * law).round().to(torch.int64)[None])
    fit = make_algorithm("chi2_rlhf", beta=beta).fit(view, data)
    for x in range(3):
        p, q = cp.Variable(4), view.reference[x].numpy()
        divergence = 0.5 * cp.sum(cp.multiply(1 / q, cp.square(p - q))) + cp.sum(cp.rel_entr(p, q))
        aim = reward[x].numpy() @ p - beta * divergence
        cp.Problem(cp.Maximize(aim), [cp.sum(p) == 1]).solve(cp.CLARABEL)
        assert np.allclose(fit.policy.probabilities()[0, x].numpy(), p.value, atol=1e-3)


def degree_loss(told, wins, levels):
    """Cross-entropy of "k items are gone", item by item and edit by edit, mean over comparisons."""
    total = 0.0
    for x, winner, loser in wins.nonzero().tolist():
        count = float(wins[x, winner, loser])
        for action in (winner, loser):
            held = [i for i in range(3) if action >> i & 1]
            for level in range(levels):
                gone = list(combinations(held, min(level, len(held))))
                for edit in gone:
                    left = action - sum(1 << i for i in edit)
                    total = total - count * told[left, level] / (levels * len(gone))
    return total / wins.sum()


@pytest.mark.parametrize("gamma", [0.0, 3.0])
def test_spo_follows_the_plain_loop(gamma):
    """An independent loss that edits every response of every comparison in every way."""
    setting = make_setting(n=40, seeds=1, problem="item_sets", contexts=2, items=3)
    steps = 12
    fit = make_algorithm("spo", gamma=gamma, steps=steps).fit(setting.view, setting.data)
    rng, wins = generator("spo", setting.view.key), setting.data.wins[0].double()
    shapes = ((3, 2), (2, 2), (2, 3))
    encoder, heads, classifier = (
        torch.from_numpy(rng.normal(0, 0.3, shape)).requires_grad_(True) for shape in shapes
    )
    bias = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([encoder, heads, classifier, bias], lr=0.05)
    for _ in range(steps):
        optimiser.zero_grad()
        code = item_bits(8) @ encoder
        logits = heads @ code.T
        loss = gamma * degree_loss(torch.log_softmax(code @ classifier + bias, -1), wins, 3)
        for x, a, b in wins.nonzero().tolist():
            margin = 0.1 * (logits[x, a] - logits[x, b])
            loss = loss - wins[x, a, b] / wins.sum() * torch.nn.functional.logsigmoid(margin)
        loss.backward()
        optimiser.step()
    logits = (heads @ (item_bits(8) @ encoder).T).detach()
    want = log_policy(setting.view, logits).exp()
    assert torch.allclose(fit.policy.probabilities()[0], want, atol=1e-9)
