"""What a round derives from the streams: labels, rollouts, what is interrupted, what is refused."""

import pytest
import torch
from safetensors.torch import load_file

from experiments.claims.kills import SMALL
from experiments.common.files import read_json
from llm.files.digests import read_rows
from llm.methods import Stream
from llm.pipeline import Pipeline
from llm.run import composed
from llm.settings import Settings, build
from llm.stages.label import _matrix, count
from llm.training import trainer as trainers
from llm.worlds.language import Language
from llm.worlds.referee import LanguageJudge

QUICK = ("rounds=1", "data.language.pairs=48", "data.language.demonstrations=256", "judge=language")


class Killed(BaseException):
    """Stands for a signal: nothing in the project catches it."""


def pipeline(folder, *overrides):
    small = [o for o in SMALL if not o.startswith("methods=")]
    values = composed("run", f"run_dir={folder}", *small, *QUICK, *overrides)
    return Pipeline(build(Settings, values), note=lambda text: None)


BOTH = "methods=[hypo,rebel]"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with labels and with rollouts that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    pipeline(folder, BOTH)()
    return folder


def test_a_killed_run_with_rollouts_and_labels_ends_like_a_whole_one(whole, tmp_path, monkeypatch):
    step = trainers.MethodTrainer.training_step
    asked = LanguageJudge.__call__
    left = {"step": 5, "judge": 2}  # checkpoints at steps 3 and 6; three parts of labels

    def dying_step(self, *args, **kwargs):
        left["step"] -= 1
        if left["step"] < 0:
            raise Killed
        return step(self, *args, **kwargs)

    def dying_judge(self, prompts, answers):
        left["judge"] -= 1
        if left["judge"] < 0:
            raise Killed
        return asked(self, prompts, answers)

    for name, where in (("step", "hypo/round-01/train"), ("judge", "rebel/round-01/label-own")):
        with monkeypatch.context() as patch:
            patch.setattr(trainers.MethodTrainer, "training_step", dying_step)
            if name == "judge":
                patch.setattr(trainers.MethodTrainer, "training_step", step)
                patch.setattr(LanguageJudge, "__call__", dying_judge)
            with pytest.raises(Killed):
                pipeline(tmp_path, BOTH)()
        assert (tmp_path / where).exists()
        assert not (tmp_path / where / "stage.json").exists()
    assert len(list((tmp_path / "rebel/round-01/label-own/parts").iterdir())) == 2
    pipeline(tmp_path, BOTH)()
    assert read_json(tmp_path / "manifest.json") == read_json(whole / "manifest.json")
    for path in whole.rglob("*.parquet"):
        assert read_rows(path) == read_rows(tmp_path / path.relative_to(whole))


def test_rollouts_follow_the_weights_and_leave_other_randomness_alone(whole, tmp_path):
    """With λ = 0 the same steps are DPO's, bit for bit, whatever was sampled."""
    both = ("methods=[hypo,dpo]", "methods.hypo.lam=0")
    pipeline(tmp_path, *both)()
    weights = [
        load_file(tmp_path / f"{name}/round-01/train/model/model.safetensors")
        for name in ("hypo", "dpo")
    ]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=0, atol=1e-6)
    logged = read_json(whole / "hypo/round-01/train/log.json")
    assert logged[0]["hypo/kl"] == pytest.approx(0, abs=1e-6)  # the policy is π_1 still
    assert len({entry["hypo/kl"] for entry in logged}) >= len(logged) - 1


def test_labels_are_those_of_the_reward_and_counted(whole):
    language = Language()
    rows = read_rows(whole / "rebel/round-01/reference/streams.parquet")
    values = {score for row in rows for score in row["score/own"]}
    assert values <= {0.0, 1.0, 2.0}  # scale 2 times r* of `misleads`
    assert len(values) > 1
    judge = LanguageJudge(language)
    best = language.responses[int(language.reward[0].argmax())]
    prompt = f"[INST] {language.prompts[0]} [/INST]"
    assert judge([prompt] * 2, [best, "no word of it"]) == [2.0, 0.0]
    outputs = read_json(whole / "rebel/round-01/label-own/stage.json")["outputs"]
    assert outputs["count"] == 2 * len(rows)
    assert read_json(whole / "rebel/round-01/evaluate/report.json")["labels"] == 2 * len(rows)


def test_pairwise_labels_are_draws_of_bradley_terry():
    g = torch.Generator().manual_seed(0)
    wins = torch.tensor([_matrix([1.0, 0.0, -2.0], g) for _ in range(2000)])
    assert set(wins[:, 0, 1].tolist()) == {0.0, 1.0}
    torch.testing.assert_close(wins + wins.transpose(-1, -2), torch.ones_like(wins))
    rate = wins.mean(0)
    for i, j, margin in ((0, 1, 1.0), (0, 2, 3.0), (1, 2, 2.0)):
        p = 1 / (1 + 2.718281828**-margin)
        assert abs(float(rate[i, j]) - p) < 4 * (p * (1 - p) / 2000) ** 0.5
    assert _matrix([1.0, 0.0], None)[0][1] == pytest.approx(0.7310585786)
    assert count(Stream("own", 4, labels="pairwise"), rows=10) == 60


STRANGER = '''
from dataclasses import dataclass
from llm.methods import METHODS, Method, Stream

@METHODS.register("clone_{tag}")
@dataclass(frozen=True)
class Clone(Method):
    """Likelihood of a response that the start wrote."""
    weight: float = 1.0

    def streams(self):
        return (Stream("start", 2, "initial"),)

    def loss(self, batch):
        return -self.weight * batch.expect("start", batch.logp["start"]).mean(), {{}}
'''


def test_a_strangers_method_is_one_file(tmp_path):
    file = tmp_path / "clone.py"
    file.write_text(STRANGER.format(tag="a"))
    run = pipeline(
        tmp_path / "run", f"plugins=[{file}]", "+methods={mine: {name: clone_a}}", "methods=[ipo]"
    )
    results = run()
    assert set(results) == {"sft", "ipo", "mine"}
    samples = read_rows(tmp_path / "run/mine/round-01/sample-start/samples.parquet")
    assert all(len(row["ids/start"]) == 2 for row in samples)
