"""Prompt identity, formats and validation of preference rows."""

import json

import pytest

from llm.data import templates
from llm.data.encode import prompt_ids, prompt_text, response_ids
from llm.data.formats import load, normalise
from llm.data.validate import Limits, prepare, prompt_key, told
from llm.worlds import tiny
from spac_theory.checks import InputError

TURN = [{"role": "user", "content": "Why is the sky blue?"}]
LIMITS = Limits(60, 200, "drop")


@pytest.fixture(scope="module")
def tokenizer():
    """A byte-level BPE tokenizer trained in the process, with Mistral's special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    base = Tokenizer(models.BPE(unk_token="<unk>"))
    base.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    base.decoder = decoders.ByteLevel()
    special = ["<unk>", "<s>", "</s>", "<pad>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(special_tokens=special, initial_alphabet=alphabet, vocab_size=300)
    base.train_from_iterator(["Why is the sky blue? Light scatters."] * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=base,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
    )


@pytest.mark.parametrize("name", ["mistral", "zephyr"])
@pytest.mark.parametrize("turns", [TURN, [{"role": "system", "content": "Be brief."}, *TURN]])
def test_the_prompt_is_the_same_at_generation_and_in_training(tokenizer, name, turns):
    templates.install(tokenizer, name)
    prompt, answer = prompt_ids(tokenizer, turns), response_ids(tokenizer, turns, "Light scatters.")
    whole = tokenizer.apply_chat_template(
        [*turns, {"role": "assistant", "content": "Light scatters."}], tokenize=False
    )
    rendered = tokenizer(whole, add_special_tokens=False)["input_ids"]
    assert (prompt + answer)[: len(rendered)] == rendered[: len(prompt + answer)]
    assert answer.count(tokenizer.eos_token_id) == 1
    assert answer[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(answer[:-1]).strip() == "Light scatters."


def test_mistral_has_one_bos_and_zephyr_keeps_its_own_form(tokenizer):
    templates.install(tokenizer, "mistral")
    ids = prompt_ids(tokenizer, TURN)
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[0] == tokenizer.bos_token_id
    assert prompt_text(tokenizer, TURN) == "<s>[INST] Why is the sky blue? [/INST]"
    templates.install(tokenizer, "zephyr")
    expected = "<|user|>\nWhy is the sky blue?</s>\n<|assistant|>\n"
    assert prompt_text(tokenizer, TURN) == expected


def test_a_plain_row_ends_in_eos_and_a_cut_row_does_not(tokenizer):
    row = {"prompt": "Q: ", "chosen": "xyzw" * 9, "rejected": "blue"}
    rows, report = prepare([row], tokenizer, Limits(10, 12, "drop"))
    assert rows[0].responses["rejected"][0][-1] == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in rows[0].responses["chosen"][0]
    assert len(rows[0].prompt + rows[0].responses["chosen"][0]) == 12
    assert report["counts"]["cut"] == 1


def test_conversations_without_a_template_are_refused(tokenizer):
    tokenizer.chat_template = None
    with pytest.raises(InputError, match="no chat template"):
        prompt_ids(tokenizer, TURN)
    with pytest.raises(InputError, match=r"data\.chat_template is 'vicuna'"):
        templates.install(tokenizer, "vicuna")


def test_the_three_published_layouts_mean_the_same():
    answer = {"role": "assistant", "content": "yes"}
    other = {"role": "assistant", "content": "no"}
    user = {"role": "user", "content": "q"}
    ultrafeedback = {"prompt": "q", "chosen": [user, answer], "rejected": [user, other]}
    conversational = {"prompt": [user], "chosen": [answer], "rejected": [other]}
    assert normalise(ultrafeedback, 0) == normalise(conversational, 0)
    assert normalise({"prompt": "q", "chosen": "yes", "rejected": "no"}, 0).prompt == "q"


BAD = [
    ("text", "must be an object"),
    ({"prompt": "q", "chosen": "a"}, "has no 'rejected'"),
    ({"chosen": "a", "rejected": "b"}, "has no 'prompt'"),
    ({"prompt": "q", "chosen": 3, "rejected": "b"}, "must be text or a list"),
    ({"prompt": "q", "chosen": [{"role": "robot", "content": "a"}], "rejected": "b"}, "role"),
    (
        {"prompt": "q", "chosen": [{"role": "user", "content": "a"}], "rejected": "b"},
        "must have the role 'assistant'",
    ),
    (
        {
            "chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "x"}],
            "rejected": [{"role": "user", "content": "b"}, {"role": "assistant", "content": "y"}],
        },
        "different conversations",
    ),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_malformed_rows_are_one_sentence(row, message):
    with pytest.raises(InputError, match=message) as caught:
        normalise(row, 7)
    assert "Row 7" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_dropped_is_counted(tokenizer):
    good = {"prompt": "q", "chosen": "a", "rejected": "b"}
    raw = [
        good,
        good,  # duplicate
        {"prompt": "q", "chosen": " ", "rejected": "b"},
        {"prompt": "q", "chosen": "a", "rejected": "a"},
        {"prompt": "w" * 500, "chosen": "a", "rejected": "b"},
        {"prompt": "held", "chosen": "a", "rejected": "b"},
    ]
    rows, report = prepare(raw, tokenizer, LIMITS, frozenset([prompt_key("held")]))
    counts = report["counts"]
    assert len(rows) == counts["kept"] == 1
    for name in ("duplicate", "empty", "identical", "prompt_too_long", "leaked"):
        assert counts[name] == 1
    assert "1 repeated" in told(counts)
    assert "1 with an empty prompt or answer" in told(counts)
    with pytest.raises(
        InputError,
        match=r"No usable preference rows are left of 1 \(1 with an empty prompt or answer\)",
    ):
        prepare(raw[2:3], tokenizer, LIMITS)
    with pytest.raises(InputError, match="identical_pairs"):
        prepare(raw[3:4], tokenizer, Limits(60, 200, "refuse"))


def test_answers_that_the_tokenizer_cannot_read_are_dropped_and_said(tokenizer):
    """A word-level vocabulary knows nothing of Japanese: nothing but special tokens is left."""
    readable = {"prompt": "sun calm", "chosen": "ba", "rejected": "do"}
    strange = {"prompt": "sun calm", "chosen": "はい", "rejected": "いいえ"}
    tok = tiny.tokenizer()
    rows, report = prepare([readable, strange], tok, LIMITS)
    assert len(rows) == report["counts"]["unknown"] == 1
    with pytest.raises(InputError, match="1 with an answer of which the tokenizer knows no token"):
        prepare([strange], tok, LIMITS)


def test_files_are_read_and_bad_ones_refused(tmp_path):
    from llm.files.digests import write_rows

    rows = [{"prompt": "q", "chosen": "a", "rejected": "b"}]
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(rows[0]) + "\n\n")
    write_rows(tmp_path / "rows.parquet", rows)
    assert load(str(path), "train") == load(str(tmp_path / "rows.parquet"), "train") == rows
    path.write_text("{oops\n")
    with pytest.raises(InputError, match="line 1 is no JSON"):
        load(str(path), "train")
    with pytest.raises(InputError, match="no such file"):
        load(str(tmp_path / "none.jsonl"), "train")


def test_a_saved_dataset_is_read_by_split(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = [{"prompt": "q", "chosen": "a", "rejected": "b"}]
    data = datasets.DatasetDict({"train_prefs": datasets.Dataset.from_list(rows)})
    data.save_to_disk(str(tmp_path / "set"))
    assert load(str(tmp_path / "set"), "train_prefs") == rows
    with pytest.raises(InputError, match="has the splits: train_prefs"):
        load(str(tmp_path / "set"), "test")
