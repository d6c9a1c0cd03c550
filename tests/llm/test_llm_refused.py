"""What is refused before the first stage, all at once; and a refusal, whenever it comes, harms nothing."""

import json
import shutil
import types
from dataclasses import replace

import pytest

from experiments.claims.kills import SMALL
from experiments.common.files import StorageError, read_json, write_json
from experiments.common.program import guarded
from llm.export import export
from llm.models import load
from llm.models.load import ModelSettings, load_model
from llm.pipeline import Pipeline
from llm.run import composed, execute
from llm.settings import Settings, build
from llm.stages.directory import Run
from llm.worlds import tiny
from spac_theory.checks import InputError

FAST = (*SMALL, "rounds=1", "data.language.pairs=32", "data.language.demonstrations=128")


def refused(folder, *overrides):
    """Read these settings and hold them against what they name: what is said, a sentence a line."""
    with pytest.raises(InputError) as caught:
        Pipeline(build(Settings, composed("run", f"run_dir={folder}", *overrides)))
    assert not folder.exists()
    return str(caught.value).splitlines()


def test_everything_that_is_wrong_is_said_at_once(tmp_path):
    wrong = {
        "train.epochs": "0", "train.schedule": "foo", "train.warmup": "-3", "train.log_every": "0",
        "train.learning_rate": "fast", "train.optimiser": "sgd", "train.ema": "1.0",
        "model.attention": "foo", "model.dtype": "int8", "methods.spac.beta": "-1",
        "methods.spac.form": "cubic", "methods.dpo.lam": "x", "methods.spin.reference": "next",
        "generation.top_p": "1.5", "generation.samples": "0", "generation.temperature": "0",
        "data.language.name": "mislead", "data.language.coverage": "2", "data.max_length": "0",
        "data.identical_pairs": "merge", "iterate": "first", "rounds": "0", "seed": "-1",
        "stages": "[foo]", "evaluation.samples": "0", "reference_batch": "1.5",
    }  # fmt: skip
    told = refused(tmp_path / "run", *(f"{k}={v}" for k, v in wrong.items()))
    assert len(told) == len(wrong)
    for field in wrong:
        assert any(line.startswith(f"{field} is ") for line in told), field


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["train.batch=100", "train.micro_batch=33"], "multiple of micro_batch"),
        (["train.tokens=0"], "train.tokens is 0; it must be at least 1"),
        (["train.warmup=2.5"], "a whole number of steps"),
        (["sft.epochs=-1"], "sft.epochs is -1"),
        (["generation=vllm"], "needs the package vllm"),
        (["data.chat_template=nope"], "data.chat_template is 'nope'"),
        (["data.max_prompt_length=24"], "must be below data.max_length"),
        (["model.architecture.hidden=30"], "multiple of 4"),
        (["+model.architecture.heads=3"], "model.architecture has 'heads'"),
        (["judge=no_such_module:f", "methods=[rebel]"], "judge is 'no_such_module:f'"),
        (["model.quantise=nf4"], "bitsandbytes|model.lora"),
        (["data=file", "data.source=rows.jsonl"], "sft is set and data.language is null"),
        (["data=file", "data.source=rows.jsonl", "sft=null"], "there is no such file"),
        (["+methods={../out: {name: ipo}}"], "is no name for a method"),
        (["+methods={sft: {name: ipo}}"], "is no name for a method"),
    ],
)
def test_what_fits_ill_together_is_refused_before_the_first_stage(tmp_path, overrides, says):
    told = refused(tmp_path / "run", *overrides)
    assert any(says in line or says.split("|")[0] in line for line in told), told


@pytest.fixture
def start(tmp_path):
    """A saved tiny model."""
    tok = tiny.tokenizer()
    folder = tmp_path / "start"
    tiny.model(tok, seed=0).save_pretrained(folder)
    tok.save_pretrained(folder)
    return folder


def test_a_model_is_held_against_its_own_configuration(tmp_path, start):
    own = ("sft=null", f"model.name={start}")
    lora = "model.lora={target_modules: [qq_proj]}"
    told = refused(
        tmp_path / "run", *own, lora, "data.max_length=64", "generation.max_new_tokens=40"
    )
    assert len(told) == 3
    assert "model.lora.target_modules names 'qq_proj'" in told[2]
    assert "reads at most 32 tokens" in told[0]
    (told,) = refused(tmp_path / "run", "sft=null", f"model.name={tmp_path / 'nowhere'}",
                      "model.revision=" + "0" * 40)  # fmt: skip
    assert "it must be a folder with a saved model or a reachable hub name" in told


