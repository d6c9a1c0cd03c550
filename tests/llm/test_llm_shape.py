"""What is read off a model: its layers, its size for the planner, whether rows can be packed."""

import pytest
from small_models import small_config, small_model
from transformers import AutoConfig

from llm.models.load import ModelSettings, load_model
from llm.models.shape import layer_classes, packing_obstacle
from llm.planning.memory import Hardware, memory
from llm.planning.size import measure
from llm.run import composed
from llm.settings import Settings, build
from spac_theory.checks import InputError


def settings(*overrides):
    return build(Settings, composed("run", *overrides))


def model_settings(folder):
    return ModelSettings(str(folder), None, "float32", "eager", None, None, {})


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("mistral", ["MistralDecoderLayer"]),
        ("gpt2", ["GPT2Block"]),
        ("bloom", ["BloomBlock"]),
        ("mixtral", ["MixtralDecoderLayer"]),
        ("mamba", ["MambaBlock"]),
    ],
)
def test_the_layer_to_wrap_is_the_models_own(name, classes):
    assert layer_classes(small_model(name)) == classes


@pytest.mark.parametrize("name", ["llama", "gpt2", "bloom", "gpt_neox", "mamba", "granitemoe"])
def test_a_folder_with_a_configuration_is_planned(name, tmp_path):
    small_config(name).save_pretrained(tmp_path)
    plan = settings("model=mistral-7b", f"model.name={tmp_path}")
    size = measure(plan)
    assert size.parameters == sum(p.numel() for p in small_model(name).parameters())
    assert 0 < size.layer < size.parameters
    assert all(value >= 0 for value in memory(plan, size, Hardware(gpus=8)).values())


def test_gpt2_has_its_published_size(tmp_path):
    """124 million (Radford et al., 2019, with the embedding counted once)."""
    AutoConfig.for_model("gpt2").save_pretrained(tmp_path)
    size = measure(settings("model=mistral-7b", f"model.name={tmp_path}"))
    assert size.parameters == 124_439_808
    assert size.widths == 16 * 768  # two norms' outputs, q, k, v, context, residuals, 4, 4


def test_mistrals_widths_are_counted_one_by_one():
    """Norms, q, context, two residuals (6 h), k, v (2 x 1024), gate, up, product (3 x 14336)."""
    assert measure(settings("model=mistral-7b")).widths == 6 * 4096 + 2 * 1024 + 3 * 14336


@pytest.mark.parametrize(
    ("name", "obstacle"),
    [
        ("llama", None),
        ("mistral", None),
        ("qwen2", None),
        ("mamba", "state"),
        ("bloom", "takes no positions"),
        ("mpt", "takes no positions"),
    ],
)
def test_packing_is_granted_or_refused_with_a_reason(name, obstacle):
    found = packing_obstacle(small_model(name))
    assert found is None if obstacle is None else obstacle in found


@pytest.mark.parametrize(
    ("name", "words"),
    [("t5", "encoder-decoder"), ("bart", "encoder-decoder"), ("vit", "no causal language model")],
)
def test_what_is_no_causal_model_is_refused_before_its_weights_are_read(name, words, tmp_path):
    AutoConfig.for_model(name).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=words) as caught:
        load_model(str(tmp_path), model_settings(tmp_path))
    with pytest.raises(InputError, match=words):
        measure(settings("model=mistral-7b", f"model.name={tmp_path}"))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
