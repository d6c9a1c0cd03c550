"""What a round derives from the streams: labels, rollouts, what is interrupted, what is refused."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_runs import Killed, silent_pipeline

from experiments.common.files import read_json
from llm.data.row import Row
from llm.files.digests import read_rows
from llm.methods import Stream
from llm.models.engines import Ends, GenerationSettings
from llm.models.load import LoraSettings, add_lora
from llm.models.logprobs import sequence_logps, with_logps
from llm.stages import reference
from llm.stages.label import Labeller
from llm.training import trainer as trainers
from llm.training.batches import SEQUENCES, StreamCollator
from llm.training.rollouts import Rollouts, adapter_off, copy_of, labels_a_row
from llm.worlds import tiny
from llm.worlds.language import Language
from llm.worlds.referee import CyclicJudge, LanguageJudge, cyclic_exploitability
from spac_theory.checks import InputError

QUICK = ("rounds=1", "data.language.pairs=48", "data.language.demonstrations=256", "judge=language")


def pipeline(folder, *overrides):
    return silent_pipeline(folder, *QUICK, *overrides)


# A rival of two policies; copies and a queue; rollouts with and without labels; labels of a round.
SAPO = ("methods.sapo.refresh=2", "methods.sapo.memory=2")
BOTH = ("methods=[nash_md,sapo,hypo,rebel]", *SAPO)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with labels and with rollouts that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    pipeline(folder, *BOTH)()
    return folder


def test_a_killed_run_with_rollouts_and_labels_ends_like_a_whole_one(whole, tmp_path, monkeypatch):
    step = trainers.MethodTrainer.training_step
    asked = LanguageJudge.__call__
    left = {"step": 0, "judge": 0}  # checkpoints at steps 3 and 6 of each; three parts of labels

    def dying_step(self, *args, **kwargs):
        left["step"] -= 1
        if left["step"] < 0:
            raise Killed
        return step(self, *args, **kwargs)

    def dying_judge(self, prompts, answers):
        left["judge"] -= len(prompts) == 2 * 16  # a part of REBEL's, not a step of Nash-MD
        if left["judge"] < 0:
            raise Killed
        return asked(self, prompts, answers)

    for name, after, where in (
        ("step", 5, "nash_md/round-01/train"),
        ("step", 3 + 5, "sapo/round-01/train"),
        ("judge", 2, "rebel/round-01/label-own"),
    ):
        left[name] = after
        with monkeypatch.context() as patch:
            if name == "step":
                patch.setattr(trainers.MethodTrainer, "training_step", dying_step)
            else:
                patch.setattr(LanguageJudge, "__call__", dying_judge)
            with pytest.raises(Killed):
                pipeline(tmp_path, *BOTH)()
        assert (tmp_path / where).exists()
        assert not (tmp_path / where / "stage.json").exists()
    assert len(list((tmp_path / "rebel/round-01/label-own/parts").iterdir())) == 2
    pipeline(tmp_path, *BOTH)()
    assert read_json(tmp_path / "manifest.json") == read_json(whole / "manifest.json")
    for path in whole.rglob("*.parquet"):
        assert read_rows(path) == read_rows(tmp_path / path.relative_to(whole))


def test_the_start_is_asked_once_about_the_datas_answers(tmp_path, monkeypatch):
    """Methods and rounds that share it get what each would have got alone."""
    asked = []
    score = reference.score

    def counting(model, rows, names, *rest):
        asked.append((tuple(names), len(rows)))
        return score(model, rows, names, *rest)

    monkeypatch.setattr(reference, "score", counting)
    both = ("methods=[dpo,ipo,spac]", "rounds=2")
    pipeline(tmp_path / "together", *both)()
    data = ("chosen", "rejected")
    # the start about the data: once; about spac's own samples: once; the second iterate about all of them
    spent = {names: sum(n for k, n in asked if k == names) for names in dict(asked)}
    assert spent == {data: 48, ("own",): 48, (*data, "own"): 48}
    pipeline(tmp_path / "alone", "methods=[ipo]", "rounds=2")()
    name = "ipo/round-02/reference/streams.parquet"
    for a, b in zip(*(read_rows(tmp_path / k / name) for k in ("together", "alone")), strict=True):
        assert a["logp/initial/chosen"] == pytest.approx(b["logp/initial/chosen"], abs=1e-5)


def judged_by_nobody(prompts, answers):
    raise ZeroDivisionError


def test_a_judge_that_fails_is_refused_before_the_model_is_touched(tmp_path):
    broken = pipeline(tmp_path, "methods=[rebel]", f"judge={__name__}:judged_by_nobody")
    with pytest.raises(InputError, match=r"The judge failed on 1 answers \(ZeroDivisionError"):
        broken()
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"prepare"}


def test_rollouts_follow_the_weights_and_leave_other_randomness_alone(whole, tmp_path):
    """With λ = 0 the same steps are DPO's, bit for bit, whatever was sampled."""
    both = ("methods=[hypo,dpo]", "methods.hypo.lam=0")
    pipeline(tmp_path, *both)()
    weights = [
        load_file(tmp_path / f"{name}/round-01/train/model/model.safetensors")
        for name in ("hypo", "dpo")
    ]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=0, atol=1e-6)
    logged = read_json(whole / "hypo/round-01/train/log.json")
    assert logged[0]["hypo/kl"] == pytest.approx(0, abs=1e-6)  # the policy is π_1 still
    assert len({entry["hypo/kl"] for entry in logged}) >= len(logged) - 1


