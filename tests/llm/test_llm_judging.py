"""Win rates: counted by hand, by a deterministic judge, and by a small reward model."""

import json
import sys

import pytest
import torch

from experiments.common.files import read_json
from llm import evaluate
from llm.judging import read_prompts, win_rate
from llm.models.judges import RewardModel, finite_scores, load_judge
from llm.worlds import tiny
from spac_theory.checks import InputError


def test_ties_count_half_and_the_error_is_that_of_a_mean():
    found = win_rate([1.0, 2.0, 3.0, 0.0], [0.0, 2.0, 4.0, -1.0])
    assert (found.rate, found.ties, found.prompts) == (0.625, 1, 4)
    assert found.stderr == pytest.approx(((0.375**2 * 2 + 0.125**2 + 0.625**2) / 3 / 4) ** 0.5)
    assert win_rate([1.0, 1.0], [1.0, 1.0]).rate == 0.5


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (([1.0], [0.0]), "at least 2"),
        (([1.0, 2.0], [0.0]), "as many for both"),
        (([1.0, float("nan")], [0.0, 1.0]), "must be finite"),
    ],
)
def test_scores_that_make_no_win_rate_are_one_sentence(scores, message):
    with pytest.raises(InputError, match=message):
        win_rate(*scores)


def test_unknown_judges_are_one_sentence():
    for name in ("no_such_module:f", "json:no_such_function", "nowhere", ""):
        with pytest.raises(InputError, match="must be the folder of a reward model"):
            load_judge(name)


def save(folder, model):
    tok = tiny.tokenizer()
    model.save_pretrained(folder)
    tok.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    turns = [
        [{"role": "user", "content": f"{t} {m}"}] for t in ("sun", "sea") for m in ("calm", "grim")
    ]
    path.write_text("".join(json.dumps({"prompt": t}) + "\n" for t in [*turns, turns[0]]))
    return str(path)


def test_prompts_are_read_once(prompts):
    assert len(read_prompts(prompts)) == 4


def test_the_command_asks_the_users_own_judge(tmp_path, prompts, monkeypatch, capsys):
    """A judge that prefers long answers, on a model and itself, and a model that stops at once."""
    (tmp_path / "my_judge.py").write_text(
        "def longer(prompts, answers):\n"
        "    assert len(prompts) == len(answers) in (1, 4) and prompts[0] == 'sun calm'\n"
        "    return [len(a.split()) for a in answers]\n"
    )
    monkeypatch.chdir(tmp_path)
    tok = tiny.tokenizer()
    base = save(tmp_path / "base", tiny.model(tok, seed=0))
    silent = tiny.model(tok, seed=0)
    with torch.no_grad():  # the final state is all ones; only end-of-sequence has weight
        silent.lm_head.weight.zero_()
        silent.model.embed_tokens.weight.fill_(1.0)
        for layer in silent.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        silent.lm_head.weight[tok.eos_token_id] = 10.0
    silent = save(tmp_path / "silent", silent)
    output = tmp_path / "rates.json"
    command = [base, silent, base, "--judge", "my_judge:longer", "--prompts", prompts]
    command += ["--max-new-tokens", "4", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["evaluate", *command])
    with pytest.raises(SystemExit) as left:
        evaluate.main()
    assert left.value.code == 0
    rates = read_json(output)["win_rates"]
    assert rates[silent]["rate"] == 0.0
    assert rates[base] == {"rate": 0.5, "stderr": 0.0, "ties": 4, "prompts": 4}
    assert "Win rate against" in capsys.readouterr().out


def test_a_reward_model_scores_what_its_own_forward_pass_says(tmp_path):
    from transformers import MistralConfig, MistralForSequenceClassification

    tok = tiny.tokenizer()
    shape = tiny.model(tok, seed=0).config.to_dict()
    torch.manual_seed(0)
    config = MistralConfig(**{**shape, "num_labels": 1})
    folder = save(tmp_path / "reward", MistralForSequenceClassification(config))
    judge = RewardModel(folder, batch=2)
    pairs = [("sun calm", "ba be"), ("sea grim", "do"), ("oak glad", "bi bo da"), ("sun calm", "be"),
             ("sun calm", "ba be"), ("sea grim", "do da")]  # fmt: skip
    assert judge.packs
    for packs, padding in ((True, "<pad>"), (False, "<pad>"), (True, "</s>"), (False, "</s>")):
        judge.packs, judge.tokenizer.pad_token = (
            packs,
            padding,
        )  # an end that is padding is not read
        judge.model.config.pad_token_id = judge.tokenizer.pad_token_id
        scores = judge(*map(list, zip(*pairs, strict=True)))
        for (prompt, answer), score in zip(pairs, scores, strict=True):
            text = f"<s>[INST] {prompt} [/INST] {answer}</s>"
            ids = tok(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
            assert score == pytest.approx(float(judge.model(ids).logits.detach()), abs=1e-5)
        assert len({round(s, 6) for s in scores}) == 5
    config.num_labels = 2
    two = save(tmp_path / "two", MistralForSequenceClassification(config))
    with pytest.raises(InputError, match="a classifier with 2 outputs"):
        load_judge(two)


def test_a_judge_that_fails_or_gives_no_numbers_is_one_sentence():
    def raises(prompts, answers):
        raise ZeroDivisionError("division by zero")

    for judge, says in (
        (raises, "failed on 2 answers .*division by zero"),
        (lambda p, a: [1.0], "gave 1 scores for 2 answers"),
        (lambda p, a: [1.0, float("inf")], "gave the score inf"),
    ):
        with pytest.raises(InputError, match=says):
            finite_scores(judge, ["x", "x"], ["a", "b"])


def test_a_judge_that_fails_is_refused_before_any_answer_is_sampled(
    tmp_path, prompts, monkeypatch, capsys
):
    (tmp_path / "broken_judge.py").write_text("def broken(prompts, answers):\n    return 1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("llm.judging.answers", None)
    base = save(tmp_path / "base", tiny.model(tiny.tokenizer(), seed=0))
    command = ["evaluate", base, base, "--judge", "broken_judge:broken", "--prompts", prompts]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as left:
        evaluate.main()
    assert left.value.code == 2
    assert "The judge failed on 1 answers (ZeroDivisionError" in capsys.readouterr().err
