"""Every method on SmolLM2 itself for two steps. Needs its wheel; run by `make claims`."""

import math
from pathlib import Path

import pytest

from experiments.common.files import read_json
from llm.methods import make_method
from llm.methods.kinds import Decoding
from llm.pipeline import Pipeline
from llm.run import CONFIG, composed, quiet
from llm.settings import Settings, build
from llm.stages.directory import flatten
from llm.worlds import sentiment

pytestmark = pytest.mark.slow
METHOD_NAMES = sorted(path.stem for path in Path(CONFIG, "methods").glob("*.yaml"))
PRINCIPLE = "A rave review, delighted and full of warm praise."
ROWS, STEPS, SAMPLES = 8, 2, 2
SMALL = (
    "model=smollm2-135m", "rounds=1", "data.sentiment.pairs=8", "data.sentiment.test_pairs=4",
    "generation.max_new_tokens=6", "evaluation.prompts=4", "train.batch=4", "train.micro_batch=4",
    "train.report_to=[]", "judge=llm.worlds.sentiment:score",
)  # fmt: skip
# What would take a few hundred rows, or minutes, made small.
CHANGES = {
    "spac_t": {"folds": 2, "fit_epochs": 1.0, "critic_epochs": 1.0, "samples": SAMPLES, "train": {}},
    "spac_t-head": {"folds": 2, "samples": SAMPLES},
    "sapo": {"segment": 3, "keep": 1},
    "sppo": {"samples": SAMPLES},
    "mpo": {"samples": SAMPLES},
    "sim_oprl": {"budget": 8, "rounds": 2, "samples": SAMPLES, "dimension": 4},
    "linear_alignment": {"principle": PRINCIPLE},
    "drpo": {"judge": f"{__name__}:judge", "proposer": f"{__name__}:propose", "depth": 2, "extend": 0}
    | {"beam": 1, "proposals": 1},
}  # fmt: skip
# At the start every log-ratio is 0, so the first step's loss is known; by η and the labels drawn otherwise.
LOG2 = math.log(2)
FIRST = {
    "dpo": LOG2, "moving-dpo": LOG2, "spin": LOG2, "spac": 4 * LOG2, "ipo": 25.0, "chi_po": LOG2,
    "hypo": LOG2, "online_dpo": LOG2, "sapo": LOG2, "sim_oprl": LOG2,
}  # fmt: skip


def judge(query, answer):
    """One criterion: the lexicon's score, from 1 to 5."""
    return {"warmth": 3 + 2 * sentiment.score([query], [answer])[0]}


def propose(prompt, query, answer, scores, history, count):
    """The line of praise."""
    return [PRINCIPLE] * count


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A run of all of them, and its folder."""
    return run(tmp_path_factory.mktemp("real"))


def run(folder):
    """All methods, or what is left of them to do; responses of the model are made once."""
    values = composed("run", *SMALL, f"methods=[{','.join(METHOD_NAMES)}]", f"run_dir={folder}")
    for name, options in values["methods"].items():
        options |= CHANGES.get(name, {})
    quiet()
    return folder, Pipeline(build(Settings, values), note=lambda text: None)()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_few_steps_of_every_method_are_finite_and_sensible(ran, name):
    folder, results = ran
    (report,) = results[name]
    numbers = {k: v for k, v in flatten(report).items() if isinstance(v, float)}
    assert numbers
    assert all(map(math.isfinite, numbers.values())), numbers
    assert -1 <= report["reward"] <= 1
    assert report.get("kl", 0.0) > -0.5  # an estimate from four answers
    assert 0 <= report.get("accuracy", 0.5) <= 1
    if name in ("linear_alignment", "drpo"):
        assert not (folder / name / "round-01/train").exists()
        return
    assert report["steps"] >= STEPS
    log = [line for line in read_json(folder / name / "round-01/train/log.json") if "loss" in line]
    assert len(log) == STEPS
    assert all(math.isfinite(v) for line in log for v in line.values() if isinstance(v, float))
    assert all(0 <= v <= 1 for line in log for k, v in line.items() if k.endswith("accuracies"))
    assert all(line["grad_norm"] > 0 for line in log)
    if name in FIRST:
        assert log[0]["loss"] == pytest.approx(FIRST[name], abs=2e-3)
    asks = any(s.labels in ("score", "pairwise", "elicited") for s in streams(name))
    assert (report.get("labels", 0) > 0) == asks


def streams(name):
    """What the method reads."""
    method = make_method(name, composed("run", f"methods=[{name}]")["methods"][name])
    return () if isinstance(method, Decoding) else method.streams()
