"""Last, best and mixture: chosen, reported, exported, and drawn from."""

import pytest
import torch
import yaml

from experiments.claims.kills import SMALL
from experiments.common.files import read_json
from llm.export import export
from llm.pipeline import Pipeline
from llm.report import summary
from llm.run import composed
from llm.settings import Settings, build
from llm.stages import answer as iterates
from spac_theory.checks import InputError


def settings(*overrides):
    return build(Settings, composed("run", *overrides))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small run of two rounds: its overrides, folder and results."""
    folder = tmp_path_factory.mktemp("run")
    overrides = [f"run_dir={folder}", *SMALL, "data.language.demonstrations=256"]
    return overrides, folder, Pipeline(settings(*overrides), note=lambda text: None)()


def test_the_answer_is_what_was_asked_for(finished):
    overrides, folder, results = finished
    expected = {
        "last": ["spac/round-02/train/model"],
        "mixture": ["sft/model", "spac/round-01/train/model"],
    }
    values = [r["suboptimality"] for r in results["spac"]]
    expected["best"] = [f"spac/round-{1 + values.index(min(values)):02d}/train/model"]
    for iterate, models in expected.items():
        Pipeline(settings(*overrides, f"iterate={iterate}"), note=lambda text: None)()
        assert read_json(folder / "spac" / "answer.json") == {"iterate": iterate, "models": models}
        assert iterates.models_of(str(folder / "spac")) == [str(folder / m) for m in models]


def test_the_value_of_the_mixture_is_the_mean_of_its_values(finished):
    _, _, results = finished
    played = [results["sft"][0]["value"], results["spac"][0]["value"]]
    row = summary(results, "mixture")["spac"]
    assert row["value"] == pytest.approx(sum(played) / 2, abs=1e-6)
    assert row["suboptimality"] == pytest.approx(1 - row["value"])
    assert summary(results, "best")["spac"]["suboptimality"] == pytest.approx(
        min(r["suboptimality"] for r in results["spac"])
    )
    assert summary(results, "last")["spac"]["value"] == results["spac"][-1]["value"]


def test_a_mixture_is_exported_as_its_components(finished, tmp_path):
    overrides, folder, _ = finished
    Pipeline(settings(*overrides, "iterate=mixture"), note=lambda text: None)()
    export(folder / "spac", tmp_path / "out")
    assert read_json(tmp_path / "out" / "mixture.json") == {
        "component-01": 0.5,
        "component-02": 0.5,
    }
    stored = (tmp_path / "out" / "component-02" / "model.safetensors").read_bytes()
    assert stored == (folder / "spac/round-01/train/model/model.safetensors").read_bytes()
    card = (tmp_path / "out" / "component-02" / "README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    assert (header["base_model"], header["license"]) == ("tiny", "other")
    assert 'model="out, component-02"' not in card
    assert "| data | a synthetic language (coverage 0.1, " in card
    assert "```python" in card
    with pytest.raises(InputError, match="holds no model"):
        export(tmp_path, tmp_path / "other")


def test_a_mixture_draws_each_response_from_one_of_its_engines():
    asked = []

    def engine(number):
        def draw(prompts, seed):
            asked.append(len(prompts))
            return [[[number, *p, k] for k in range(3)] for p in prompts]

        return draw

    prompts = [[5 + i] for i in range(200)]
    answers = iterates.MixtureEngine([engine(0), engine(1)], samples=3)(prompts, seed=7)
    for prompt, row in zip(prompts, answers, strict=True):
        assert [ids[1:] for ids in row] == [[*prompt, k] for k in range(3)]
    share = torch.tensor([[ids[0] for ids in row] for row in answers]).double().mean()
    assert abs(float(share) - 0.5) < 4 * 0.5 / 600**0.5
    assert max(asked) < 200  # no engine draws for rows that do not need it
    assert answers == iterates.MixtureEngine([engine(0), engine(1)], samples=3)(prompts, seed=7)


def test_best_needs_something_to_choose_by():
    with pytest.raises(
        InputError, match=r"iterate is 'best', data\.test_split is null and data\.test_share is 0"
    ):
        settings(
            "data=file", "data.source=x.jsonl", "data.test_share=0", "iterate=best", "sft=null"
        )