def test_a_tokenizer_without_an_end_is_refused(tmp_path, start):
    path = start / "tokenizer_config.json"
    values = read_json(path)
    values.pop("eos_token")
    write_json(path, values)
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "sun", "chosen": "ba", "rejected": "be"}) + "\n")
    told = refused(tmp_path / "run", "sft=null", f"model.name={start}", "data=file", f"data.source={rows}",
                   "data.max_prompt_length=8", "data.max_length=16")  # fmt: skip
    assert any("no end-of-sequence token" in line for line in told)


def test_a_branch_is_taken_where_it_is_asked_for_and_becomes_a_commit(monkeypatch, capsys):
    """What the hub would say is stood in for: there is none here."""
    settings = ModelSettings("a/b", "main", "float32", "sdpa", None, None, {}, unpinned=True)
    commit = "0123456789" * 4
    found = types.SimpleNamespace(_commit_hash=commit)
    monkeypatch.setattr(load, "load_configuration", lambda name, revision: found)
    assert load.pinned(settings).revision == commit
    assert f"model.revision={commit} today" in capsys.readouterr().err
    assert load.pinned(replace(settings, unpinned=False)).revision == "main"
    found._commit_hash = None
    with pytest.raises(InputError, match="does not say which commit"):
        load.pinned(settings)


def test_adapters_on_a_hub_model_without_a_commit_are_refused(tmp_path, start):
    adapters = tmp_path / "adapters"
    shutil.copytree(start, adapters)
    write_json(adapters / "adapter_config.json", {"base_model_name_or_path": "someone/model"})
    settings = ModelSettings(str(adapters), None, "float32", "sdpa", None, None, {})
    with pytest.raises(
        InputError, match="'someone/model' at the revision None; a base from the hub"
    ):
        load_model(str(adapters), settings)


def test_a_refusal_inside_a_stage_leaves_the_folder_free_for_the_corrected_command(tmp_path):
    run = Run(tmp_path)

    def refuse(folder):
        write_json(folder / "half.json", 1)
        raise InputError("row 3 is bad")

    with pytest.raises(InputError, match="row 3"):
        run.stage("one", {"source": "bad"}, refuse)
    assert not (tmp_path / "one").exists()
    assert run.stage("one", {"source": "mended"}, lambda folder: {}) == {}

    def full(folder):
        write_json(folder / "part.json", 1)
        raise StorageError("the disk is full")

    with pytest.raises(StorageError):
        run.stage("two", {"a": 1}, full)
    assert (tmp_path / "two" / "part.json").exists()  # finished work is kept


def run_small(folder, *overrides):
    values = composed("run", f"run_dir={folder}", *FAST, *overrides)
    return guarded(lambda: execute(values))


def test_a_run_goes_from_stage_to_stage_and_stops_where_it_diverges(tmp_path, capsys):
    """`stages` ends a call well; NaN ends it with exit code 1; both leave a run that goes on."""
    assert run_small(tmp_path, "stages=[train]") == 2
    assert "nothing of it can be done yet: the next stage is prepare" in capsys.readouterr().err
    assert run_small(tmp_path, "stages=[prepare]") == 0
    assert "The next stage is sft" in capsys.readouterr().out
    assert run_small(tmp_path, "stages=[prepare]") == 0
    for steps in ("train.epochs=1", "train.epochs=4"):  # met after the last step, and on the way
        assert run_small(tmp_path, "train.learning_rate=1e18", "train.warmup=0", steps) == 1
        message = capsys.readouterr().err
        assert "diverged; lower train.learning_rate (1e+18)" in message
        assert message.count("\n") == 1
        assert not (tmp_path / "spac/round-01/train").exists()
    assert run_small(tmp_path) == 0
    assert "NaN" not in (tmp_path / "results.json").read_text()

    rows = tmp_path / "prepare" / "rows.parquet"
    rows.write_bytes(rows.read_bytes()[:-1] + b"x")
    capsys.readouterr()
    assert run_small(tmp_path, "train.epochs=3") == 2
    assert "is not the file that the stage prepare wrote" in capsys.readouterr().err


def test_no_loader_runs_code_of_the_model(tmp_path, start, monkeypatch):
    """A folder that brings its own class is refused, not asked about."""
    values = read_json(start / "config.json")
    values["auto_map"] = {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"}
    values["model_type"] = "of_nobody"
    write_json(start / "config.json", values)
    (start / "evil.py").write_text("raise SystemExit('ran')\n")
    settings = ModelSettings(str(start), None, "float32", "sdpa", None, None, {})
    with pytest.raises(InputError, match=r"model\.name is"):
        load_model(str(start), settings)
    with pytest.raises((InputError, ValueError, OSError)):
        export(start, tmp_path / "out")
