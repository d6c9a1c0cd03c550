"""Rivals against what their authors' code does, written again in plain Python loops on tiny instances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import optimize

from spac_theory import WinnerCounts, make_algorithm
from spac_theory.algorithms.hypo import sampled_divergence_gradient
from spac_theory.algorithms.linear_alignment import released_step
from spac_theory.bandit.online import OnlineAccess
from spac_theory.keys import generator
from spac_theory.learning.optimise import log_reference

from .conftest import make_setting


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def softmax(logits):
    top = max(logits)
    weights = [math.exp(v - top) for v in logits]
    return [w / sum(weights) for w in weights]


# --- HyPO -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 3])
def test_hypo_takes_the_score_function_of_its_own_samples(samples):
    """`y ~ π; log π(y) · (log π(y) − log π_ref(y))`, the factor held fixed, minus the others' mean."""
    rho = torch.tensor([0.3, 0.7], dtype=torch.float64)
    log_pi = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]], dtype=torch.float64).log()
    base = torch.tensor([[0.4, 0.4, 0.2], [0.1, 0.2, 0.7]], dtype=torch.float64).log()
    prompts, stream = 4, generator("hypo-plain")
    got = sampled_divergence_gradient(
        log_pi[None], base, rho, prompts, samples, [generator("hypo-plain")]
    )[0]
    want = np.zeros((2, 3))
    for uniform in stream.random((prompts, 1 + samples)):
        x = 0 if uniform[0] < 0.3 else 1
        drawn = [int(np.searchsorted(log_pi[x].exp().cumsum(-1), u)) for u in uniform[1:]]
        ratios = [float(log_pi[x, y] - base[x, y]) for y in drawn]
        for j, y in enumerate(drawn):
            others = ratios[:j] + ratios[j + 1 :]
            factor = ratios[j] - (sum(others) / len(others) if others else 0.0)
            score = -log_pi[x].exp().numpy()
            score[y] += 1
            want[x] += factor * score / (prompts * samples)
    assert np.abs(got.numpy() - want).max() < 1e-12


# --- SimPO ----------------------------------------------------------------------------------------


def test_simpo_minimises_the_released_loss():
    """`−log σ(β (log π(y_w) − log π(y_l)) − γ)` row by row, `γ = ratio · β`, plus the stated ridge."""
    setting = make_setting(n=30, seeds=1, contexts=1, actions=3)
    beta, ratio, rows = 0.7, 0.8, setting.data.to_triples()
    algorithm = make_algorithm("simpo", beta=beta, ratio=ratio)
    policy = algorithm.fit(setting.view, setting.data).policy.probabilities()[0, 0]

    def loss(logits):
        log_pi = [math.log(p) for p in softmax(list(logits))]
        total = 0.0
        for _, winner, loser in rows:
            margin = beta * (log_pi[winner] - log_pi[loser]) - ratio * beta
            total -= math.log(sigmoid(margin)) / len(rows)
        return total + beta**2 / (2 * len(rows)) * sum(v * v for v in logits)

    found = optimize.minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-9})
    assert np.abs(np.array(softmax(list(found.x))) - policy.numpy()).max() < 1e-5


# --- Linear Alignment -----------------------------------------------------------------------------


def decoded(told, base, size, temperature, top_p, argmax):
    """One token of the released decoder, with lists."""
    plain = softmax([v / temperature for v in told])
    order = sorted(range(len(told)), key=lambda a: -plain[a])
    kept, mass = set(), 0.0
    for a in order:
        if mass >= top_p:
            break
        kept.add(a)
        mass += plain[a]
    contrast = softmax(
        [(t + size * (t - b)) / temperature for t, b in zip(told, base, strict=True)]
    )
    masked = [contrast[a] if a in kept else 0.0 for a in range(len(told))]
    if sum(masked) == 0:
        masked = [plain[a] if a in kept else 0.0 for a in range(len(told))]
    if argmax:
        best = max(range(len(told)), key=lambda a: masked[a])
        return [1.0 if a == best else 0.0 for a in range(len(told))]
    return [m / sum(masked) for m in masked]


@pytest.mark.parametrize("decode", ["argmax", "sample"])
@pytest.mark.parametrize("size", [0.0, 3.0, 2000.0])
def test_linear_alignment_decodes_as_released(decode, size):
    rng = np.random.default_rng(3)
    told = np.log(rng.dirichlet(np.full(5, 0.6), 20))
    base = np.log(rng.dirichlet(np.full(5, 0.6), 20))
    got = released_step(torch.from_numpy(told), torch.from_numpy(base), size, 0.5, 0.8, decode)
    for row, t, b in zip(got.tolist(), told, base, strict=True):
        want = decoded(list(t), list(b), size, 0.5, 0.8, decode == "argmax")
        assert np.abs(np.array(row) - want).max() < 1e-9


def test_linear_alignment_is_released_by_default(setting):
    plain = make_algorithm("linear_alignment").fit(setting.view, setting.data)
    wins = setting.data.wins.sum(-1).double() + setting.view.reference
    base = log_reference(setting.view).log_softmax(-1)
    for s in range(3):
        for x in range(3):
            told = (wins[s, x] / wins[s, x].sum()).log().tolist()
            want = decoded(told, base[x].tolist(), 3.0, 0.5, 0.8, True)
            assert plain.policy.probabilities()[s, x].tolist() == want


# --- Sim-OPRL -------------------------------------------------------------------------------------


class Asked(OnlineAccess):
    """Notes what was asked."""

    def label(self, requests):
        self.requests = [*getattr(self, "requests", []), requests]
        return super().label(requests)


@pytest.mark.parametrize("query", ["optimistic", "uncertain", "uniform"])
@pytest.mark.parametrize("offline", [True, False])
def test_sim_oprl_never_compares_a_response_with_itself(setting, query, offline):
    for members in (2, 8):
        access = Asked(setting.truth, setting.view.rho, range(3), 4000)
        algorithm = make_algorithm("sim_oprl", query=query, members=members, offline=offline)
        oracle = setting.oracle()
        object.__setattr__(oracle, "online", access)
        algorithm.fit(setting.view, setting.data, oracle)
        for asked in access.requests:
            assert int(asked.diagonal(dim1=-2, dim2=-1).sum()) == 0
        assert access.labels.tolist() == [4000] * 3


def test_sim_oprl_starts_without_labels_unless_told(setting):
    """Turn every label of the data round: only the run that reads them moves."""
    turned = WinnerCounts(setting.data.wins.transpose(-1, -2))

    def first_queries(data, offline):
        access = Asked(setting.truth, setting.view.rho, range(3), 300)
        algorithm = make_algorithm("sim_oprl", query="uncertain", rounds=1, offline=offline)
        oracle = setting.oracle()
        object.__setattr__(oracle, "online", access)
        fit = algorithm.fit(setting.view, data, oracle)
        return access.requests[0], fit.reward

    blind, reward = first_queries(setting.data, False)
    again, same = first_queries(turned, False)
    assert torch.equal(blind, again)
    assert torch.equal(reward, same)
    assert not torch.equal(first_queries(setting.data, True)[1], first_queries(turned, True)[1])
