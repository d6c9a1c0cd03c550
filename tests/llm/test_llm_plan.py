"""The planner on the real 7B configuration, built on the meta device."""

import re
from pathlib import Path

import pytest

from llm.models.cards import card
from llm.pipeline import Pipeline
from llm.plan import execute
from llm.planning.advice import check, remedies
from llm.planning.memory import Hardware, memory, passing, without_gradients
from llm.planning.reading import training_pass
from llm.planning.size import measure
from llm.planning.work import arithmetic, disk
from llm.run import CONFIG, composed
from llm.settings import Settings, build
from spac_theory.checks import InputError


def settings(*overrides):
    return build(Settings, composed("run", *overrides))


def test_mistral_7b_is_counted_on_the_meta_device():
    size = measure(settings("model=mistral-7b"))
    assert size.parameters == 7_241_732_096  # 7.24 billion, Jiang et al. (2023), arXiv 2310.06825
    assert size.layer == 218_112_000
    assert size.trained == size.parameters


def test_optimiser_states_have_their_textbook_sizes():
    """16 bytes a parameter for AdamW in float32 (Rajbhandari et al., 2020), 12 for RMSprop."""
    for optimiser, bytes_each in (("adamw", 16), ("rmsprop", 12)):
        plan = settings("model=mistral-7b", f"train.optimiser={optimiser}")
        size = measure(plan)
        parts = memory(plan, size, Hardware(gpus=8))
        states = parts["trained weights"] + parts["gradients"] + parts["optimiser state"]
        assert states == pytest.approx(bytes_each * size.parameters / 8 / 2**30)


# Entries of the matrices of Mistral-7B: q, o; k, v; gate, up, down; the output layer.
BODY = 32 * (2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
HEAD = 32000 * 4096


def work_of(*overrides, tokens=1000.0):
    plan = settings("model=mistral-7b", "methods=[spac]", *overrides)
    return arithmetic(plan, measure(plan), rows=1, tokens=tokens)


def test_training_arithmetic_is_counted_by_hand():
    """Three sequences of 500 + 500 tokens: 6 a weight and token, attention 12 a width and visible pair."""
    plain = ("train.packing=false", "train.gradient_checkpointing=false")
    seen = 32 * 4096 * (1000 * 1001 / 2)
    three = 3 * (6 * (BODY * 1000 + HEAD * 500) + 12 * seen)
    assert work_of(*plain)["training"] == pytest.approx(three)
    assert work_of("train.packing=false")["training"] == pytest.approx(three * 4 / 3)


def test_packs_save_the_prompts_that_rows_share():
    plain = "train.gradient_checkpointing=false"
    saved = work_of(plain, "train.packing=false")["training"] - work_of(plain)["training"]
    prompt = 6 * BODY * 500 + 12 * 32 * 4096 * (500 * 501 / 2)
    assert saved == pytest.approx(2 * prompt)
    plans = [settings("model=mistral-7b", f"train.packing={on}") for on in ("false", "true")]
    padded, packed = (
        passing(plan, measure(plan), Hardware(gpus=1), training_pass(plan)) for plan in plans
    )
    name = "activation checkpoints"
    assert packed[name] / padded[name] == pytest.approx((512 + 3 * 512) / (3 * 1024))


def test_a_plan_that_cannot_fit_is_refused_with_what_would():
    plan = settings("model=mistral-7b")
    size = measure(plan)
    check(plan, size, Hardware(gpus=8, gpu_memory=80))
    with pytest.raises(
        InputError, match=r"gpu_memory is 80; what would fit: train.lora=true"
    ) as caught:
        check(plan, size, Hardware(gpus=1, gpu_memory=80))
    assert "\n" not in str(caught.value)


def test_on_one_consumer_card_16_bits_are_advised_before_more_cards_and_then_4_bits():
    plan = settings("model=mistral-7b", "train.lora=true", "data.max_length=640")
    size, tight = measure(plan), Hardware(gpus=1, gpu_memory=16)
    words = remedies(plan, size, Hardware(gpus=1, gpu_memory=40))
    places = [
        next(i for i, w in enumerate(words) if key in w) for key in ("dtype=bfloat16", "gpus=")
    ]
    assert places == sorted(places)
    consumer = Hardware(gpus=1, gpu_memory=card("rtx-4090").memory)
    assert "dtype=bfloat16" in remedies(plan, size, consumer)[0]
    assert "quantise=nf4" in remedies(plan, size, tight)[0]
    half = settings("model=mistral-7b", "train.lora=true", "model.dtype=bfloat16")
    parts = memory(half, size, Hardware(gpus=1))
    assert parts["frozen weights"] == pytest.approx(2 * size.parameters / 2**30)
    assert parts["bf16 copy of weights"] == 0


def test_the_reference_pass_and_sampling_are_counted():
    """A reference batch of 256 padded rows of 1,024 tokens at 7B in float32: activations beyond any card."""
    plan = settings("model=mistral-7b", "reference_batch=256", "train.packing=false")
    size, eight = measure(plan), Hardware(gpus=8)
    found = without_gradients(plan, size)
    tokens = 256 * 3 * 1024
    assert found["reference pass"] > (tokens * 2 * 14336 * 4 + 4 * size.parameters) / 2**30
    with pytest.raises(InputError, match=r"GiB a GPU \(reference pass\)"):
        check(plan, size, eight)
    usual = settings("model=mistral-7b", "generation.batch=16")
    more = settings("model=mistral-7b", "generation.batch=32")
    step = without_gradients(more, size)["sampling"] - without_gradients(usual, size)["sampling"]
    cache = (
        2 * 32 * 8 * 128 * 4 * (512 + 512)
    )  # keys and values, layers, heads, width, bytes, tokens
    assert step == pytest.approx(16 * (cache + 12 * 32000) / 2**30)


def test_a_local_folder_is_read_and_a_card_has_a_name(tmp_path, tiny, monkeypatch, capsys):
    tiny().save_pretrained(tmp_path / "model")
    words = ["model=local", f"model.name={tmp_path / 'model'}", "data.source=rows.jsonl"]
    values = {**composed("run", *words), "gpu": "rtx-3090", "gpus": 1}
    with pytest.raises(InputError, match="gpu is 'rtx-9'; it must be one of"):
        execute({**values, "gpu": "rtx-9"})
    execute(values)
    said = capsys.readouterr().out
    assert "1 GPUs of 24 GiB" in said
    assert "MistralDecoderLayer" in said


def test_adapters_shrink_the_plan_and_bad_targets_are_one_sentence():
    lora = "model.lora={rank: 16, alpha: 32, dropout: 0.0, target_modules: [%s]}"
    plan = settings("model=mistral-7b", lora % "q_proj")
    size = measure(plan)
    assert size.trained == 32 * 16 * (4096 + 4096)
    with pytest.raises(InputError, match="names 'q_porj', which this model does not have"):
        measure(settings("model=mistral-7b", lora % "q_porj"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.optimiser=sgd", r"train\.optimiser is 'sgd'"),
        ("+trian=1", "trian is no setting"),
        ("rounds=0", "rounds is 0"),
        ("train.learning_rate=fast", r"train\.learning_rate is 'fast'; it must be a number"),
        ("data.source=x.jsonl", "exactly one of the three"),
        ("model.quantise=nf4", "bitsandbytes|model.lora"),
    ],
)
def test_bad_settings_are_one_sentence(override, message):
    with pytest.raises(InputError, match=message):
        settings(override)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model=mistral-7b"],
            r"data\.source is the hub name 'HuggingFaceH4/.*data\.revision is None",
        ),
        (
            ["model=mistral-7b", f"data.revision={'0' * 40}", "model.revision=main"],
            r"model\.name is the hub name 'alignment-handbook/.*model\.revision is 'main'",
        ),
    ],
)
def test_hub_names_without_a_commit_are_refused_before_anything_is_read(overrides, message):
    with pytest.raises(InputError, match=message) as caught:
        Pipeline(settings(*overrides))
    assert "\n" not in str(caught.value)


