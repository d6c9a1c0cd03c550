"""The planner on the real 7B configuration, built on the meta device."""

from pathlib import Path

import pytest

from llm.pipeline import Pipeline
from llm.plan import Hardware, arithmetic, check, disk, measure, memory
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


def test_training_arithmetic_is_six_n_a_token_and_eight_with_recomputation():
    plan = settings("model=mistral-7b", "methods=[spac]", "train.gradient_checkpointing=false")
    size = measure(plan)
    work = arithmetic(plan, size, rows=1, tokens=1e-9)["training"]
    per_token = work / (3 * 1e-9)
    assert per_token == pytest.approx(6 * (size.parameters - size.embedding), rel=1e-6)


def test_a_plan_that_cannot_fit_is_refused_with_what_would():
    plan = settings("model=mistral-7b")
    size = measure(plan)
    check(plan, size, Hardware(gpus=8, gpu_memory=80))
    with pytest.raises(InputError, match=r"gpu_memory is 80; what would fit: .*\+gpus=") as caught:
        check(plan, size, Hardware(gpus=1, gpu_memory=80))
    assert "\n" not in str(caught.value)


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


def test_every_field_of_every_configuration_has_a_comment_near_it():
    for path in Path(CONFIG).rglob("*.yaml"):
        lines = path.read_text().splitlines()
        assert any(line.lstrip().startswith("#") for line in lines[:3]), path


def test_a_critic_is_priced_with_its_fits_scores_and_files():
    """Counted by hand: sequences read in a round, three passes each where there are gradients."""
    own = "samples: 3, folds: 5, fit_epochs: 10, critic_epochs: 2, train: {epochs: 7}"
    options = f"methods.spac_t={{name: spac_t, {own}%s}}"
    plan = settings("model=mistral-7b", "methods=[spac_t]", "rounds=4", options % "")
    size = measure(plan)
    each = arithmetic(settings("model=mistral-7b", "methods=[spac]"), size, 1, 10.0)
    forward = each["reference pass"] / 3
    work = arithmetic(plan, size, 1, 10.0)
    passes = 4 if plan.train.gradient_checkpointing else 3
    assert work["critic"] == pytest.approx(forward * 5 * (passes * 2 + 2))
    assert work["critics' rewards"] == pytest.approx(forward * 3 * (1 + 2 + 3 + 4) / 4)
    fits = 5 * (
        passes * 10 * 4 / 5 * 2 + 2
    )  # five folds of four fifths, then each scores all pairs
    assert work["held-out fits (most)"] == pytest.approx(forward * fits / 4)
    assert work["training"] == pytest.approx(passes * forward * 3 * 7)
    frozen = arithmetic(
        settings("model=mistral-7b", "methods=[spac_t]", "rounds=4", options % ", trunk: frozen"),
        size, 1, 10.0,
    )  # fmt: skip
    assert frozen["critic"] < work["critic"] / 2
    one = settings("model=mistral-7b", "methods=[ipo]", "rounds=4")
    assert disk(plan, size) - disk(one, size) == pytest.approx(9 * 4 * size.trained / 2**30)
