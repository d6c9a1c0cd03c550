"""SPO's edits and heads: key phrases by hand, the language's symbols, a loss by a plain loop, kills."""

import itertools
import math

import pytest
import torch
from safetensors.torch import load_file
from small_runs import Killed
from test_rounds import pipeline
from transformers import TrainingArguments

from experiments.common.files import read_json
from llm.data.rake import key_phrases, without
from llm.data.row import Row
from llm.methods import Batch, data, make_method, streams_of
from llm.stages.edit import keys_of, levels_of
from llm.training import trainer as trainers
from llm.training.batches import StreamCollator
from llm.training.heads import add_heads
from llm.worlds.language import Language
from spac_theory import make_algorithm
from spac_theory.algorithms.spo import degree_loss
from spac_theory.algorithms.spo import edited as edited_law
from spac_theory.objective import preference_loss, tabular_preference_loss


def test_key_phrases_of_a_sentence_by_hand():
    """Phrases: systems / linear constraints / natural numbers / minimal set / systems; degrees counted."""
    text = "Systems of linear constraints, over natural numbers; a minimal set of systems"
    found = [text[a:b] for a, b in key_phrases(text)]
    assert found[:3] == ["linear constraints", "natural numbers", "minimal set"]  # 2 + 2 each
    assert found[3:] == ["Systems", "systems"]  # degree 2 over frequency 2
    assert (
        without(text, key_phrases(text)[:1])
        == "Systems of, over natural numbers; a minimal set of systems"
    )
    assert key_phrases("of the and") == key_phrases("") == []


def test_on_a_language_what_goes_are_the_flattering_symbols():
    language = Language()
    keys, levels = keys_of(language), 3
    for x in (0, 4):
        prompt = f"[INST] {language.prompts[x]} [/INST]"
        telling = {i for i, is_key in enumerate(language.flattering[x].tolist()) if is_key}
        for text, codes in zip(language.responses, language.codes.tolist(), strict=True):
            k = sum(c in telling for c in codes)
            for j, edited in enumerate(levels_of(text, keys(prompt, text), levels), 1):
                gone = math.ceil(j * k / levels)
                left = iter(text.split())
                assert len(edited.split()) == 3 - gone
                assert all(word in left for word in edited.split())  # the others, in their order
    assert levels_of("ba be bi", [(0, 2), (3, 5), (6, 8)], 3) == [" be bi", " bi"]


def batch_of(levels, seed=0):
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    told = {n: draw(4, 1, levels) for n in ("chosen", "rejected")}
    told |= {f"{n}_edits": draw(4, levels - 1, levels) for n in ("chosen", "rejected")}
    logp = {n: draw(4, 1) for n in ("chosen", "rejected")}
    return Batch(logp, {}, {"initial": {n: draw(4, 1) for n in logp}}, told=told)


def test_the_degree_loss_by_a_plain_loop_and_without_it_dpo():
    batch, levels = batch_of(3), 3
    method, plain = make_method("spo", {"gamma": 0.7}), make_method("spo", {"gamma": 0.0})
    assert plain.streams() == data("initial")
    assert plain.heads() == {}
    margin = batch.ratio("chosen", "initial") - batch.ratio("rejected", "initial")
    base = preference_loss(method.beta * margin[:, 0])
    assert torch.equal(plain.loss(batch)[0], base)
    extra = 0.0
    for side in ("chosen", "rejected"):
        for row in range(4):
            logits = [batch.told[side][row, 0], *batch.told[f"{side}_edits"][row]]
            extra += sum(-float(z.log_softmax(-1)[j]) for j, z in enumerate(logits)) / (4 * levels)
    assert float(method.loss(batch)[0]) == pytest.approx(float(base) + 0.7 * extra, abs=1e-12)
    assert make_method("spo", {"heads_in_all": 1}).heads() == {"both": 3}


ITEMS, PROMPTS, N = 3, [[1, 3, 4], [1, 5, 6]], 8
TOKENS = list(range(9, 9 + 2**ITEMS))  # one-token responses: the subsets of three items


def removed(action, order, count):
    """The subset without the first `count` of its items in this order, empty if it has fewer."""
    for item in [i for i in order if action >> i & 1][:count]:
        action -= 1 << item
    return action


