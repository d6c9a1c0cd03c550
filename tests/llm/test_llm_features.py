"""Features of answers: the projection, the plain ones, and states of a model, taken in parts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from experiments.common.program import composed
from llm import features as program
from llm.data.comparisons import Comparisons, read
from llm.data.features import read_features, write_features
from llm.data.judgements import Reading
from llm.data.plain import plain_features
from llm.data.projection import project, within_prompts
from llm.worlds import tiny
from llm.worlds.world import SYMBOLS, TOPICS
from spac_theory.checks import InputError


def test_projection_is_the_singular_value_decomposition_within_prompts() -> None:
    torch.manual_seed(0)
    groups = torch.repeat_interleave(torch.arange(40), 3)
    values = (
        torch.randn(120, 5).double() * torch.tensor([3.0, 2, 1, 0.5, 0]) + 100 * groups[:, None]
    )
    found = project(values, groups, 2)
    centred = values.numpy() - np.repeat(values.numpy().reshape(40, 3, 5).mean(1), 3, 0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    expected = left[:, :2] * np.sqrt(len(values))
    np.testing.assert_allclose(found.features.abs(), np.abs(expected), atol=1e-9)
    assert found.kept == pytest.approx((singular[:2] ** 2).sum() / (singular**2).sum())
    assert project(values, groups, 10).features.shape[1] == 4  # rank
    outlier = torch.randn(4000, 4).double()
    outlier[0] = 1e6
    far = project(outlier, torch.arange(2000).repeat_interleave(2), 3)
    assert far.shortened == 2
    assert float(far.features.norm(dim=-1).max()) <= 4 * 3**0.5 + 1e-9
    bare = torch.zeros(4, 265).double()  # rank one among zeros: divide and conquer fails on it
    bare[0, [4, 99, 200]] = torch.tensor([0.69, 0.69, 0.4]).double()
    assert project(bare, torch.tensor([0, 0, 1, 1]), 3).features.shape[1] == 1
    with pytest.raises(InputError, match="the same for all answers"):
        project(groups[:, None].double(), groups, 2)
    with pytest.raises(InputError, match=r"features\[0, 0\] is nan"):
        project(values * torch.nan, groups, 2)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = []
    for topic in TOPICS:
        words = [" ".join(rng.choice(SYMBOLS, size=k)) for k in (2, 3, 4)]
        lines.append({"prompt": topic, "answers": words, "ratings": [1, 2, 3]})
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tokenizer = tiny.tokenizer()
    tiny.model(tokenizer, 0).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def options(rows: Path, model: Path, *more: str) -> dict[str, object]:
    words = (f"data={rows}", f"model={model}", "dimension=4", "batch=3", "part=4")
    return composed("features", *words, f"output={rows.parent}/features.parquet", *more)


def data_of(rows: Path) -> Comparisons:
    return read(str(rows), Reading())


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_features_are_the_states_of_a_model_one_text_at_a_time(
    rows: Path, model: Path, pooling: str
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from llm.data.encode import prompt_ids, response_ids

    program.execute(options(rows, model, f"pooling={pooling}"))
    data = data_of(rows)
    found = read_features(str(rows.parent / "features.parquet"), data)
    bare, tokenizer = (
        AutoModelForCausalLM.from_pretrained(model),
        AutoTokenizer.from_pretrained(model),
    )
    states = []
    for prompt, answer in program.texts(data):
        before, after = prompt_ids(tokenizer, prompt), response_ids(tokenizer, prompt, answer)
        with torch.no_grad():
            out = bare(torch.tensor([before + after]), output_hidden_states=True).hidden_states[-1][
                0
            ]
        states.append(out[-1] if pooling == "last" else out[len(before) :].mean(0))
    expected = project(torch.stack(states), data.prompt_of, 4).features
    gram = within_prompts(found, data.prompt_of), within_prompts(expected, data.prompt_of)
    torch.testing.assert_close(gram[0] @ gram[0].T, gram[1] @ gram[1].T, atol=2e-3, rtol=1e-3)
    assert not list(rows.parent.glob("*.parts-*"))


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A BERT of two layers that knows the words of the language, and a third of its letters."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *TOPICS, *SYMBOLS]
    own = BertWordPieceTokenizer(vocab={w: i for i, w in enumerate(dict.fromkeys(words))})
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 32, "max_position_embeddings": 24}  # fmt: skip
    BertModel(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(tmp_path / "bert")
    kind = BertTokenizerFast(tokenizer_object=own._tokenizer, model_max_length=24)
    kind.save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def test_features_of_an_encoder_are_its_mean_over_the_answer(rows: Path, encoder: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    program.execute(options(rows, encoder, "kind=encoder", "max_length=24"))
    data = data_of(rows)
    found = read_features(str(rows.parent / "features.parquet"), data)
    bare, tokenizer = AutoModel.from_pretrained(encoder), AutoTokenizer.from_pretrained(encoder)
    states = []
    for prompt, answer in program.texts(data):
        ids = tokenizer(prompt, answer)["input_ids"]
        types = torch.tensor([[0] * (ids.index(3) + 1) + [1] * (len(ids) - ids.index(3) - 1)])
        with torch.no_grad():
            out = bare(torch.tensor([ids]), token_type_ids=types).last_hidden_state[0]
        states.append(out[ids.index(3) + 1 : -1].mean(0))
    expected = project(torch.stack(states), data.prompt_of, 4).features
    gram = within_prompts(found, data.prompt_of), within_prompts(expected, data.prompt_of)
    torch.testing.assert_close(gram[0] @ gram[0].T, gram[1] @ gram[1].T, atol=2e-3, rtol=1e-3)


def test_an_encoder_cuts_long_texts_and_says_what_it_cannot_do(rows: Path, encoder: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    from llm.models.states import EncoderReader

    tokenizer = AutoTokenizer.from_pretrained(encoder)
    reader = EncoderReader(AutoModel.from_pretrained(encoder), tokenizer, "mean", 12)
    answer = " ".join(SYMBOLS[:4])
    text = reader.encode(" ".join([*SYMBOLS, *TOPICS] * 3), answer)
    assert reader.cut == 1
    assert len(text.ids) == 12
    assert tokenizer.decode(text.ids[text.first : text.end]) == answer
    assert tokenizer.decode(text.ids[text.first - 2]) == TOPICS[-1].split()[-1]
    long = reader.encode(TOPICS[0], " ".join(SYMBOLS * 5))
    assert len(long.ids) <= 12
    assert tokenizer.decode(long.ids[long.first]) == SYMBOLS[0]
    cases = {
        ("kind=encoder", "pooling=last", "max_length=24"): "so set pooling=mean",
        ("kind=encoder",): "reads at most 24 tokens",
        ("kind=causal",): "causal",
        ("kind=other",): "kind is 'other'",
    }
    for words, message in cases.items():
        with pytest.raises(InputError, match=message):
            program.execute(options(rows, encoder, *words))


def test_what_was_interrupted_goes_on(
    rows: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that dies after two parts makes only the rest, and ends with the same bytes."""
    from llm.models.states import Reader

    program.execute(options(rows, model))
    whole = (rows.parent / "features.parquet").read_bytes()
    own, calls = Reader.states, []

    def counted(self: Reader, texts: list[object], batch: int) -> torch.Tensor:
        calls.append(len(texts))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return own(self, texts, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Reader, "states", counted)
    with pytest.raises(KeyboardInterrupt):
        program.execute(options(rows, model))
    program.execute(options(rows, model))
    assert len(calls) == 3 + 1  # three parts: the last one is made again, the others are not
    assert (rows.parent / "features.parquet").read_bytes() == whole


