"""Prompts of like length are answered together; answers come back in the order of the rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.data.padding import by_length, put_back
from llm.data.row import Row
from llm.files.digests import read_rows
from llm.models.engines import GenerationSettings, TransformersEngine
from llm.models.load import ModelSettings
from llm.stages.sample import sample
from llm.worlds import tiny

MODEL = ModelSettings("tiny", None, "float32", "sdpa", None, None, {})
LENGTHS = (3, 11, 1, 4, 12, 2, 5, 10, 1)


@given(st.lists(st.lists(st.integers(0, 9), max_size=8), min_size=1, max_size=20))
def test_what_is_sorted_by_length_is_put_back(texts):
    order = by_length(texts)
    lengths = [len(texts[i]) for i in order]
    assert lengths == sorted(lengths, reverse=True)
    assert put_back([texts[i] for i in order], order) == texts


class Watched(TransformersEngine):
    """Also notes how much padding it was handed."""

    padding = 0

    def __call__(self, prompts, seed):
        self.padding += sum(max(map(len, prompts)) - len(p) for p in prompts)
        return super().__call__(prompts, seed)


class Killed(BaseException):
    """Stands for a signal."""


def engine(temperature):
    tok = tiny.tokenizer()
    settings = GenerationSettings("transformers", 2, temperature, 1.0, 4, 3)
    return Watched("", MODEL, tok, settings, loaded=tiny.model(tok, seed=4)), settings


def rows():
    return [Row([1, *(4 + (i + k) % 18 for k in range(n))], {}) for i, n in enumerate(LENGTHS)]


def drawn(folder, live, settings):
    sample(folder, "own", rows(), lambda: live, settings, 2, "key")
    return [row["ids/own"] for row in read_rows(folder / "samples.parquet")]


def test_every_row_gets_its_own_answers_and_little_padding(tmp_path):
    """Almost greedy, so a prompt's answer is the one it gets alone."""
    live, settings = engine(1e-4)
    alone = [live([row.prompt], 0)[0] for row in rows()]
    assert live.padding == 0
    assert drawn(tmp_path, live, settings) == alone
    assert live.padding == 3 + 3 + 2  # of 12, 11, 10; 5, 4, 3; 2, 1, 1; as the rows stand it is 50


def test_killed_and_resumed_the_draws_are_the_same(tmp_path):
    live, settings = engine(1.0)
    expected = drawn(tmp_path / "whole", live, settings)
    calls = []

    def once(prompts, seed):
        calls.append(seed)
        if len(calls) == 2:
            raise Killed
        return live(prompts, seed)

    with pytest.raises(Killed):
        sample(tmp_path / "cut", "own", rows(), lambda: once, settings, 2, "key")
    assert drawn(tmp_path / "cut", live, settings) == expected
    assert len({tuple(map(tuple, answers)) for answers in expected}) > 3
