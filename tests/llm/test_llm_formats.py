"""Formats with a name, columns by other names, and rows held out by prompt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.data import columns, held_out
from llm.data.formats import load, normalise
from llm.data.templates import check
from llm.worlds import tiny
from spac_theory.checks import InputError

HH = "\n\nHuman: How are you?\n\nAssistant: Fine.\n\nHuman: Why?\n\nAssistant: "


def test_two_transcripts_with_a_common_beginning_are_one_prompt():
    row = normalise({"chosen": HH + "The sun shines.", "rejected": HH + "Go away."}, 0)
    assert [turn["role"] for turn in row.prompt] == ["user", "assistant", "user"]
    assert [turn["content"] for turn in row.prompt] == ["How are you?", "Fine.", "Why?"]
    assert (row.chosen, row.rejected) == ("The sun shines.", "Go away.")


def test_turns_called_from_and_value_are_messages():
    said = [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Good day"}]
    other = [said[0], {"from": "gpt", "value": "What"}]
    row = normalise({"chosen": said, "rejected": other}, 0)
    assert row.prompt == [{"role": "user", "content": "Hello"}]
    assert (row.chosen, row.rejected) == ("Good day", "What")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"instruction": "x", "completions": []}, "binarized"),
        ({"prompt": "x", "answers": [{"answer": "a", "rank": 1}]}, "ranking of 1 answers"),
        ({"prompt": "x", "completion": "a", "label": True}, "as for KTO"),
        ({"question": "x", "better": "a", "worse": "b"}, "data.columns="),
        ({"chosen": HH + "a", "rejected": "\n\nHuman: x"}, "does not end with a turn"),
        ({"chosen": HH + "a", "rejected": "\n\nHuman: x\n\nAssistant: b"}, "different conv"),
    ],
)
def test_what_holds_no_pair_is_refused_with_the_fix(row, words):
    with pytest.raises(InputError, match=words):
        normalise(row, 3)


def test_prompts_called_instruction_or_conversations():
    row = {"instruction": "Add.", "input": "1 + 1", "chosen": "2", "rejected": "3"}
    assert normalise(row, 1).prompt == "Add.\n\n1 + 1"
    assert normalise({**row, "input": ""}, 1).prompt == "Add."
    turns = [{"from": "human", "value": "hi"}]
    sides = {"chosen": {"from": "gpt", "value": "a"}, "rejected": {"from": "gpt", "value": "b"}}
    found = normalise({"conversations": turns, **sides}, 1)
    assert found.prompt == [{"role": "user", "content": "hi"}]
    assert (found.chosen, found.rejected) == ("a", "b")


def test_a_json_file_is_one_list_of_rows(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text('[{"prompt": "x", "chosen": "a", "rejected": "b"}, 7]')
    rows = load(str(path), "train")
    assert rows[0]["chosen"] == "a"
    with pytest.raises(InputError, match="Row 2 is 7; it must be an object"):
        held_out.cut(rows, 0.5, seed=0)
    path.write_text('{"rows": []}')
    with pytest.raises(InputError, match=r"holds a dict; a \.json file must be one list of rows"):
        load(str(path), "train")
    path.write_text("[1,")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        load(str(path), "train")


def test_columns_by_other_names():
    rows = [{"question": "x", "better": "a", "worse": "b", "id": 7}]
    names = {"prompt": "question", "chosen": "better", "rejected": "worse"}
    assert columns.renamed(rows, names) == [
        {"prompt": "x", "chosen": "a", "rejected": "b", "id": 7}
    ]
    assert columns.renamed(rows, None) == rows
    with pytest.raises(InputError, match=r"Row 1 has no 'best'.*it has: better, id"):
        columns.renamed(rows, {"chosen": "best"})
    with pytest.raises(InputError, match=r"data\.columns"):
        columns.renamed(rows, {"label": "better"})


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30),
    st.floats(0, 0.99),
    st.randoms(use_true_random=False),
)
def test_rows_are_held_out_by_prompt(prompts, share, shuffler):
    rows = [{"prompt": p, "chosen": str(i), "rejected": "-"} for i, p in enumerate(prompts)]
    train, test = held_out.cut(rows, share, seed=0)
    kept, away = {r["prompt"] for r in train}, {r["prompt"] for r in test}
    assert not kept & away
    assert kept  # never everything
    assert len(train) + len(test) == len(rows)
    assert len(away) >= share * len(kept | away) - 1e-9 or len(kept) == 1
    shuffler.shuffle(rows)
    assert {r["prompt"] for r in held_out.cut(rows, share, seed=0)[1]} == away


def test_a_tokenizer_without_end_and_a_template_with_a_date_are_refused():
    tokenizer = tiny.tokenizer()
    assert check(tokenizer) is tokenizer
    tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }}"
    with pytest.raises(InputError, match="today's date"):
        check(tokenizer)
    tokenizer.eos_token = None
    with pytest.raises(InputError, match="no end-of-sequence token"):
        check(tokenizer)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{{ foo(", "TemplateSyntaxError"),
        ("{{ 1/0 }}", "ZeroDivisionError: division by zero"),
        ("{% for m in messages %}{{ m.nope.x }}{% endfor %}", "UndefinedError"),
    ],
)
def test_a_broken_template_is_one_sentence_before_any_row_is_written_with_it(template, told):
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(InputError, match=f"cannot write a user's turn .{told}") as refused:
        check(tokenizer)
    assert "\n" not in str(refused.value)