@pytest.mark.parametrize("heads", [1, 2])
def test_over_all_orders_of_removal_the_loss_is_the_bandits(tiny, tmp_path, heads):
    """Through collator, network, heads and trainer on one side, the bandit's law of edits on the other."""
    method = make_method("spo", {"heads_in_all": heads})
    kind, options = method.bandit
    algorithm = make_algorithm(kind, **options)
    g = torch.Generator().manual_seed(5)
    base = torch.randn(2, 2**ITEMS, generator=g, dtype=torch.float64).log_softmax(-1)
    x = torch.randint(2, (N,), generator=g).tolist()
    pairs = torch.randint(2**ITEMS, (N, 2), generator=g).tolist()
    rows = []
    for i, pair in zip(x, pairs, strict=True):
        for order in itertools.permutations(range(ITEMS)):
            row = Row(PROMPTS[i], {}, {"initial": {}})
            for side, action in zip(("chosen", "rejected"), pair, strict=True):
                edits = [removed(action, order, k) for k in range(1, algorithm.levels)]
                row.responses[side] = [[TOKENS[action]]]
                row.responses[f"{side}_edits"] = [[TOKENS[a]] for a in edits]
                row.logp["initial"][side] = [float(base[i, action])]
            rows.append(row)
    model = tiny(dtype=torch.float64, seed=3)
    add_heads(model, method.heads(), seed=0)
    streams = streams_of(method, samples=1)
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    trainer = trainers.MethodTrainer(
        model, method=method, streams=streams, args=arguments, logp_chunk=7
    )
    got = trainer.compute_loss(model, StreamCollator(0, streams)(rows))

    wins = torch.zeros(2, 2**ITEMS, 2**ITEMS, dtype=torch.float64)
    for i, (a, b) in zip(x, pairs, strict=True):
        wins[i, a, b] += 1 / N
    logp = torch.stack(
        [model(torch.tensor([p])).logits[0, -1].log_softmax(-1)[TOKENS] for p in PROMPTS]
    )
    ends = torch.tensor([[[*p, token] for token in TOKENS] for p in PROMPTS])
    states = model.model(ends.flatten(0, 1)).last_hidden_state[:, -1].unflatten(0, (2, -1))
    expected = tabular_preference_loss(algorithm.beta * (logp - base), wins)
    for side, law in (("chosen", wins.sum(-1)), ("rejected", wins.sum(-2))):
        logits = model.told_heads["both" if heads == 1 else side](states)
        miss = degree_loss(edited_law(law, algorithm.levels), logits).sum()
        expected = expected + algorithm.gamma * miss
    assert abs(float((got - expected).detach())) < 1e-10
    trained = [p for p in model.parameters() if p.requires_grad]
    ours, theirs = (torch.autograd.grad(v, trained, allow_unused=True) for v in (got, expected))
    for a, b in zip(ours, theirs, strict=True):
        assert float((a - b).abs().max()) < 1e-10
    assert min(float(a.abs().max()) for a in ours[-2:]) > 1e-4  # a head's


def test_heads_learn_stay_beside_the_model_and_survive_a_kill(tmp_path, monkeypatch):
    options = ("methods=[spo]", "train.epochs=8", "train.learning_rate=1e-2")
    pipeline(tmp_path / "whole", *options)()
    step, left = trainers.MethodTrainer.training_step, [8]

    def dying(self, *args, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(trainers.MethodTrainer, "training_step", dying)
        with pytest.raises(Killed):
            pipeline(tmp_path / "killed", *options)()
    pipeline(tmp_path / "killed", *options)()
    found = []
    for run in ("whole", "killed"):
        home = tmp_path / run / "spo/round-01/train"
        found.append(load_file(home / "heads.safetensors"))
        assert not any("told" in n for n in load_file(home / "model/model.safetensors"))
    assert sorted(found[0]) == [
        f"{s}.{w}" for s in ("chosen", "rejected") for w in ("bias", "weight")
    ]
    for name, weight in found[0].items():
        assert torch.equal(weight, found[1][name])
    manifests = [read_json(tmp_path / run / "manifest.json") for run in ("whole", "killed")]
    assert manifests[0] == manifests[1]
    log = read_json(tmp_path / "whole/spo/round-01/train/log.json")
    assert log[-1]["spo/chosen_loss"] < log[0]["spo/chosen_loss"] - 0.05
    assert read_json(tmp_path / "whole/spo/round-01/evaluate/report.json")["steps"] == 24