def test_plain_features_and_features_of_ones_own(rows: Path, tmp_path: Path) -> None:
    data = data_of(rows)
    values = plain_features(data, buckets=16)
    assert values[0, 0] == pytest.approx(np.log1p(len(data.answers[0])))
    assert torch.equal(values, plain_features(data, buckets=16))
    path = tmp_path / "own.parquet"
    prompts = [str(data.prompts[x]) + "  " for x in data.prompt_of.tolist()]
    table = pa.table({"prompt": prompts, "answer": data.answers, "x": values[:, 0].numpy()})
    pq.write_table(table, path)
    assert torch.equal(read_features(str(path), data)[:, 0], values[:, 0])
    write_features(path, data.keys()[1:], values[1:], {})
    with pytest.raises(InputError, match="lacks 1 of the 12 answers"):
        read_features(str(path), data)
    pq.write_table(pa.table({"key": data.keys(), "x": ["a"] * 12}), path)
    with pytest.raises(InputError, match="holds no numbers"):
        read_features(str(path), data)
    pq.write_table(pa.table({"x": [1.0]}), path)
    with pytest.raises(InputError, match="must have a column key, or prompt and answer"):
        read_features(str(path), data)
    with pytest.raises(InputError, match="must be an existing"):
        read_features(str(tmp_path / "none.parquet"), data)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("model=null",), "model is None"),
        (("pooling=first",), "pooling is 'first'"),
        (("pooling=2",), "pooling is 2"),
        (("dimension=0",), "dimension is 0"),
        (("reading.ties=both",), "reading.ties is 'both'"),
        (("model=absent/folder",), "model.name is 'absent/folder'"),
        (("chat_template=none",), "data.chat_template is 'none'"),
    ],
)
def test_bad_settings_are_one_sentence(
    rows: Path, model: Path, words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        program.execute(options(rows, model, *words))


def test_rows_may_be_a_bare_word(
    rows: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["llm.features", str(rows), "model=null"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as caught:
        program.main()
    assert caught.value.code == 2
    assert "model is None" in capsys.readouterr().err
