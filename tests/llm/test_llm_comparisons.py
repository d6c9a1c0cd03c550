"""Files of preferences as a ragged problem: every form, every repair, every refusal."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm.data.comparisons import Comparisons, read
from llm.data.judgements import Reading
from spac_theory.checks import InputError

PAIR = {"prompt": "Sum?", "chosen": "four", "rejected": "five"}


def told(tmp_path: Path, rows: list[Any], **options: Any) -> Comparisons:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return read(str(path), Reading(**options))


def wins(found: Comparisons) -> set[tuple[str, str, str, float]]:
    """`(prompt, winner, loser, comparisons)` of every entry of the counts."""
    first = found.sets.sizes.cumsum(0) - found.sets.sizes
    rows = zip(found.context, found.winner, found.loser, found.weight, strict=True)
    return {
        (
            str(found.prompts[int(x)]),
            found.answers[int(first[x] + a)],
            found.answers[int(first[x] + b)],
            int(w) / found.unit,
        )
        for x, a, b, w in rows
    }


SAID = {("Sum?", "four", "five", 1.0)}
FORMS: dict[str, dict[str, Any]] = {
    "strings": PAIR,
    "messages": {
        "prompt": "Sum?",
        "chosen": [{"role": "assistant", "content": "four"}],
        "rejected": [{"role": "assistant", "content": "five"}],
    },
    "whole conversations": {
        side: [
            {"role": "user", "content": "Sum?"},
            {"role": "assistant", "content": text},
        ]
        for side, text in (("chosen", "four"), ("rejected", "five"))
    },
    "sides": {"prompt": "Sum?", "answer_a": "five", "answer_b": "four", "winner": "b"},
    "ratings": {"prompt": "Sum?", "answers": ["five", "four"], "ratings": [2, 5.0]},
    "ranks": {"prompt": "Sum?", "answers": ["five", "four"], "ranks": [2, 1]},
    "rated answers": {
        "instruction": "Sum?",
        "completions": [
            {"response": "five", "overall_score": 1},
            {"response": "four", "overall_score": "7"},
        ],
    },
    "negative margin": {"prompt": "Sum?", "chosen": "five", "rejected": "four", "margin": -2},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(tmp_path: Path, form: str) -> None:
    found = wins(told(tmp_path, [FORMS[form]]))
    assert {(a, b, n) for _, a, b, n in found} == {(a, b, n) for _, a, b, n in SAID}


def test_parquet_is_read_and_columns_are_mapped(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([{"q": 12.0, "good": 7, "bad": 100_000}]), path)
    names = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    assert wins(read(str(path), Reading(columns=names))) == {("12", "7", "100000", 1.0)}
    with pytest.raises(InputError, match=r"Row 1 has no column 'x', .* has: q, good, bad"):
        read(str(path), Reading(columns={"prompt": "x"}))


def test_ties_counts_and_annotators(tmp_path: Path) -> None:
    tie = {"prompt": "Sum?", "answer_a": "four", "answer_b": "five", "winner": "tie"}
    both = told(tmp_path, [PAIR, tie, {**PAIR, "count": 3, "annotator": "b"}])
    assert both.counts().n.tolist() == [5]
    assert both.counts().wins.sum().item() == 10  # in halves
    assert told(tmp_path, [PAIR, tie], ties="drop").counts().n.tolist() == [1]
    with pytest.raises(InputError, match="Line 2 is a tie"):
        told(tmp_path, [PAIR, tie], ties="refuse")
    flagged = told(tmp_path, [{**PAIR, "tie": True}])
    assert {n for *_, n in wins(flagged)} == {0.5}
    assert told(tmp_path, [PAIR, {**PAIR, "count": 0}]).cleaning.counted_zero == 1


def test_ratings_as_soft_labels(tmp_path: Path) -> None:
    row = {"prompt": "Sum?", "answers": ["four", "five"], "ratings": [5, 3]}
    found = {a: n for _, a, _, n in wins(told(tmp_path, [row], labels="soft", scale=2.0))}
    assert found["four"] == pytest.approx(1 / (1 + math.exp(-1)), abs=0.005)
    assert sum(found.values()) == 1
    with pytest.raises(InputError, match="Line 1 has no margin and no scores"):
        told(tmp_path, [PAIR], labels="soft")


def test_several_answers_are_disjoint_pairs_or_all(tmp_path: Path) -> None:
    row = {"prompt": "Sum?", "answers": ["a", "b", "c", "d"], "ratings": [1, 2, 3, 3]}
    found = told(tmp_path, [row], pairs="all")
    assert found.sets.sizes.tolist() == [4]
    assert found.counts().n.tolist() == [6]
    assert found.cleaning.tied == 1
    apart = told(tmp_path, [{**row, "answers": list("abcde"), "ratings": [1, 2, 4, 3, 9]}])
    assert wins(apart) == {("Sum?", "b", "a", 1.0), ("Sum?", "c", "d", 1.0)}
    assert apart.answers == list("abcde")  # the odd one out is an answer too


def test_candidates_are_answers_that_nobody_judged(tmp_path: Path) -> None:
    found = told(tmp_path, [{**PAIR, "candidates": ["six", " four", "  ", 7]}])
    assert found.answers == ["four", "five", "six", "7"]
    assert wins(found) == SAID
    with pytest.raises(InputError, match="Line 1: candidates is 'six'"):
        told(tmp_path, [{**PAIR, "candidates": "six"}])


def test_a_messy_file_is_cleaned_and_every_repair_counted(tmp_path: Path) -> None:
    rows = [
        PAIR,
        PAIR,
        {**PAIR, "chosen": " four\n"},
        {"prompt": "Sum? ", "chosen": "five", "rejected": "four"},
        {**PAIR, "chosen": "five"},
        {**PAIR, "rejected": "  "},
        {"prompt": "Other", "chosen": "x", "rejected": "x"},
    ]
    found = told(tmp_path, rows)
    done = found.cleaning
    assert found.sets.sizes.tolist() == [2]  # one prompt, two answers
    assert sorted(n for *_, n in wins(found)) == [1, 1]  # a contradiction stays
    assert (done.duplicate, done.identical, done.empty, done.spelt_apart) == (2, 2, 1, 1)
    assert told(tmp_path, rows, duplicates="keep").counts().n.tolist() == [4]


def test_a_line_separator_inside_a_text_is_no_end_of_line(tmp_path: Path) -> None:
    row = json.dumps({**PAIR, "chosen": "four\u2028lines"}, ensure_ascii=False)
    (tmp_path / "rows.jsonl").write_text("\ufeff" + row, encoding="utf-8")
    assert told_file(tmp_path / "rows.jsonl").answers[0] == "four\u2028lines"


def told_file(path: Path) -> Comparisons:
    return read(str(path), Reading())


BAD: dict[str, tuple[bytes, str]] = {
    "latin-1": ('{"prompt": "é"}'.encode("latin-1"), r"line 2 is not UTF-8 \(byte 0xe9 in column 13\)"),
    "no JSON": (b"{'prompt'", "line 2 is no JSON"),
    "no object": (b"[1]", "Line 2 is .* it must be an object"),
    "no prompt": (b'{"chosen": "a", "rejected": "b"}', "Line 2 has no 'prompt'"),
    "no answer": (b'{"prompt": "a", "chosen": "b"}', "Line 2 has no 'rejected'"),
    "winner": (b'{"prompt": "p", "answer_a": "a", "answer_b": "b", "winner": "c"}', "Line 2: winner is 'c'"),
    "ratings": (b'{"prompt": "p", "answers": ["a", "b"], "ratings": [1]}', "Line 2 has 2 answers and no"),
    "no ratings": (b'{"prompt": "p", "answers": ["a", "b"]}', "Line 2 has 2 answers and no"),
    "one answer": (b'{"prompt": "p", "answers": ["a"], "ratings": [1]}', "at least two answers"),
    "odd answer": (b'{"prompt": "p", "answers": [{"x": 1}, "b"], "ratings": [1, 2]}', "has no text"),
    "NaN": (b'{"prompt": "p", "answers": ["a", "b"], "ratings": [1, NaN]}', "Line 2: ratings is nan"),
    "margin": (b'{"prompt": "p", "chosen": "a", "rejected": "b", "margin": "?"}', "margin is '\\?'"),
    "count": (b'{"prompt": "p", "chosen": "a", "rejected": "b", "count": 1.5}', "count is 1.5"),
    "negative count": (b'{"prompt": "p", "chosen": "a", "rejected": "b", "count": -1}', "count is -1"),
    "no text": (b'{"prompt": "p", "chosen": "a", "rejected": NaN}', "Line 2: 'rejected' is nan"),
    "candidates": (b'{"prompt": "p", "chosen": "a", "rejected": "b", "candidates": [[2]]}', "candidates is"),
    "half a pair": (b'{"prompt": "p", "chosen": "a", "rejected": "\\ud800"}', "half of a surrogate pair"),
    "ranks": (b'{"prompt": "p", "answers": ["a", "b"], "ranks": ["first", 2]}', "ranks is 'first'"),
    "two ways": (b'{"prompt": "p", "chosen": [], "rejected": "b"}', "the last message of 'chosen'"),
    "tie": (b'{"prompt": "p", "chosen": "a", "rejected": "b", "tie": "yes"}', "tie is 'yes'"),
    "deep": (b"[" * 100_000, "line 2 is nested too deeply"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_what_is_malformed_is_one_sentence_with_its_line(tmp_path: Path, kind: str) -> None:
    line, message = BAD[kind]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(json.dumps(PAIR).encode() + b"\n" + line + b"\n")
    with pytest.raises(InputError, match=message) as caught:
        told_file(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_of_preferences_is_one_sentence(tmp_path: Path) -> None:
    for name, content, message in (
        ("none.jsonl", None, "no such file exists"),
        ("rows.txt", b"[]", "must end in"),
        ("rows.parquet", b"PAR1", "cannot be read as Parquet"),
        ("rows.jsonl", b"", "no usable comparison"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            told_file(tmp_path / name)
    with pytest.raises(InputError, match=r"reading\.columns is 'answer'"):
        Reading(columns={"answer": "x"})
