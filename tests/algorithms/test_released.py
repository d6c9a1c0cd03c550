"""Rivals against what their authors' code does, written again in plain Python loops on tiny instances."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import optimize

from spac_theory import BRADLEY_TERRY, WinnerCounts, make_algorithm, make_problem
from spac_theory.algorithms.hypo import sampled_divergence_gradient
from spac_theory.algorithms.linear_alignment import released_step
from spac_theory.algorithms.sapo import segment_kernel
from spac_theory.bandit.online import OnlineAccess
from spac_theory.keys import generator
from spac_theory.learning.optimise import log_reference
from spac_theory.learning.preference_game import pairwise_margins
from spac_theory.learning.trials import make_trial

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


# --- SAIL -----------------------------------------------------------------------------------------


def released_sail(algorithm, view, logits, fraction, model):
    """The expected gradient of the released trainer, row by row: surrogate losses and its hook."""
    seeds, contexts, actions, _ = fraction.shape
    beta, base = algorithm.beta, log_reference(view)
    share = {"ddp": 0.4, "dpp": 0.3, "dpr": 0.3}[algorithm.variant]
    coefficient = {"ddp": 0.2, "dpp": 0.2, "dpr": 0.3}[algorithm.variant]
    out = torch.zeros_like(logits)
    for s in range(seeds):
        leaf = logits[s].clone().requires_grad_(True)
        log_pi = torch.log_softmax(base + leaf, -1)
        total = leaf.sum() * 0
        for x in range(contexts):
            for w in range(actions):
                for l in range(actions):
                    margin = beta * (log_pi[x, w] - base[x, w] - log_pi[x, l] + base[x, l])
                    loss = -torch.log(torch.sigmoid(margin))
                    total = total + (1 - share) * float(fraction[s, x, w, l]) * loss
                    own = float(torch.sigmoid(margin))
                    pi_w, pi_l = float(log_pi[x, w].exp()), float(log_pi[x, l].exp())
                    drawn = 2 * float(view.rho[x]) * pi_w * pi_l
                    if algorithm.variant == "ddp":  # a row (w, l) of the data, swapped or not
                        weight = float(fraction[s, x, w, l] + fraction[s, x, l, w]) * own
                    elif algorithm.variant == "dpp":
                        weight = drawn * own
                    else:  # the reward model's better response wins
                        better = float(model[s, x, w, l])
                        weight = drawn * (1.0 if better > 0.5 else 0.5 if better == 0.5 else 0.0)
                    row = loss
                    if algorithm.variant != "dpr":
                        row = row - coefficient / 2 * loss**2
                    if algorithm.variant != "ddp":
                        if (
                            algorithm.released
                        ):  # the hook: over log-probabilities, not over the batch
                            scale = coefficient * algorithm.batch * float(loss)
                            hook = log_pi[x, w] / float(log_pi[x, w])
                            hook = hook + log_pi[x, l] / float(log_pi[x, l])
                            row = row + scale * hook
                        else:
                            row = row + coefficient * float(loss) * (log_pi[x, w] + log_pi[x, l])
                    total = total + share * weight * row
        (out[s],) = torch.autograd.grad(total, leaf)
    return out


@pytest.mark.parametrize("variant", ["ddp", "dpp", "dpr"])
@pytest.mark.parametrize("released", [False, True])
def test_sail_takes_the_gradient_of_the_release(variant, released):
    """Its coefficients and shares are the defaults, its labels hard."""
    setting = make_setting(n=40, seeds=2, contexts=2, actions=3)
    algorithm = make_algorithm("sail", variant=variant, beta=0.4, released=released)
    logits = torch.sin(1.3 * torch.arange(12, dtype=torch.float64)).reshape(2, 2, 3)
    soft = setting.truth.probability.expand(2, -1, -1, -1)
    fraction = setting.data.fraction
    hard = ((soft - 0.5).sign() + 1) / 2
    got = algorithm.gradient(setting.view, logits, fraction, hard)
    want = released_sail(algorithm, setting.view, logits, fraction, soft)
    assert torch.allclose(got, want, atol=1e-12)


# --- SAPO -----------------------------------------------------------------------------------------


def written(law, temperature, top_k, top_p):
    """One symbol of the decoder: temperature, the likeliest `top_k`, their nucleus."""
    warped = [p ** (1 / temperature) for p in law]
    order = sorted(range(len(law)), key=lambda a: -warped[a])[:top_k]
    mass, total, kept = 0.0, sum(warped[a] for a in order), []
    for a in order:
        if mass >= top_p:
            break
        kept.append(a)
        mass += warped[a] / total
    total = sum(warped[a] for a in kept)
    return [warped[a] / total if a in kept else 0.0 for a in range(len(law))]


def rewriting(policy, symbols, length, segment, keep, decoding):
    """The law of the rewritten string by walking: `{(y, y'): probability}` as nested lists."""
    strings = list(itertools.product(range(symbols), repeat=length))
    chance = dict(zip(strings, policy, strict=True))

    def next_symbol(prefix):
        mass = [sum(p for y, p in chance.items() if y[: len(prefix) + 1] == (*prefix, a))
                for a in range(symbols)]  # fmt: skip
        return written([m / sum(mass) for m in mass], *decoding)

    last = length - keep - segment
    cuts = [0] if length <= segment + keep else list(range(last + 1))
    rows = []
    for old in strings:
        row = dict.fromkeys(strings, 0.0)
        for cut in cuts:
            paths = {old[:cut]: 1 / len(cuts)}
            for _ in range(min(segment, length - cut)):
                paths = {(*prefix, a): p * q for prefix, p in paths.items()
                         for a, q in enumerate(next_symbol(prefix))}  # fmt: skip
            for prefix, p in paths.items():
                row[(*prefix, *old[len(prefix) :])] += p
        rows.append([row[y] for y in strings])
    return rows


@pytest.mark.parametrize("segment", [1, 2, 3])
@pytest.mark.parametrize("keep", [0, 1, 3])
@pytest.mark.parametrize("decoding", [(1.0, 50, 1.0), (0.7, 50, 0.95), (0.7, 2, 0.8)])
def test_sapo_rewrites_as_released(segment, keep, decoding):
    policy = np.random.default_rng(5).dirichlet(np.full(27, 0.7))
    kernel = segment_kernel(torch.from_numpy(policy), 3, segment, keep, *decoding)
    want = rewriting(policy.tolist(), 3, 3, segment, keep, decoding)
    assert np.abs(kernel.numpy() - want).max() < 1e-12


def test_sapo_trains_as_released():
    """Slow copy, opponent, rewriting, first-in-first-out queue, draws with replacement, RMSprop."""
    setting = make_setting(n=50, seeds=1, contexts=2, actions=4)
    options = {"symbols": 2, "segment": 1, "batch": 3, "buffer": 8, "refresh": 4, "steps": 11}
    fit = make_algorithm("sapo", **options).fit(setting.view, setting.data)
    base = log_reference(setting.view).tolist()
    winners = setting.data.fraction[0].sum(-1).flatten().tolist()
    (stream,) = setting.data.streams("sapo", setting.view.key)
    theta = [[0.0] * 4 for _ in range(2)]
    slow = [[0.0] * 4 for _ in range(2)]
    square = [[0.0] * 4 for _ in range(2)]
    opponent, queue = None, []

    def pick(weights, uniform):
        total, mark = 0.0, uniform * sum(weights)
        for place, weight in enumerate(weights):
            total += weight
            if mark < total:
                return place
        return len(weights) - 1

    for step in range(11):
        slow = [
            [(a + b) / 2 for a, b in zip(s, t, strict=True)]
            for s, t in zip(slow, theta, strict=True)
        ]
        if step % 4 == 0:
            opponent = [list(row) for row in slow]
        uniform = stream.random((2, 3))
        for place in range(3):
            x, y = divmod(pick(winners, uniform[0][place]), 4)
            policy = softmax([b + s for b, s in zip(base[x], slow[x], strict=True)])
            law = rewriting(policy, 2, 2, 1, 0, (0.7, 50, 0.95))[y]
            queue.append([x, y, pick(law, uniform[1][place]), 0])
            # the oldest leave; the buffer is a ring, so the order of its places is kept
        ring = [None] * 8
        for number, pair in enumerate(queue):
            ring[number % 8] = pair
        ring = [pair for pair in ring if pair is not None]
        weights = [1 / (1 + pair[3]) for pair in ring]
        drawn = [ring[pick(weights, u)] for u in stream.random(3)]
        gradient = [[0.0] * 4 for _ in range(2)]
        for pair in drawn:
            x, good, bad, _ = pair
            margin = 0.1 * (theta[x][good] - opponent[x][good] - theta[x][bad] + opponent[x][bad])
            slope = -sigmoid(-margin) * 0.1 / 3
            gradient[x][good] += slope
            gradient[x][bad] -= slope
        for pair in drawn:
            pair[3] += 1
        rate = 0.05 * (1.0 if step < 1 else (11 - step) / 10)
        for x, a in itertools.product(range(2), range(4)):
            square[x][a] = 0.99 * square[x][a] + 0.01 * gradient[x][a] ** 2
            theta[x][a] -= rate * gradient[x][a] / (math.sqrt(square[x][a]) + 1e-8)
    want = [softmax([b + t for b, t in zip(base[x], theta[x], strict=True)]) for x in range(2)]
    assert np.abs(fit.policy.probabilities()[0].numpy() - want).max() < 1e-9


# --- games ----------------------------------------------------------------------------------------


def plain_game(name, preference, base, options):
    """The last policy of each game by lists, one context."""
    actions, rounds = len(base), options["iterations"]
    policy = magnet = list(base)
    for k in range(1, rounds + 1):
        if name == "nash_md":
            pull = options["eta"] * options["tau"]
            mixed = [p ** (1 - pull) * b**pull for p, b in zip(policy, base, strict=True)]
            policy = [m / sum(mixed) for m in mixed]
        rate = [sum(preference[a][b] * policy[b] for b in range(actions)) for a in range(actions)]
        if name == "mpo":
            eta, alpha = options["eta"], options["alpha"]
            weight = [
                (p * math.exp(eta * q) * m ** (alpha * eta)) ** (1 / (1 + alpha * eta))
                for p, q, m in zip(policy, rate, magnet, strict=True)
            ]
        else:
            step = 1 / options["eta"] if name == "dno" else options["eta"]
            weight = [p * math.exp(step * q) for p, q in zip(policy, rate, strict=True)]
        policy = [w / sum(weight) for w in weight]
        if name == "mpo" and k % options["refresh"] == 0:
            magnet = policy
    return policy


GAMES = {
    "sppo": {"eta": 0.8, "iterations": 7},
    "dno": {"eta": 0.5, "iterations": 7},
    "nash_md": {"eta": 0.5, "tau": 0.1, "iterations": 7},
    "mpo": {"eta": 0.4, "alpha": 0.1, "iterations": 7, "refresh": 3},
}


@pytest.mark.parametrize("name", GAMES)
def test_games_on_counts_are_played_as_written(name):
    problem = make_problem("cyclic", contexts=2, actions=4)
    trial = make_trial(problem, problem.profile)
    data = trial.data(90, range(2))
    fit = make_algorithm(name, **GAMES[name]).fit(trial.view, data)
    for s, x in itertools.product(range(2), range(2)):
        wins = data.wins[s, x].tolist()
        shares = [[(wins[a][b] + 0.5) / (wins[a][b] + wins[b][a] + 1) for b in range(4)]
                  for a in range(4)]  # fmt: skip
        want = plain_game(name, shares, [0.25] * 4, GAMES[name])
        assert np.abs(fit.policy.probabilities()[s, x].numpy() - want).max() < 1e-12


@pytest.mark.parametrize("wins", [(3, 1), (0, 7), (0, 0), (10**9, 0), (10**9, 10**9)])
def test_a_pairwise_ridge_is_a_penalised_margin_of_each_pair(wins):
    won, lost = wins
    table = torch.zeros(2, 2, dtype=torch.int64)
    table[0, 1], table[1, 0] = won, lost
    margin = float(pairwise_margins(table, BRADLEY_TERRY, 2.0)[0, 1])
    slope = -won * sigmoid(-margin) + lost * sigmoid(margin) + 2.0 * margin
    assert abs(slope) <= 1e-7 * (1 + won + lost)
    assert math.copysign(1, margin) == math.copysign(1, won - lost) or margin == 0


def test_intransitive_preferences_are_judged_by_exploitability():
    """On counts a game finds what no response beats; a fitted reward does not."""
    problem = make_problem("cyclic")
    trial = make_trial(problem, problem.profile)
    data = trial.data(20_000, range(2))
    chance = trial.preference.probability
    greedy = make_algorithm("mle_greedy").fit(trial.view, data).policy.probabilities()
    fitted = make_algorithm("mpo", preference="fitted").fit(trial.view, data).policy.probabilities()
    for model in ("counts", "ridge"):
        fit = make_algorithm("mpo", preference=model).fit(trial.view, data)
        value = trial.exploitability(fit.policy.probabilities())
        by_hand = [
            sum(
                0.2 * max((chance[x] @ fit.policy.probabilities()[s, x]).tolist()) for x in range(5)
            )
            for s in range(2)
        ]
        assert value.tolist() == pytest.approx([v - 0.5 for v in by_hand])
        assert 5 * float(value.max()) < float(trial.exploitability(fitted).min())
    assert float(trial.exploitability(greedy).min()) > 0.05
