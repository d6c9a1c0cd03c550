"""SAPO's parts: the law of a rewritten segment, the copies that write it, the queue that keeps it."""

from types import SimpleNamespace

import pytest
import torch

from llm.data.row import Row
from llm.methods import make_method
from llm.models.engines import Ends, GenerationSettings
from llm.models.logprobs import sequence_logps, with_logps
from llm.training.batches import ROW_WEIGHT, StreamCollator
from llm.training.copies import Copies
from llm.training.rewriting import Queue, Rewriting, chosen_of, cuts, rewriting, rewritten
from llm.training.rollouts import Rollouts
from spac_theory.algorithms.sapo import segment_kernel

SYMBOLS = [9, 10, 11]
STRINGS = torch.cartesian_prod(*[torch.tensor(SYMBOLS)] * 3)
PROMPT = [1, 3, 4]


def three_symbols(tiny):
    """A model that writes three symbols alone, and its law over strings of three."""
    model = tiny(seed=3)
    with torch.no_grad():
        bias = torch.full((24,), -60.0)
        bias[SYMBOLS] = 0.0
        model.lm_head.weight.div_(12.0)  # not too sure of itself
    model.lm_head.bias = torch.nn.Parameter(bias, requires_grad=False)
    ids = torch.tensor([[*PROMPT, *y] for y in STRINGS.tolist()])
    mask = torch.ones_like(ids)
    with torch.no_grad():
        law = sequence_logps(
            with_logps(model), ids, mask, (torch.arange(6) > 2).long() * mask
        ).exp()
    return model, law.double()


@pytest.mark.parametrize(("segment", "keep"), [(1, 1), (2, 0)])
def test_segments_are_rewritten_by_the_bandits_kernel(tiny, segment, keep):
    """4,000 draws against the exact kernel, at the released temperature and a cut by `top_k`."""
    model, law = three_symbols(tiny)
    decoding = {"temperature": 0.7, "top_k": 2, "top_p": 1.0}
    kernel = segment_kernel(law / law.sum(), 3, segment, keep, **decoding)
    slow = make_method("sapo", {"segment": segment, "keep": keep, **decoding}).slow()
    settings = GenerationSettings("transformers", 1, 1.0, 1.0, 8, 8)
    step = rewriting(Rollouts((), {}, settings, Ends(0, 2), 16, "key"), slow, 4)
    step.copies.on_train_begin(
        SimpleNamespace(output_dir="none"), SimpleNamespace(global_step=0), None, model=model
    )
    good, draws = 14, 4000
    pairs = step.rewrite(model, [PROMPT] * draws, [STRINGS[good].tolist()] * draws, seed=1)
    place = {tuple(y): i for i, y in enumerate(STRINGS.tolist())}
    counts = torch.bincount(torch.tensor([place[tuple(p["bad"])] for p in pairs]), minlength=27)
    p = kernel[good]
    assert set(counts.nonzero().flatten().tolist()) <= set(p.nonzero().flatten().tolist())
    error = (counts / draws - p).abs()
    assert bool((error < 4 * (p * (1 - p) / draws).sqrt() + 1e-9).all())
    assert int((p > 0.01).sum()) > 2
    assert step.given.samples == draws


def test_where_a_segment_starts_and_what_stays_behind_it():
    assert list(cuts(10, 4, 3)) == [0, 1, 2, 3]
    assert list(cuts(6, 4, 3)) == [0]
    good = [5, 6, 7, 8, 9, 2]
    assert rewritten(good, 1, 2, [10, 11], eos=2) == [5, 10, 11, 8, 9, 2]
    assert rewritten(good, 1, 3, [10, 2, 0], eos=2) == [
        5,
        10,
        2,
    ]  # an end in the segment is the end
    assert rewritten(good, 0, 256, [10, 11], eos=2) == [10, 11]


