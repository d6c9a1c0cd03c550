"""Runs on rows that are not enumerable: sentiment with a known reward, and a file of pairs.

A random model stands for the real one; what is measured is computed again here, from the model's plain
logits and the stored answers.
"""

import itertools
import json
import math
import statistics
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from experiments.common.files import read_json
from experiments.common.program import guarded
from llm.files.digests import read_rows
from llm.models.engines import GenerationSettings
from llm.models.load import LoraSettings, ModelSettings, load_model
from llm.run import CONFIG, composed, execute
from llm.settings import build
from llm.stages import respond
from llm.stages.measure import wilson
from llm.training.assembly import prepare_model
from llm.training.settings import TrainSettings
from llm.worlds import sentiment
from llm.worlds.sentiment import SentimentSettings

SMALL = (
    "rounds=1",
    "generation.max_new_tokens=6",
    "generation.batch=8",
    "reference_batch=5",
    "evaluation.samples=2",
    "train.batch=4",
    "train.micro_batch=2",
    "train.log_every=1000",
    "train.report_to=[]",
    "model.lora={rank: 2, alpha: 4}",
    "~methods.moving-dpo",
    "~methods.spin",
)
SHORT = ("data.max_prompt_length=64", "data.max_length=128")
WORLD = (
    "data=sentiment",
    "data.sentiment.pairs=8",
    "data.sentiment.test_pairs=4",
    "evaluation.prompts=3",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A random Llama over bytes and a few words of the prompts, in a folder."""
    folder = tmp_path_factory.mktemp("base")
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    words = [*sentiment.prompts(sentiment.SUBJECTS), *["good", "bad", "love", "hate"] * 50]
    raw.train_from_iterator(
        words,
        trainers.BpeTrainer(
            vocab_size=400, special_tokens=["</s>"], initial_alphabet=letters, show_progress=False
        ),
    )
    PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def command(folder, base, *overrides):
    """The exit code of a run in `folder`."""
    words = ("model=local", f"model.name={base}", f"run_dir={folder}", *SMALL, *overrides)
    return guarded(lambda: execute(composed("run", *words)))


@pytest.fixture(scope="module")
def finished(base, tmp_path_factory):
    """A finished run on sentiment."""
    folder = tmp_path_factory.mktemp("run")
    assert command(folder, base, *WORLD) == 0
    return folder


def plain_logp(model, prompt, answer):
    """`log π(y|x)` from the model's own logits, one row, no padding."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *answer]])).logits[0].double()
    table = logits.log_softmax(-1)[len(prompt) - 1 : -1]
    return float(table.gather(-1, torch.tensor(answer).unsqueeze(-1)).sum())


def test_what_is_measured_is_what_the_models_say(finished, base):
    settings = ModelSettings(str(base), None, "float32", "sdpa", None, None, {})
    start = load_model(str(base), settings).eval()
    policy = load_model(str(finished / "spac/round-01/train/model"), settings).eval()
    report = read_json(finished / "spac/round-01/evaluate/report.json")
    test = read_rows(finished / "prepare/test.parquet")
    gains = [
        [
            plain_logp(policy, r["prompt_ids"], r[side][0])
            - plain_logp(start, r["prompt_ids"], r[side][0])
            for side in ("ids/chosen", "ids/rejected")
        ]
        for r in test
    ]
    margins = [c - d for c, d in gains]
    assert report["margin"] == pytest.approx(statistics.fmean(margins), abs=1e-4)
    assert report["margin_stderr"] == pytest.approx(statistics.stdev(margins) / 2, abs=1e-4)
    assert report["accuracy"] == statistics.fmean(m > 0 for m in margins)

    given_ = read_rows(finished / "spac/round-01/evaluate/answers.parquet")
    assert len(given_) == 6  # 3 prompts, 2 samples
    ratios = [
        plain_logp(policy, a["prompt_ids"], a["answer_ids"])
        - plain_logp(start, a["prompt_ids"], a["answer_ids"])
        for a in given_
    ]
    assert report["kl"] == pytest.approx(statistics.fmean(ratios), abs=1e-4)
    pairs = [statistics.fmean(ratios[i : i + 2]) for i in (0, 2, 4)]  # the prompt is the unit
    assert report["kl_stderr"] == pytest.approx(statistics.stdev(pairs) / 3**0.5, abs=1e-4)

    lexicon = SentimentIntensityAnalyzer()
    rewards = [lexicon.polarity_scores(a["prompt"] + a["answer"])["compound"] for a in given_]
    assert report["reward"] == pytest.approx(statistics.fmean(rewards))


def test_a_person_gets_a_table_a_page_and_the_answers(finished, base, capsys):
    assert command(finished, base, *WORLD) == 0  # nothing is done twice
    out = capsys.readouterr().out
    assert "sample-own" not in out
    assert "start" in out
    assert "SFT" not in out  # there was none
    for word in ("accuracy", "margin", "KL", "value", "recorded, chosen"):
        assert word in out
    page = (finished / "report.html").read_text()
    assert page.count("<h3>") == 3
    assert page.count("data:image/png") == 2
    assert "SPAC" in (finished / "report.md").read_text()
    log = read_json(finished / "spac/round-01/train/log.json")
    assert [entry["step"] for entry in log] == [2]  # the last step, though log_every is 1000
    speed = read_json(finished / "spac/round-01/train/throughput.json")
    for text in (out, page, (finished / "report.md").read_text()):
        assert f"{speed['tokens_per_second']:,.0f}" in text
    assert not {"tokens_per_second", "peak_gib"} & set(
        log[0]
    )  # runs that are alike have alike logs
    assert speed["memory_gib"]["optimiser state"] == pytest.approx(
        2 * speed["memory_gib"]["gradients"], rel=0.02
    )


def test_other_prompts_or_another_dial_are_stale(finished, base, capsys):
    assert command(finished, base, *WORLD, "data.sentiment.coverage=0.9") == 2
    assert "coverage was 0.5 and is now 0.9" in capsys.readouterr().err


def test_responses_go_on_after_an_interruption(base, tmp_path, monkeypatch):
    data = SentimentSettings(pairs=7, test_pairs=2, coverage=0.5, scale=4.0)
    model = ModelSettings(str(base), None, "float32", "sdpa", None, None, {})
    drawing = GenerationSettings("transformers", 1, 1.0, 1.0, 5, 4)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    respond.respond(whole, data, model, drawing, 0)

    score, calls = sentiment.score, itertools.count(1)

    def stop(prompts, answers):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return score(prompts, answers)

    with monkeypatch.context() as patch:
        patch.setattr(sentiment, "score", stop)
        with pytest.raises(KeyboardInterrupt):
            respond.respond(broken, data, model, drawing, 0)
    assert len(list((broken / "parts").iterdir())) == 2
    respond.respond(broken, data, model, drawing, 0)
    assert read_rows(broken / respond.FILE) == read_rows(whole / respond.FILE)


def test_labels_follow_bradley_terry():
    class Letters:
        """Prompts and answers as code points."""

        eos_token_id, bos_token, bos_token_id, chat_template = 0, None, None, None

        def __call__(self, text, **_):
            return {"input_ids": [ord(c) for c in text]}

        def decode(self, ids, **_):
            return "".join(map(chr, ids))

    good, plain = [ord(c) for c in " good"], [ord(c) for c in " table"]
    rows = respond.pairs(
        [("train", "It was")] * 4000,
        SentimentSettings(pairs=1, test_pairs=2, coverage=0.0, scale=2.0),
        Letters(),
        lambda asked, key: [good if i % 2 else plain for i in range(len(asked))],
        7,
    )
    reward = SentimentIntensityAnalyzer().polarity_scores("It was good")["compound"]
    share = statistics.fmean(r["chosen"] == " good" for r in rows)
    chance = 1 / (1 + math.exp(-2.0 * reward))
    assert abs(share - chance) < 4 * math.sqrt(chance * (1 - chance) / 4000)
    assert {r["chosen_reward"] + r["rejected_reward"] for r in rows} == {reward}


def test_prompts_are_neutral_and_held_out_subjects_are_apart():
    train, test = (sentiment.prompts(s) for s in (sentiment.SUBJECTS, sentiment.HELD_OUT))
    assert not set(train) & set(test)
    assert len(set(train)) == len(train) == 300
    assert set(sentiment.score([*train, *test], [""] * 400)) == {0.0}
    asked = sentiment.asked(sentiment.SUBJECTS, 450, seed=1)
    assert set(asked[:300]) == set(train)


@given(st.integers(1, 60), st.floats(0, 1))
def test_wilson_contains_the_share_and_solves_its_quadratic(count, share):
    low, high = wilson(share, count)
    assert low - 1e-12 <= share <= high + 1e-12
    for p in (low, high):  # (share − p)² = z² p (1 − p) / n
        assert (share - p) ** 2 == pytest.approx(1.96**2 * p * (1 - p) / count, abs=1e-9)


def write_pairs(path, count):
    rows = [
        {"question": f"Say {i // 2}", "better": f" well {i}", "worse": f" no {i}"}
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "data.columns={prompt: question, chosen: better, rejected: worse}"


def test_a_file_without_a_test_split_ends_in_a_table(base, tmp_path, capsys):
    names = write_pairs(tmp_path / "rows.jsonl", 24)
    source = f"data.source={tmp_path / 'rows.jsonl'}"
    assert (
        command(
            tmp_path / "run", base, source, names, "data.test_share=0.25", "~methods.spac", *SHORT
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "25% of the prompts, cut out of train with their rows" in out
    assert "Training rows: 18 of 18" in out
    assert "accuracy" in out
    assert "value" not in out  # nobody knows the reward
    assert len(read_rows(tmp_path / "run/prepare/test.parquet")) == 6
    train = {r["prompt_key"] for r in read_rows(tmp_path / "run/prepare/rows.parquet")}
    test = {r["prompt_key"] for r in read_rows(tmp_path / "run/prepare/test.parquet")}
    assert not train & test


@pytest.mark.parametrize("name", ["smollm2-135m", "local", "mistral-7b"])
def test_what_a_preset_says_is_what_runs(name):
    text = (Path(CONFIG) / "model" / f"{name}.yaml").read_text().replace("???", "here")
    values = composed(
        "run",
        f"model={name}",
        *(["model.name=here", "data.source=rows.jsonl"] if name == "local" else []),
    )
    for key, wanted in yaml.safe_load(text).items():
        if key not in ("defaults", "model", "sft"):
            found = values[key]
            assert found == wanted or wanted.items() <= found.items(), key


def test_the_switch_for_adapters(base):
    words = ("model=local", f"model.name={base}", "data.source=rows.jsonl")
    assert composed("run", *words)["model"]["lora"] == {}
    assert composed("run", *words, "train.lora=false")["model"]["lora"] is None
    assert composed("run", "train.lora=true")["model"]["lora"] == {}
    assert composed("run")["model"]["lora"] is None
    assert "lora" not in composed("run")["train"]


def test_fresh_adapters_do_not_depend_on_what_was_drawn_before(base):
    settings = ModelSettings(str(base), None, "float32", "sdpa", None, LoraSettings(rank=2), {})
    train = build(TrainSettings, composed("run")["train"])
    found = []
    for drawn in (1, 1000):
        torch.rand(drawn)
        model = prepare_model(load_model(str(base), settings), settings, train, seed=5)
        found.append({n: p.detach() for n, p in model.named_parameters() if p.requires_grad})
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_a_saved_adapter_names_its_layers_in_order(finished):
    """Else the digest of the same weights would change with the process: sets of words have no order."""
    for name in ("dpo", "spac"):
        saved = read_json(finished / name / "round-01/train/model/adapter_config.json")
        assert len(saved["target_modules"]) >= 7
        assert saved["target_modules"] == sorted(saved["target_modules"])
