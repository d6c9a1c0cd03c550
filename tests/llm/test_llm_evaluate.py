"""Export with merged adapters, and the harness on a local task."""

import sys
import types

import pytest
import torch

from llm.export import export
from llm.models.load import LoraSettings, ModelSettings, add_lora
from llm.worlds import tiny
from spac_theory.checks import InputError


def test_merged_adapters_answer_like_the_adapted_model(tmp_path):
    tok = tiny.tokenizer()
    tiny.model(tok, seed=0).save_pretrained(tmp_path / "base")
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    adapted = add_lora(base, LoraSettings(4, 8, 0.0, ["q_proj", "down_proj"]))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    adapted.save_pretrained(tmp_path / "adapter")
    tok.save_pretrained(tmp_path / "adapter")
    export(tmp_path / "adapter", tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    ids = torch.tensor([[1, 6, 10, 12]])
    torch.testing.assert_close(merged(ids).logits, adapted.eval()(ids).logits, rtol=1e-4, atol=1e-4)
    names = {p.name for p in (tmp_path / "merged").iterdir()}
    assert {"model.safetensors", "chat_template.jinja", "README.md"} <= names
    with pytest.raises(InputError, match="exists already"):
        export(tmp_path / "adapter", tmp_path / "merged")


def test_the_harness_scores_a_local_task(tmp_path):
    pytest.importorskip("lm_eval")
    from llm.evaluate import SUITES, Task, evaluate_model, pick

    tok = tiny.tokenizer()
    tiny.model(tok, seed=0).save_pretrained(tmp_path)
    tok.save_pretrained(tmp_path)
    scores = evaluate_model(str(tmp_path), SUITES["local"], batch=4, limit=None)
    assert 0 <= scores["flattery"]["score"] <= 1
    assert (scores["flattery"]["score"] * 12) % 1 == pytest.approx(0, abs=1e-9)
    with pytest.raises(InputError, match="reports no 'f1,none'"):
        pick({"t": {"acc,none": 1.0}}, Task("t", 0, "f1,none"))


def test_vllm_is_refused_where_missing_and_called_with_token_ids_where_present(monkeypatch):
    """The fake stands for vLLM's interface only; what is tested is what this package hands over."""
    from llm.models.engines import GenerationSettings, VllmEngine

    chosen = ("vllm", 2, 1.0, 1.0, 4, 8)
    model = ModelSettings("base", None, "float32", "sdpa", None, None, {})
    tok = types.SimpleNamespace(eos_token_id=2, pad_token_id=0)
    with pytest.raises(InputError, match="needs the package vllm"):
        GenerationSettings(*chosen)
    seen = {}

    class LLM:
        def __init__(self, **kwargs):
            seen["model"] = kwargs["model"]

        def generate(self, requests, parameters, use_tqdm):
            seen["ids"] = [r["prompt_token_ids"] for r in requests]
            seen["seeds"] = [p["seed"] for p in parameters]
            out = [types.SimpleNamespace(token_ids=[7, 2, 9]), types.SimpleNamespace(token_ids=[7])]
            return [types.SimpleNamespace(outputs=out) for _ in requests]

    fake = types.ModuleType("vllm")
    fake.LLM, fake.SamplingParams = LLM, dict
    fake.__spec__ = types.SimpleNamespace(name="vllm")
    monkeypatch.setitem(sys.modules, "vllm", fake)
    answers = VllmEngine("path", model, tok, GenerationSettings(*chosen))([[1, 5], [1, 6]], seed=10)
    assert answers == [[[7, 2], [7]]] * 2
    assert seen == {"model": "path", "ids": [[1, 5], [1, 6]], "seeds": [10, 11]}