def test_copies_follow_the_weights_and_give_them_back(tiny):
    model = tiny()
    copies = Copies(decay=0.5, refresh=2)
    copies.on_train_begin(
        SimpleNamespace(output_dir="none"), SimpleNamespace(global_step=0), None, model=model
    )
    weight = model.lm_head.weight
    start = weight.detach().clone()
    means, opponents = [start.clone()], []
    for step in range(4):
        with torch.no_grad():
            weight.add_(1.0)
        copies.move(model, step)
        means.append(0.5 * means[-1] + 0.5 * weight.detach())
        opponents.append(means[-1] if step % 2 == 0 else opponents[-1])
        torch.testing.assert_close(copies.weights["ema"]["lm_head.weight"], means[-1])
        torch.testing.assert_close(copies.weights["opponent"]["lm_head.weight"], opponents[-1])
    own = weight.detach().clone()
    with copies.playing(model, "ema"):
        torch.testing.assert_close(model.lm_head.weight, means[-1])
    assert torch.equal(model.lm_head.weight, own)
    with pytest.raises(ZeroDivisionError), copies.playing(model, "opponent"):
        raise ZeroDivisionError
    assert torch.equal(model.lm_head.weight, own)


def test_the_queue_forgets_the_oldest_and_prefers_what_was_drawn_less():
    queue = Queue(3)
    queue.push([{"name": i} for i in range(5)])
    assert [pair["name"] for pair in queue.pairs] == [2, 3, 4]
    queue.pairs[0]["drawn"], queue.pairs[1]["drawn"] = 3, 1
    names = [pair["name"] for pair in queue.draw(6000, seed=0)]
    shares = torch.tensor([1 / 4, 1 / 2, 1.0]) / 1.75
    for name, share in zip((2, 3, 4), shares.tolist(), strict=True):
        assert abs(names.count(name) / 6000 - share) < 4 * (share * (1 - share) / 6000) ** 0.5
    assert queue.pairs[2]["drawn"] == names.count(4)
    assert issubclass(Rewriting, Rollouts)


def test_orpo_is_the_formula_of_its_paper():
    """`−log σ(log odds(y⁺)/odds(ỹ))` with `odds = P/(1 − P)`, `P` the geometric mean a token."""
    from llm.methods import Batch

    method = make_method("sapo", {"variant": "orpo", "beta": 0.05})
    assert method.streams()[0].anchors == ()
    logp = {"chosen": torch.tensor([[-2.0]]), "rewritten": torch.tensor([[-6.0]])}
    length = {"chosen": torch.tensor([[4]]), "rewritten": torch.tensor([[3]])}
    good, bad = (torch.tensor(x).exp() for x in (-0.5, -2.0))
    odds = (good / (1 - good)) / (bad / (1 - bad))
    by_hand = 0.5 + 0.05 * float(torch.log1p(1 / odds))
    assert float(method.loss(Batch(logp, length, {}))[0]) == pytest.approx(by_hand, rel=1e-6)


def test_a_rewritten_pair_counts_as_often_as_its_row(tiny):
    """Through the queue, whichever step draws it; where all rows count once the batch does not say so."""
    model = with_logps(tiny(vocab=24))
    slow = make_method("sapo", {"variant": "orpo", "segment": 2, "memory": 2}).slow()
    settings = GenerationSettings("transformers", 1, 1.0, 1.0, 4, 8)
    collate = StreamCollator(0, make_method("sapo", {"variant": "orpo"}).streams())
    goods = {(5, 6, 7, 8, 9, 2): 3.0, (6, 5, 8, 7, 10, 2): 0.5}
    for weights in (goods, dict.fromkeys(goods, 1.0)):
        rows = [Row(PROMPT, {"chosen": [y]}, row_weight=w) for y, w in weights.items()]
        step = rewriting(Rollouts((), {}, settings, Ends(0, 2), 16, "key"), slow, 2)
        state = SimpleNamespace(global_step=0)
        step.copies.on_train_begin(SimpleNamespace(output_dir="none"), state, None, model=model)
        for number in range(4):
            made = step(model, collate(rows), number, 0)
            if weights is not goods:
                assert ROW_WEIGHT not in made
                continue
            drawn = chosen_of({name: values[:2] for name, values in made.items()})
            assert made[ROW_WEIGHT].tolist() == [goods[tuple(y)] for y in drawn]