def test_labels_are_those_of_the_reward_and_counted(whole):
    language = Language()
    rows = read_rows(whole / "rebel/round-01/reference/streams.parquet")
    values = {score for row in rows for score in row["score/own"]}
    assert values <= {0.0, 1.0, 2.0}  # scale 2 times r* of `misleads`
    assert len(values) > 1
    judge = LanguageJudge(language)
    best = language.responses[int(language.reward[0].argmax())]
    prompt = f"[INST] {language.prompts[0]} [/INST]"
    assert judge([prompt] * 2, [best, "no word of it"]) == [2.0, 0.0]
    outputs = read_json(whole / "rebel/round-01/label-own/stage.json")["outputs"]
    assert outputs["count"] == 2 * len(rows)
    given = {"labels": 2 * len(rows), "samples": 2 * len(rows), "steps": 6}
    report = read_json(whole / "rebel/round-01/evaluate/report.json")
    assert {name: report[name] for name in given} == given
    report = read_json(
        whole / "nash_md/round-01/evaluate/report.json"
    )  # a pair a row in two epochs
    given = {"labels": 2 * len(rows), "samples": 4 * len(rows), "steps": 6}
    assert {name: report[name] for name in given} == given


class Fixed:
    """A judge that knows three answers."""

    def __init__(self, language):
        self.language = language

    def __call__(self, prompts, answers):
        return [{"ba": 1.0, "be": 0.0, "bi": -2.0}[a] for a in answers]


class FixedDraws(Fixed, LanguageJudge):
    """The same, labels drawn as a language does."""


def three():
    tok = tiny.tokenizer()
    ids = [tok.convert_tokens_to_ids([w]) for w in ("ba", "be", "bi")]
    return tok, Row([1], {"own": ids, "other": ids[:2]})


def test_pairwise_labels_are_draws_of_bradley_terry():
    tok, row = three()
    drawing, plain = Labeller(FixedDraws(None), tok), Labeller(Fixed(None), tok)
    wins = torch.tensor(drawing.wins([row] * 2000, "own", 0))
    assert set(wins[:, 0, 1].tolist()) == {0.0, 1.0}
    torch.testing.assert_close(wins + wins.transpose(-1, -2), torch.ones_like(wins))
    across = torch.tensor(drawing.wins([row] * 2000, "own", 0, "other"))
    for i, j, margin in ((0, 1, 1.0), (0, 2, 3.0), (1, 2, 2.0), (1, 0, -1.0)):
        p = 1 / (1 + 2.718281828**-margin)
        bound = 4 * (p * (1 - p) / 2000) ** 0.5
        assert abs(float(wins[:, i, j].mean()) - p) < bound
        if j < 2:
            assert abs(float(across[:, i, j].mean()) - p) < bound
    assert plain.wins([row], "own", 0)[0][0][1] == pytest.approx(0.7310585786)
    assert plain.wins([row], "own", 0, "other")[0][2][0] == pytest.approx(0.0474258732)


def test_labels_are_counted_by_what_is_asked():
    assert labels_a_row(Stream("own", 4, labels="pairwise")) == 6
    assert labels_a_row(Stream("own", 4, labels="pairwise"), rivals=2) == 8
    assert labels_a_row(Stream("own", 4, labels="score")) == 4
    assert labels_a_row(Stream("own", 4, labels="critic")) == labels_a_row(Stream("own", 4)) == 0


def longer(prompts, first, second):
    """A judge of pairs: who wrote more, and never the same pair twice."""
    seen = list(zip(prompts, first, second, strict=True))
    assert len(set(seen)) == len(seen)
    return [max(0.0, 0.5 + (len(a) - len(b)) / 10) for a, b in zip(first, second, strict=True)]


def test_a_judge_of_pairs_is_asked_once_a_pair_and_gives_no_scores():
    tok, _ = three()
    ids = [tok.convert_tokens_to_ids(y.split()) for y in ("ba", "be bi", "di do da")]
    row = Row([1], {"own": ids, "other": ids[:1]})
    labeller = Labeller(longer, tok)
    wins = torch.tensor(labeller.wins([row], "own", 0)[0])
    torch.testing.assert_close(
        wins, torch.tensor([[0.5, 0.2, 0.0], [0.8, 0.5, 0.2], [1.0, 0.8, 0.5]])
    )
    with pytest.raises(InputError, match="compares two answers and gives no scores"):
        labeller.scores([row], "own")