def test_bundled_models_are_counted_before_they_are_fetched():
    """The parameters that the converted models have."""
    assert measure(settings("model=smollm2-135m")).parameters == 134_515_008
    assert measure(settings("model=gemma3-270m")).parameters == 268_098_176


@pytest.mark.parametrize("group", ["model", "data", "train", "methods", "generation"])
def test_the_help_names_every_choice(group):
    text = (Path(CONFIG) / "run.yaml").read_text()
    (line,) = re.findall(
        rf"(?:^ {{6}}| {{6}}){group}: (\[[^\]]*\]|[\w, -]*?)(?: {{6}}|$)", text, re.M
    )
    named = set("".join(line.strip("[]").split()).split(","))
    assert named == {path.stem for path in (Path(CONFIG) / group).glob("*.yaml")}


def test_every_field_of_every_configuration_has_a_comment_near_it():
    for path in Path(CONFIG).rglob("*.yaml"):
        lines = path.read_text().splitlines()
        assert any(line.lstrip().startswith("#") for line in lines[:3]), path


def test_a_critic_is_priced_with_its_fits_scores_and_files():
    """Counted by hand: sequences read in a round, three passes each where there are gradients."""
    own = "samples: 3, folds: 5, fit_epochs: 10, critic_epochs: 2, train: {epochs: 7}"
    options = f"methods.spac_t={{name: spac_t, {own}%s}}"
    apart = ("model=mistral-7b", "train.packing=false")
    plan = settings(*apart, "methods=[spac_t]", "rounds=4", options % "")
    size = measure(plan)
    each = arithmetic(settings(*apart, "methods=[spac]"), size, 1, 10.0)
    forward = each["reference pass"] / 3
    work = arithmetic(plan, size, 1, 10.0)
    passes = 4 if plan.train.gradient_checkpointing else 3
    assert work["critic"] == pytest.approx(forward * 5 * (passes * 2 + 2))
    assert work["critics' rewards"] == pytest.approx(forward * 3 * (1 + 2 + 3 + 4) / 4)
    # five folds of four fifths, then each scores all pairs
    fits = 5 * (passes * 10 * 4 / 5 * 2 + 2)
    assert work["held-out fits (most)"] == pytest.approx(forward * fits / 4)
    assert work["training"] == pytest.approx(passes * forward * 3 * 7)
    head = options % ", network: head"
    head_plan = settings(*apart, "methods=[spac_t]", "rounds=4", head)
    assert arithmetic(head_plan, size, 1, 10.0)["critic"] == pytest.approx(forward * 5)
    one = settings("model=mistral-7b", "methods=[ipo]", "rounds=4")
    assert disk(plan, size) - disk(one, size) == pytest.approx(9 * 4 * size.trained / 2**30)


def test_a_folder_that_is_not_there_is_named():
    with pytest.raises(InputError, match=r"model\.name is '/nonexistent', and there is no such"):
        measure(settings("model.name=/nonexistent"))
