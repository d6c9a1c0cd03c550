"""What the register of methods asks of a method's files, its streams and its loss, and what it refuses."""

import dataclasses
import re
from pathlib import Path

import pytest
import torch
import yaml
from test_methods import ALL, NAMES, enumerated, table_of, trainer_of

from llm.methods import METHODS, Conditions, Method, Stream, data, streams_of
from llm.planning.memory import Hardware, memory
from llm.planning.reading import frozen_copies
from llm.planning.size import measure
from llm.planning.work import arithmetic, hours
from llm.run import CONFIG, composed
from llm.settings import Settings, build
from llm.training.batches import StreamCollator
from spac_theory.checks import InputError


@pytest.mark.parametrize("name", ALL)
def test_the_yaml_names_every_option_with_a_comment_and_the_defaults(name):
    path = Path(CONFIG) / "methods" / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    ((label, options),) = yaml.safe_load(text).items()
    kind = METHODS[name]
    assert (label, options.pop("name")) == (name, name)
    assert options.pop("title")
    options.pop("train", None)
    own = [f for f in dataclasses.fields(kind) if f.name not in ("title", "train")]
    assert options == {f.name: f.default for f in own}
    blocks = re.split(r"\n\s*\n", text.partition(":\n")[2])
    assert all(block.lstrip().startswith("#") for block in blocks)


@pytest.mark.parametrize(
    "path", sorted((Path(CONFIG) / "methods").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_file_of_methods_is_one_column_under_its_own_name(path):
    values = composed("run", f"methods=[{path.stem}]", "judge=language")
    assert list(values["methods"]) == [path.stem]
    (method,) = build(Settings, values).methods.values()
    assert method.title


def padded(plan):
    """The plan without packs, where every response costs the same."""
    return dataclasses.replace(plan, train=dataclasses.replace(plan.train, packing=False))


@pytest.mark.parametrize("name", NAMES)
def test_the_plan_prices_it(name):
    overrides = ("model=mistral-7b", f"methods=[{name}]")
    judge = (f"judge={__name__}:nothing",)
    plan = build(Settings, composed("run", *overrides, *judge))
    size, hardware = measure(plan), Hardware()
    (method,) = plan.methods.values()
    streams = plan.streams(method)
    k = sum(s.count for s in method.trained(streams))
    dpo = build(Settings, composed("run", "model=mistral-7b", "methods=[dpo]"))
    work = [arithmetic(padded(p), size, 100, 500.0)["training"] for p in (plan, dpo)]
    passes = plan.training(method).epochs / dpo.train.epochs
    assert work[0] == pytest.approx(work[1] * k / 2 * passes)
    drawn = sum(s.count for s in streams if s.source not in ("data", "edit"))
    assert (hours(plan, size, hardware, 100, 500.0)["sampling (upper bound)"] > 0) == (drawn > 0)
    step = any(s.when == "step" for s in streams)
    rewrites = name == "sapo"  # its copies are the average and the opponent, not an iterate
    assert frozen_copies(plan) == (1 if step and not rewrites else 0)
    parts = memory(plan, size, hardware)
    assert (parts["frozen copies"] > 20) == (step and not rewrites)
    assert (parts["slow copies"] > 50) == rewrites


def test_what_cannot_run_says_why():
    conditions = Conditions(language=True, judge=False, sharded=True)
    assert "sharded" in METHODS["hypo"]().skip(conditions)
    with pytest.raises(InputError, match=r"methods\.rebel cannot run here: .*judge is null"):
        build(Settings, composed("run", "methods=[rebel]"))
    with pytest.raises(InputError, match=r"methods\.ipo\.tau is -1"):
        build(Settings, composed("run", "methods=[ipo]", "methods.ipo.tau=-1"))
    with pytest.raises(
        InputError, match=r"methods\.ipo\.tao is no setting \(did you mean 'tau'\?\)"
    ):
        build(Settings, composed("run", "methods=[ipo]", "+methods.ipo.tao=1"))
    with pytest.raises(InputError, match=r"method is 'nope'; it must be one of: .*spac"):
        build(Settings, composed("run", "methods.spac.name=nope"))
    with pytest.raises(InputError, match=r"is no name for a method"):
        build(Settings, composed("run", "+methods={../out: {name: ipo}}"))


@dataclasses.dataclass(frozen=True)
class Broken(Method):
    """A method whose author slipped."""

    how: str = "shape"

    def streams(self):
        return data("initial")

    def loss(self, batch):
        gap = batch.ratio("chosen", "initial")
        if self.how == "undeclared":
            return batch.ratio("own", "initial").mean(), {}
        return {"shape": gap, "detached": gap.detach().mean(), "number": 1.0}[self.how], {}


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("shape", r"loss of Broken is \(50, 1\); it must be one number"),
        ("detached", r"loss of Broken is \(\); it must be one number, .* with a gradient"),
        ("number", "loss of Broken is float"),
        ("undeclared", r"reads 'own', which its streams \(chosen, rejected\)"),
    ],
)
def test_a_slip_in_a_method_is_one_sentence(tiny, tmp_path, how, says):
    model, method = tiny(dtype=torch.float64), Broken(how)
    rows, streams, _ = enumerated(method, table_of(model), seed=1)
    trainer = trainer_of(method, streams, model, tmp_path)
    with pytest.raises(InputError, match=says):
        trainer.compute_loss(model, StreamCollator(0, streams)(rows))


@pytest.mark.parametrize(
    ("stream", "says"),
    [
        ({"source": "nobody"}, "stream.source is 'nobody'"),
        ({"when": "never"}, "stream.when is 'never'"),
        ({"labels": "stars"}, "stream.labels is 'stars'"),
        ({"source": "data", "count": 2}, "a stream of the data has count 1"),
        ({"when": "step", "labels": "critic"}, "asks for critic labels at every step"),
        ({"when": "once"}, "only π_1 and edits are the same in all rounds"),
        ({"pull": 0.5}, "two policies write together at a step only"),
        ({"pull": 1.5, "when": "step"}, "stream.pull is 1.5"),
    ],
)
def test_a_stream_that_cannot_be_is_one_sentence(stream, says):
    with pytest.raises(InputError, match=re.escape(says)):
        Stream("own", **stream)


def test_streams_share_no_name_and_ask_only_known_policies():
    twice = dataclasses.make_dataclass(
        "Twice", [], bases=(Broken,), frozen=True,
        namespace={"streams": lambda self: (*data(), Stream("chosen"))},
    )  # fmt: skip
    METHODS.register("twice_of_a_test")(twice)
    with pytest.raises(InputError, match="each needs a name of its own"):
        streams_of(twice(), samples=1)
    with pytest.raises(InputError, match=r"stream\.anchors is 'yesterday'"):
        Broken().anchor("yesterday", 3)