def test_the_cyclic_judge_has_a_third_of_each_as_its_equilibrium():
    language = Language()
    judge, k = CyclicJudge(language), language.count[0]
    texts = [language.responses[int((k == i).nonzero()[0, 0])] for i in range(4)]
    prompt = f"[INST] {language.prompts[0]} [/INST]"

    def chance(i, j):
        return judge([prompt], [texts[i]], [texts[j]])[0]

    for i, j in ((2, 1), (3, 2), (1, 3), (1, 0), (2, 0), (3, 0)):
        assert chance(i, j) == pytest.approx(1 - chance(j, i))
        assert chance(i, j) > 0.8
    assert judge([prompt], ["no word of it"], [texts[0]])[0] == 0.5
    thirds = (language.count.unsqueeze(-1) == torch.tensor([1, 2, 3])).double()
    policy = (thirds / thirds.sum(1, keepdim=True)).mean(-1)
    assert cyclic_exploitability(language, policy) == pytest.approx(0, abs=1e-12)
    alone = (language.count == 2).double()
    assert cyclic_exploitability(language, alone / alone.sum(-1, keepdim=True)) > 0.3


PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"


def test_the_method_of_the_documentation_is_one_file(tmp_path):
    (text,) = re.findall(
        r"```python\n(.*?METHODS.*?)```",
        PAGE.read_text(encoding="utf-8").partition("## A language-model method")[2],
        re.DOTALL,
    )
    file = tmp_path / "hinge.py"
    file.write_text(text.replace('register("hinge")', 'register("hinge_of_a_test")'))
    own = "+methods={mine: {name: hinge_of_a_test, margin: 2.0}}"
    results = pipeline(tmp_path / "run", f"plugins=[{file}]", own, "methods=[ipo]")()
    assert set(results) == {"sft", "ipo", "mine"}
    log = read_json(tmp_path / "run/mine/round-01/train/log.json")
    assert log[0]["loss"] == pytest.approx(2.0, abs=1e-5)  # at π_1 the gap is 0
    with pytest.raises(InputError, match=r"methods\.mine\.margins is no setting"):
        pipeline(tmp_path / "other", f"plugins=[{file}]", own.replace("margin:", "margins:"))


STRANGER = """
from dataclasses import dataclass
from llm.methods import METHODS, Method, Stream

@METHODS.register("clone_of_a_test")
@dataclass(frozen=True)
class Clone(Method):
    weight: float = 1.0

    def streams(self):
        return (Stream("start", 2, "initial"),)

    def loss(self, batch):
        return -self.weight * batch.expect("start", batch.logp["start"]).mean(), {}
"""


def test_a_stream_of_the_start_alone_is_sampled_and_trained_on(tmp_path):
    file = tmp_path / "clone.py"
    file.write_text(STRANGER)
    own = "+methods={mine: {name: clone_of_a_test}}"
    pipeline(tmp_path / "run", f"plugins=[{file}]", own, "methods=[ipo]")()
    samples = read_rows(tmp_path / "run/mine/round-01/sample-start/samples.parquet")
    assert all(len(row["ids/start"]) == 2 for row in samples)


def test_the_start_under_adapters_is_the_frozen_copy(tiny):
    """Turned off, adapters leave `π_1`: the same numbers as from a second copy of the weights."""
    model = add_lora(tiny(vocab=24), LoraSettings(rank=2, alpha=4, target_modules=["q_proj"]))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    with_logps(model)
    streams = (Stream("own", 2, "current", "step", ("initial",)),)
    settings = GenerationSettings("transformers", 1, 1.0, 1.0, 4, 8)
    found = []
    for frozen in (adapter_off(), copy_of(lambda: tiny(vocab=24))):
        rollouts = Rollouts(streams, {"initial": frozen}, settings, Ends(0, 2), 16, "key")
        before = torch.get_rng_state()
        batch = StreamCollator(0, streams)([Row([1, 5], {}), Row([1, 6, 7], {})])
        found.append(rollouts(model, batch, step=3, number=0))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found[0]["input_ids"], found[1]["input_ids"])
    torch.testing.assert_close(found[0]["logp/initial/own"], found[1]["logp/initial/own"])
    sequences = [found[0][name] for name in SEQUENCES]
    live = sequence_logps(model, *sequences).view(2, -1).T
    assert float((live - found[0]["logp/initial/own"]).abs().max()) > 1e-3
    other = rollouts(model, batch, step=4, number=0)
    assert not torch.equal(other["input_ids"], found[0]["input_ids"])
