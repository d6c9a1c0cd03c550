"""The search over prompts against a search by hand with plain lists, one data set at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spac_theory import (
    LearnerView,
    Oracle,
    PreferenceModel,
    WinnerCounts,
    make_algorithm,
    tabular_class,
)
from spac_theory.algorithms.drpo import prompt_library
from spac_theory.bandit.criteria import make_criteria
from spac_theory.bandit.online import OnlineAccess

from .conftest import make_setting

OPTIONS = {
    "library": 6,
    "temperature": 1e-6,
    "near": 6,
    "proposals": 2,
    "beam": 3,
    "criteria": 2,
    "judge": "reward",
}
SHARP = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)


def game(reward, seeds=4):
    """Two contexts and three actions; the first prompt plays action 0, then action 1."""
    rho = torch.tensor([0.3, 0.7], dtype=torch.float64)
    cls = tabular_class(2, 3, reward_range=(0.0, 1.0))
    uniform = torch.full((2, 3), 1 / 3, dtype=torch.float64)
    view = LearnerView(cls, rho, SHARP, uniform)
    wins = torch.zeros(seeds, 2, 3, 3, dtype=torch.int64)
    wins[:, 0, 0, 1] = 1 + torch.arange(seeds)
    return view, WinnerCounts(wins), torch.tensor(reward, dtype=torch.float64)


def access(view, reward, seeds):
    truth = PreferenceModel.from_reward(reward)
    return OnlineAccess(truth, view.rho, seeds, 0, reward)


def by_hand(view, data, reward, seed, depth, extend, noise):
    """Best prompt, its mean score, the depth and the judgements of one data set."""
    library = prompt_library(view, OPTIONS["library"], OPTIONS["temperature"])
    assert float(library.max(-1).values.min()) > 1 - 1e-9  # every prompt plays one action
    near = (library.unsqueeze(1) - library).abs().sum((-2, -1)).argsort(-1)
    answer = library.argmax(-1)
    (stream,) = WinnerCounts(data.wins[seed : seed + 1]).streams("drpo", view.key)
    asker = access(view, reward, [seed])
    beam, width, limit, level = [(0, [])], 1, depth, 0
    while level < limit:
        perfect = [bool(path) and path[-1] > 4.5 and extend > 0 for _, path in beam]
        if any(perfect) and limit < depth + extend:
            limit += 1
        x = int(asker.prompts(1).argmax())
        mutations = stream.integers(0, 6, (width, OPTIONS["proposals"]))
        children = []
        for place, (prompt, path) in enumerate(beam):
            mutants = [] if perfect[place] else [int(near[prompt, m]) for m in mutations[place]]
            children += [(child, path) for child in [prompt, *mutants]]
        stream.uniform(size=width * (1 + OPTIONS["proposals"]))  # what sharp prompts ignore
        actions = torch.tensor([[int(answer[child, x]) for child, _ in children]])
        scores = asker.judge(torch.full_like(actions, x), actions, 2, noise)[0].mean(-1).tolist()
        scored = [(c, [*path, s]) for (c, path), s in zip(children, scores, strict=True)]
        beam = sorted(scored, key=lambda c: -sum(c[1]))[: OPTIONS["beam"]]
        width = min(OPTIONS["beam"], width * (1 + OPTIONS["proposals"]))
        level += 1
    return beam[0][0], float(np.mean(beam[0][1])), limit, int(asker.scores)


def search(view, data, reward, seeds, depth, extend, noise=0.0):
    asker = access(view, reward, seeds)
    algorithm = make_algorithm("drpo", noise=noise, depth=depth, extend=extend, **OPTIONS)
    return algorithm.fit(view, data, Oracle(1.0, asker)), asker


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("extend", [0, 3, 10])
def test_the_search_is_that_of_plain_lists(depth, extend, noise):
    """With noise two scores may average 4.5 exactly, which is not enough to keep a prompt."""
    view, data, reward = game([[0.25, 0.0, 1.0], [0.75, 0.5, 1.0]], seeds=8)
    fit, asker = search(view, data, reward, range(8), depth, extend, noise)
    library = prompt_library(view, 6, OPTIONS["temperature"])
    for seed in range(8):
        best, score, limit, judged = by_hand(view, data, reward, seed, depth, extend, noise)
        assert torch.equal(fit.policy.probabilities()[seed], library[best])
        assert float(fit.extra["score"][seed]) == pytest.approx(score, abs=1e-12)
        assert int(fit.extra["depth"][seed]) == limit
        assert int(asker.scores[seed]) == judged
    if depth == 5 and extend == 10:
        assert len(set(fit.extra["depth"].tolist())) > 1  # data sets stop at their own depth


@pytest.mark.parametrize(("extend", "levels"), [(0, 4), (1, 5), (10, 14)])
def test_where_everything_is_perfect_depth_grows_to_its_limit_and_prompts_are_kept(extend, levels):
    """Three answers on the first level, then one of each of the three kept paths on every level.

    With the rule off each of the three paths answers with itself and two mutations.
    """
    view, data, reward = game([[1.0, 1.0, 1.0]] * 2)
    fit, asker = search(view, data, reward, range(4), 4, extend)
    each = 3 if extend else 9
    assert asker.scores.tolist() == [2 * (3 + each * (levels - 1))] * 4
    assert fit.extra["depth"].tolist() == [levels] * 4
    assert fit.extra["score"].tolist() == [5.0] * 4
    if extend:  # a tie goes to the path that came first: the prompt it started from
        assert torch.allclose(fit.policy.probabilities(), SHARP.expand(4, 2, 3))


def test_good_is_not_nearly_perfect():
    """Where every answer scores 4 all prompts go on mutating."""
    view, data, reward = game([[0.75, 0.75, 0.75]] * 2)
    fit, asker = search(view, data, reward, range(4), 4, 10)
    assert fit.extra["depth"].tolist() == [4] * 4
    assert asker.scores.tolist() == [2 * (3 + 9 * 3)] * 4


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_data_set_does_not_see_how_deep_the_others_search(noise):
    view, data, reward = game([[0.25, 0.0, 1.0], [0.75, 0.5, 1.0]], seeds=8)
    algorithm = make_algorithm("drpo", noise=noise, depth=4, **OPTIONS)
    together = access(view, reward, range(8))
    whole = algorithm.fit(view, data, Oracle(1.0, together))
    assert len(set(whole.extra["depth"].tolist())) > 1
    for seed in range(8):
        alone = access(view, reward, [seed])
        one = WinnerCounts(data.wins[seed : seed + 1])
        fit = algorithm.fit(view, one, Oracle(1.0, alone))
        assert torch.equal(fit.policy.probabilities()[0], whole.policy.probabilities()[seed])
        assert int(alone.scores) == int(together.scores[seed])
        for name in ("score", "depth"):
            assert float(fit.extra[name]) == float(whole.extra[name][seed])


def test_the_judge_charges_for_what_it_scored():
    view, _, reward = game([[0.25, 0.0, 1.0], [0.75, 0.5, 1.0]])
    asker = access(view, reward, range(2))
    asked = torch.tensor([[True, False, True], [False, False, False]])
    x = torch.tensor([[0, 0, 1], [0, 1, 1]])
    y = torch.tensor([[2, 1, 1], [0, 1, 2]])
    scores = asker.judge(x, y, 2, 0.0, asked)
    assert scores[..., 0].tolist() == [[5.0, 0.0, 3.0], [0.0, 0.0, 0.0]]
    assert asker.scores.tolist() == [4, 0]


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_query_is_judged_by_its_own_criteria(fixed, noise):
    """With lists: each criterion from 1 to 5, the mean over those that matter, or over all."""
    reward = torch.tensor([[0.2, 0.7, 0.4], [0.9, 0.1, 0.5]], dtype=torch.float64)
    view, _, _ = game(reward.tolist())
    asker = access(view, reward, [3])
    criteria = asker.criteria(6)
    same = make_criteria(reward, 6)
    assert torch.equal(criteria.reward, same.reward)
    x, a = torch.tensor([[0, 1, 1]]), torch.tensor([[2, 0, 1]])
    asked = torch.tensor([[True, False, True]])
    got = asker.assess(x, a, criteria, fixed, noise, asked)
    stream = access(view, reward, [3])._streams[0]
    draws, used, want = stream.normal(0, noise, (2, 6)), 0, []
    for row, (query, response) in enumerate([(0, 2), (1, 1)]):
        scores = []
        for c in range(6):
            if fixed or bool(criteria.relevant[query, c]):
                raw = 1 + 4 * float(criteria.reward[query, response, c]) + draws[row, c]
                scores.append(min(5, max(1, round(raw))))
        want.append(sum(scores) / len(scores))
        used += len(scores)
    assert got[0].tolist() == pytest.approx([want[0], 0.0, want[1]])
    assert asker.scores.tolist() == [used]


def test_the_criteria_that_matter_average_to_the_reward():
    reward = torch.rand(8, 5, generator=torch.Generator().manual_seed(1)).double()
    criteria = make_criteria(reward, 14, "test")
    counts = criteria.relevant.sum(-1)
    assert int(counts.min()) >= 2
    assert int(counts.max()) <= 5
    for x in range(8):
        mean = criteria.reward[x][:, criteria.relevant[x]].mean(-1)
        assert torch.allclose(mean, reward[x], atol=1e-12)


def test_fixed_criteria_mislead():
    """The judge that looks at what matters finds better prompts, without noise."""
    setting = make_setting(n=50, seeds=24, contexts=4, actions=5)
    means = {}
    for judge in ("query", "fixed"):
        bandit = setting.problem.bandit
        asker = OnlineAccess(setting.truth, bandit.rho, range(24), 0, bandit.reward)
        algorithm = make_algorithm("drpo", judge=judge, noise=0.0, depth=40)
        fit = algorithm.fit(setting.view, setting.data, Oracle(1.0, asker))
        means[judge] = float(bandit.suboptimality(fit.policy.probabilities()).mean())
    assert means["query"] < means["fixed"]


def test_a_single_path_is_scored_by_its_last_reward():
    """By hand: the best child at each level is the one that answered this query best."""
    view, data, reward = game([[0.25, 0.0, 1.0], [0.75, 0.5, 1.0]])
    options = {**OPTIONS, "beam": 1, "depth": 6, "extend": 0, "noise": 0.0}
    asker = access(view, reward, [2])
    one = WinnerCounts(data.wins[2:3])
    fit = make_algorithm("drpo", **options).fit(view, one, Oracle(1.0, asker))
    library = prompt_library(view, 6, OPTIONS["temperature"])
    near = (library.unsqueeze(1) - library).abs().sum((-2, -1)).argsort(-1)
    answer, prompt, again = library.argmax(-1), 0, access(view, reward, [2])
    (stream,) = one.streams("drpo", view.key)
    for _ in range(6):
        x = int(again.prompts(1).argmax())
        children = [prompt, *[int(near[prompt, m]) for m in stream.integers(0, 6, (1, 2))[0]]]
        stream.uniform(size=3)
        actions = torch.tensor([[int(answer[child, x]) for child in children]])
        scores = again.judge(torch.full_like(actions, x), actions, 2, 0.0)[0].mean(-1).tolist()
        prompt = children[scores.index(max(scores))]
        last = max(scores)
    assert torch.equal(fit.policy.probabilities()[0], library[prompt])
    assert float(fit.extra["score"]) == last
