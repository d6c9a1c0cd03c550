"""Training options through the pipeline, all from one fine-tuned start."""

import pytest
import torch
from safetensors.torch import load_file

from experiments.claims.kills import SMALL
from experiments.common.files import read_json
from llm.data.padding import pad
from llm.models.load import load_model
from llm.pipeline import Pipeline
from llm.run import composed
from llm.settings import Settings, build
from spac_theory.checks import InputError

LORA = "model.lora={rank: 4, alpha: 8, dropout: 0.0, target_modules: [q_proj, down_proj]}"


def settings(folder, *overrides):
    small = (*SMALL, "rounds=1", "data.language.pairs=48", "data.language.demonstrations=256")
    return build(Settings, composed("run", f"run_dir={folder}", *small, *overrides))


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """The folder of a fine-tuned start."""
    pipeline = Pipeline(settings(tmp_path_factory.mktemp("start")), note=lambda text: None)
    pipeline.prepare()
    return pipeline.initial().path


@pytest.fixture
def run(start, tmp_path):
    """Run one method from the start with the given options; its folder."""

    def go(name, *overrides):
        chosen = settings(tmp_path / name, "sft=null", f"model.name={start}", *overrides)
        Pipeline(chosen, note=lambda text: None)()
        return tmp_path / name

    return go


def weights(folder, t=1):
    return load_file(folder / f"spac/round-{t:02d}/train/model/model.safetensors")


def losses(folder):
    return [entry["loss"] for entry in read_json(folder / "spac/round-01/train/log.json")]


def test_recomputed_activations_change_nothing_and_bf16_little(run):
    plain = run("plain")
    again = run("again", "train.gradient_checkpointing=true")
    for name, value in weights(plain).items():
        torch.testing.assert_close(weights(again)[name], value, rtol=0, atol=1e-6)
    half = run("half", "train.bf16=true")
    assert losses(half) == pytest.approx(losses(plain), rel=0.02)
    assert losses(half) != losses(plain)


def test_adapters_are_trained_alone_and_continued_round_by_round(run, start):
    folder = run("lora", LORA, "rounds=2")
    saved = [folder / f"spac/round-{t:02d}/train/model" for t in (1, 2)]
    first, second = (load_file(path / "adapter_model.safetensors") for path in saved)
    assert not list(saved[0].glob("model*.safetensors"))
    assert {name.split(".")[-3] for name in first} == {"q_proj", "down_proj"}
    assert any(float((second[name] - first[name]).abs().max()) > 1e-5 for name in first)
    base = load_file(f"{start}/model.safetensors")
    batch = pad([[1, 4, 6, 10, 5]], [[13, 14, 15, 2]], 3)
    policy = load_model(str(saved[1]), settings(folder, LORA).model)
    frozen = dict(policy.get_base_model().named_parameters())
    assert torch.equal(frozen["lm_head.weight"], base["lm_head.weight"])
    logits = policy(batch["input_ids"]).logits
    with policy.disable_adapter():
        assert float((policy(batch["input_ids"]).logits - logits).abs().max()) > 1e-4


def test_adapters_on_a_start_made_in_the_run(tmp_path):
    """The base is the run's own fine-tuned model; the manifest does not name its folder."""
    manifests = []
    for name in ("one", "two"):
        Pipeline(settings(tmp_path / name, LORA, "rounds=2"), note=lambda text: None)()
        manifests.append(read_json(tmp_path / name / "manifest.json"))
    assert manifests[0] == manifests[1]
    assert str(tmp_path) not in str(manifests[0])


def test_the_first_step_of_rmsprop_is_ten_times_the_rate(run, start):
    """`v = 0.01 g²`, so `Δθ = lr g / √v = 10 lr sign(g)` (Tieleman and Hinton, 2012)."""
    one_step = ("train.optimiser=rmsprop", "train.epochs=1", "train.warmup=0.0")
    folder = run("rmsprop", *one_step, "data.language.pairs=16")
    before = load_file(f"{start}/model.safetensors")
    moved = torch.cat([(v - before[n]).abs().flatten() for n, v in weights(folder).items()])
    moved = moved[moved > 0]  # rows of words that do not occur have no gradient
    assert len(moved) > 1000
    torch.testing.assert_close(moved.quantile(torch.tensor([0.1, 0.5])), torch.full((2,), 1e-2))


def test_the_average_of_the_weights_is_the_recursion(run):
    """`m ← d m + (1 − d) θ` by hand, from the weights that save_every=1 leaves at each step."""
    from llm.training import callbacks, fit

    seen, decay = [], 0.6

    class Watch(callbacks.Ema):
        def on_train_begin(self, args, state, control, **kwargs):
            super().on_train_begin(args, state, control, **kwargs)
            seen.append({n: p.detach().clone() for n, p in kwargs["model"].named_parameters()})

        def on_step_end(self, args, state, control, **kwargs):
            super().on_step_end(args, state, control, **kwargs)
            seen.append({n: p.detach().clone() for n, p in kwargs["model"].named_parameters()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "Ema", Watch)
        folder = run("ema", f"train.ema={decay}")
    mean = seen[0]
    for theta in seen[1:]:
        mean = {n: decay * m + (1 - decay) * theta[n] for n, m in mean.items()}
    stored = weights(folder)
    assert len(seen) == 1 + 2 * 3
    for name, value in stored.items():
        torch.testing.assert_close(value, mean[name], rtol=1e-5, atol=1e-6)
    assert any(float((seen[-1][n] - stored[n]).abs().max()) > 1e-4 for n in stored)


def test_a_bad_adapter_target_is_one_sentence(run):
    with pytest.raises(InputError, match="names 'qq_proj', which this model does not have"):
        run("bad", LORA.replace("q_proj", "qq_proj"))


def test_a_method_may_be_trained_in_its_own_way():
    values = composed(
        "run", "methods=[dpo,spac]", "+methods.dpo.train={learning_rate: 0.5, epochs: 2}"
    )
    settings = build(Settings, values)
    own, shared = (settings.training(settings.methods[name]) for name in ("dpo", "spac"))
    assert (own.learning_rate, own.epochs, own.batch) == (0.5, 2, shared.batch)
    assert shared == settings.train
    values["methods"]["dpo"]["train"] = {"learning_rat": 0.5}
    with pytest.raises(InputError, match=r"methods\.dpo\.train\.learning_rat is no setting"):
        build(Settings, values)
