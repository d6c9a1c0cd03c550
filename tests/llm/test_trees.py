"""Languages whose responses are the leaves of a tree: level-by-level passes against plain enumeration."""

import itertools
import math

import pytest
import torch

from llm.data.padding import pad
from llm.models.logprobs import sequence_logps, with_logps
from llm.worlds import exact, tiny
from llm.worlds.language import Language
from llm.worlds.tree import NAMES, TreeLanguage, along
from llm.worlds.trie import levels_of
from llm.worlds.world import MOODS, make_world


def small(name, **options):
    return TreeLanguage(name, **{"coverage": 0.2, "branching": 3, "length": 4, **options})


@pytest.mark.parametrize("name", NAMES)
def test_rewards_and_behaviour_are_sums_along_every_path(name):
    """Every response walked edge by edge, in plain Python."""
    world = small(name)
    b, moods = world.branching, range(len(MOODS))
    edges = [level.tolist() for level in world.edges]
    paths = list(itertools.product(range(b), repeat=world.length))
    assert world.codes.tolist() == [list(p) for p in paths]
    for mood in moods:
        raw = []
        for path in paths:
            node, worth = 0, 0.0
            for depth, symbol in enumerate(path):
                node = node * b + symbol
                worth += edges[depth][mood][node]
            raw.append(worth)
        low, high = min(raw), max(raw)
        assert world.reward[mood].tolist() == pytest.approx([(r - low) / (high - low) for r in raw])
    assert torch.equal(world.reward[0], world.reward[3])  # the same mood, another topic
    torch.testing.assert_close(world.behaviour.sum(-1), torch.ones(12, dtype=torch.float64))


def test_a_chain_is_worth_its_neighbours_wherever_they_stand():
    world = small("chains")
    raw = along(world.edges)[1]
    first, after = world.edges[0][1], world.edges[1][1].view(3, 3)
    for number, path in enumerate(world.codes.tolist()):
        worth = first[path[0]] + sum(after[a, c] for a, c in itertools.pairwise(path))
        assert float(raw[number]) == pytest.approx(float(worth))


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_enumeration(name):
    """`J`, suboptimality, KL and coverage of a random policy by loops over all prompts and responses."""
    world = small(name)
    logs = torch.randn(12, 81, generator=torch.Generator().manual_seed(0)).double().log_softmax(-1)
    report = exact.report(world, logs, world.behaviour.log(), world.sample_pairs(5, seed=0))
    reward, mu, policy = world.reward.tolist(), world.behaviour.tolist(), logs.exp().tolist()
    cells = list(itertools.product(range(12), range(81)))
    assert report["value"] == pytest.approx(sum(policy[x][y] * reward[x][y] for x, y in cells) / 12)
    assert report["suboptimality"] == pytest.approx(1 - report["value"])
    kl = sum(policy[x][y] * math.log(policy[x][y] / mu[x][y]) for x, y in cells) / 12
    assert report["kl"] == pytest.approx(kl)
    best = max(range(81), key=lambda y: reward[0][y])
    chi = [1 / mu[x][max(range(81), key=lambda y: reward[x][y])] - 1 for x in range(12)]
    assert report["concentrability_optimal"] == pytest.approx(sum(chi) / 24)
    assert mu[0][best] >= 0.2  # one good response of 81 has all the mass of the good
    assert "misled" not in report


def test_the_full_languages_have_4096_responses_and_rewards_of_two_kinds():
    chains, paths = (make_world(name, 0.1, 2.0) for name in NAMES)
    assert len(chains.responses) == len(set(chains.responses)) == 4096
    assert not torch.allclose(chains.reward, paths.reward)
    for world in (chains, paths):
        assert (world.reward.min(), world.reward.max()) == (0, 1)
        good = world.reward >= world.reward.topk(64).values[:, -1:]
        mass = (world.behaviour * good).sum(-1)
        assert bool((mass > 0.1).all() and (mass < 0.25).all())
        again = make_world(world.name, 0.1, 2.0)
        assert torch.equal(world.reward, again.reward)


def test_a_pass_over_the_tree_gives_every_response_what_it_gets_alone():
    """Unequal lengths, one response the beginning of another, a prompt of another length."""
    tok = tiny.tokenizer()
    net = tiny.model(tok, seed=3).double()
    responses = [[5, 6, 2], [5, 6], [5, 7, 8, 2], [9], [5, 6, 2, 4], [10, 2]]
    prompts = [[1, 4, 11], [1, 4, 12, 13, 5]]
    table = exact.policy_table(net, prompts, responses)
    with_logps(net)
    for x, prompt in enumerate(prompts):
        for y, response in enumerate(responses):
            alone = sequence_logps(net, *pad([prompt], [response], 3).values())
            assert float(table[x, y]) == pytest.approx(alone.item(), abs=1e-8)
    assert sum(len(level.inner) for level in levels_of(responses)) == 6  # read once each


def test_the_tree_of_a_language_is_small():
    language = Language()
    tok = tiny.tokenizer()
    ids = [tok(r + " </s>", add_special_tokens=False)["input_ids"] for r in language.responses]
    assert sum(len(level.inner) for level in levels_of(ids)) == 8 + 64 + 512
