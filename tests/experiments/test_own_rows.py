"""Preference rows, from a file to a certified decision: the chain once, and its parts against plain loops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from experiments.common.program import composed
from experiments.engine.specs import resolve_algorithms
from experiments.studies.diagnosis import exports, page
from experiments.studies.diagnosis.evidence import gather_evidence
from experiments.studies.diagnosis.learned import curvature, learn
from experiments.studies.diagnosis.row_run import fitted
from experiments.studies.diagnosis.rows import RowProblem, RowSettings, make_problem, wilks_scale
from experiments.studies.diagnosis.run import diagnose
from experiments.studies.diagnosis.strata import posterior, strata
from llm import features, run
from llm.data.comparisons import read
from llm.data.formats import normalise
from llm.data.judgements import Reading
from llm.data.validate import Limits, prepare
from llm.worlds import tiny
from llm.worlds.world import MOODS, SYMBOLS, TOPICS
from spac_theory import InputError

OPTIONS = RowSettings(dimension=8, held_out=0.25, permutations=19, clusters=3, queries=5)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def made(path: Path, labels: str, prompts: int = 150, seed: int = 0) -> Path:
    """Rows whose labels follow the word "good", the length, or a coin."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(prompts):
        texts = []
        for k in range(3):
            words = ["plain"] * int(rng.integers(2, 9)) + ["good"] * int(rng.integers(0, 3))
            texts.append(" ".join([*words, f"{'abc'[k]}{number}"]))
        score = {"good": [t.count("good") for t in texts], "length": [len(t) / 9 for t in texts]}
        values = np.array(score.get(labels, [0.0] * 3)) * 1.5 + rng.logistic(size=3)
        row = {
            "answers": texts,
            "ratings": values.tolist(),
            "source": ["books", "films"][number % 2],
        }
        rows.append(
            {"prompt": f"Say something of {['tea', 'rain', 'iron'][number % 3]} {number}", **row}
        )
    return write(path, rows)


def problem_of(path: Path, **reading: Any) -> RowProblem:
    data = read(str(path), Reading(**reading))
    return make_problem(data, None, OPTIONS, None, 0.1)


def test_the_whole_chain_from_a_file_to_rows_to_train_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """File, features of a model, diagnosis, certified best-of-K as rows that the training path accepts."""
    rng = np.random.default_rng(0)
    lines = []
    for topic in TOPICS:
        for mood in MOODS:
            size = 3 + len(lines) % 2  # of three answers the last is a candidate that nobody judged
            texts = [" ".join(rng.choice(SYMBOLS, size=3)) for _ in range(size)]
            scores = [float(len(set(t.split())) + 0.1 * rng.logistic()) for t in texts]
            prompt = [{"role": "user", "content": f"{topic} {mood}"}]
            lines.append({"prompt": prompt, "answers": texts, "ratings": scores, "count": 4})
    rows = write(tmp_path / "rows.jsonl", lines)
    tokenizer = tiny.tokenizer()
    tiny.model(tokenizer, 0).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    states = tmp_path / "features.parquet"
    words = (f"data={rows}", f"model={tmp_path}/model", f"output={states}", "dimension=8")
    features.execute(composed("features", *words))
    words = (
        f"data={rows}",
        f"features={states}",
        "algorithm=[spac_sqrt_n,spac_constrained_wilks,mle_greedy,dpo,spac_t]",
    )
    out = tmp_path / "out"
    assert diagnose(composed("diagnose", *words, "rows.permutations=19"), out)
    shown = capsys.readouterr().out
    assert "Not run on these rows: spac_t (treats all answers" in " ".join(shown.split())
    assert "λ to use" in shown
    table = pl.read_csv(out / "diagnosis.csv")
    assert table["policy"].to_list() == [
        "recorded ν",
        "spac_sqrt_n",
        "spac_constrained_wilks",
        "mle_greedy",
        "dpo",
    ]
    policies = pl.read_parquet(out / "policies.parquet")
    sums = policies.group_by("prompt").agg(pl.col("spac_sqrt_n", "mle_greedy", "dpo").sum())
    np.testing.assert_allclose(sums.drop("prompt").to_numpy(), 1, atol=1e-9)
    kept = [json.loads(line) for line in (out / "best_of_k.jsonl").read_text().splitlines()]
    assert kept
    assert all(0 < row["weight"] <= 1 and row["chosen"] != row["rejected"] for row in kept)
    assert [normalise(row, i).chosen for i, row in enumerate(kept)]
    _, report = prepare(kept, tokenizer, Limits(16, 32, "drop"))
    assert report["counts"]["kept"] == len(kept)
    words = (f"data.source={out}/best_of_k.jsonl", "data=file", "data.max_length=32", "rounds=1")
    words += ("data.max_prompt_length=16", "generation.max_new_tokens=4", "model=local", "sft=null")
    words += (f"model.name={tmp_path}/model", f"run_dir={tmp_path}/run", "train.batch=4")
    words += ("train.micro_batch=4", "methods=spac")
    assert run.execute(run.composed("run", *words))
    assert list(tmp_path.glob("run/spac/round-01/train/model/*.safetensors"))
    used = pl.read_parquet(tmp_path / "run/spac/round-01/reference/streams.parquet")["row_weight"]
    assert set(used) <= {row["weight"] for row in kept}
    assert used.n_unique() > 1
    queries = [json.loads(line) for line in (out / "label_next.jsonl").read_text().splitlines()]
    assert queries[0]["standard_deviation"] >= queries[-1]["standard_deviation"] > 0
    text = (out / "diagnosis.md").read_text()
    assert all(name in text for name in ("# What these preferences", "C_γ", "best_of_k.jsonl"))
    assert (out / "diagnosis.png").stat().st_size > 10_000


def test_algorithms_that_need_no_more_than_features_are_run_and_the_others_say_why(
    tmp_path: Path,
) -> None:
    """Every algorithm of the library on prompts with two to four answers, ties among them."""
    lines = [
        {"prompt": f"p{i}", "answers": [f"a{i}", "good", f"c{i}", f"d{i}"][: 2 + i % 3],
         "ratings": [1, 1 + i % 2, 2, 0][: 2 + i % 3]}
        for i in range(40)
    ]  # fmt: skip
    problem = problem_of(write(tmp_path / "rows.jsonl", lines))
    every = ",".join(p.stem for p in Path("conf/algorithm").glob("*.yaml"))
    specs = resolve_algorithms(composed("diagnose", f"algorithm=[{every}]")["algorithm"])
    lesson = learn(problem, specs, problem.counts)
    assert not lesson.failed
    alike = {"uniform", "simpo", "sapo", "spac_t", "spac_t_last"}
    asking = {"drpo", "online_dpo", "vpo_online", "xpo", "sim_oprl", "spac_oracle"}
    assert set(lesson.left) == alike | asking | {"spac_held_out", "spin", "spo"}
    assert len(lesson.learned) == len(specs) - len(lesson.left) >= 25
    for label, fit in lesson.learned.items():
        torch.testing.assert_close(fit.policy.sum(-1), torch.ones(40).double(), msg=label)
        assert float(fit.policy[~problem.data.sets.real].abs().sum()) == 0
    told = page.left_out(lesson)
    assert any("uniform" in s and "treats all answers" in s for s in told)
    assert any(s.startswith("Not run on these rows: spac_held_out (holds out whole") for s in told)


def test_the_class_is_named_without_a_look_at_the_labels(tmp_path: Path) -> None:
    """The default bound is the same for other labels, and a fit outside of it is said."""
    rows = [{"prompt": f"p{i}", "chosen": f"good {i}", "rejected": f"b {i}"} for i in range(60)]
    turned = [{**r, "chosen": r["rejected"], "rejected": r["chosen"]} if i % 2 else r
              for i, r in enumerate(rows)]  # fmt: skip
    problems = [problem_of(write(tmp_path / f"{k}.jsonl", r)) for k, r in enumerate((rows, turned))]
    bounds = [p.view.reward_class.norm_bound for p in problems]
    assert bounds == [2.0, 2.0]
    words = (f"data={tmp_path}/0.jsonl", "algorithm=[mle_greedy]", "rows.permutations=0")
    for bound, outside in (("50", False), ("0.5", True)):
        diagnose(composed("diagnose", *words, f"norm_bound={bound}"), tmp_path / "out")
        text = (tmp_path / "out/diagnosis.md").read_text()
        assert ("the class may be too small" in text) == outside


def test_signal_is_found_and_length_is_told_from_it(tmp_path: Path) -> None:
    words = problem_of(made(tmp_path / "good.jsonl", "good", 800))
    found = gather_evidence(words, {}, OPTIONS.permutations)
    assert found.p_value is not None
    assert found.p_value <= 0.1
    assert found.agreement["features"].right.low > 0.5
    assert not found.length_alone
    long = problem_of(made(tmp_path / "long.jsonl", "length", 800))
    found = gather_evidence(long, {}, 0)
    assert found.p_value is None
    assert found.longer_wins is not None
    assert found.longer_wins.low > 0.5
    assert found.length_alone
    assert sum(b.comparisons for b in found.bins) == int(long.held.sum())


def test_a_coin_is_said_to_be_one(tmp_path: Path) -> None:
    """With labels of a coin the p-value is about uniform, and the words say that nothing was found."""
    values = []
    for seed in range(10):
        problem = problem_of(made(tmp_path / f"{seed}.jsonl", "coin", 60, seed))
        found = gather_evidence(problem, {}, 19)
        assert found.p_value is not None
        values.append(found.p_value)
        if found.p_value > page.SURE:
            assert page._signal(found).startswith("No signal")
    assert 0.2 < float(np.mean(values)) < 0.8
    assert sum(v <= 0.1 for v in values) <= 4


def test_pairs_to_label_are_those_of_a_loop(tmp_path: Path) -> None:
    """No pair of plausible best answers at an asked prompt is more uncertain than the one asked about."""
    problem = problem_of(made(tmp_path / "rows.jsonl", "good"))
    theta = fitted(problem)
    covariance = posterior(problem, theta)
    rows = exports.disputed_pairs(problem, theta, covariance, 5)
    assert len(rows) == 5
    phi = {
        (str(problem.data.prompts[x]), answer): phi.numpy()
        for x, answer, phi in zip(
            problem.data.prompt_of, problem.data.answers, problem.phi, strict=True
        )
    }
    for row in rows:
        gap = phi[row["prompt"], row["answer_a"]] - phi[row["prompt"], row["answer_b"]]
        assert row["standard_deviation"] == pytest.approx(
            float(np.sqrt(gap @ covariance.numpy() @ gap)), abs=1e-4
        )
    hessian = np.eye(len(theta))
    for x, w, l in zip(problem.data.context, problem.data.winner, problem.data.loser, strict=True):
        table = problem.view.reward_class.features[x].numpy()
        gap = table[w] - table[l]
        p = 1 / (1 + np.exp(-gap @ theta.numpy()))
        hessian += p * (1 - p) * np.outer(gap, gap)
    np.testing.assert_allclose(covariance, np.linalg.inv(hessian), atol=1e-8)


def test_pessimistic_likelihood_gets_the_radius_of_wilks(tmp_path: Path) -> None:
    from scipy import stats

    from spac_theory import make_algorithm

    problem = problem_of(made(tmp_path / "rows.jsonl", "good"))
    bend = curvature(problem)
    scale = wilks_scale(problem, problem.counts, bend)
    radius = make_algorithm("pessimistic_mle", scale=scale)._radius(problem.view, problem.counts.n)
    d = problem.phi.shape[1]
    assert float(radius) == pytest.approx(np.sqrt(stats.chi2.ppf(0.9, d) / (problem.n * bend)))


def test_best_of_k_leaves_out_what_is_not_known(tmp_path: Path) -> None:
    problem = problem_of(made(tmp_path / "rows.jsonl", "good", 20))
    assert exports.best_of_k(problem, problem.view.baseline) == []
    one = torch.nn.functional.one_hot(problem.view.baseline.argmax(-1), problem.data.sets.width)
    rows = exports.best_of_k(problem, one.double())
    assert len(rows) == 20
    assert {row["weight"] for row in rows} == {0.5}


def test_groups_are_by_source_length_and_words(tmp_path: Path) -> None:
    problem = problem_of(made(tmp_path / "rows.jsonl", "good"))
    found = strata(problem, problem.view.reference, fitted(problem), 3)
    kinds = {g.kind for g in found}
    assert kinds == {"source", "answer length", "prompts about"}
    assert {g.name for g in found if g.kind == "source"} == {"books", "films"}
    about = {g.name.split(",")[0] for g in found if g.kind == "prompts about"}
    assert about == {"tea", "rain", "iron"}
    assert sum(g.prompts for g in found if g.kind == "source") == 150
    assert [g.regularised for g in found] == sorted((g.regularised for g in found), reverse=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("features=none.parquet",), "features is 'none.parquet'"),
        (
            ("algorithm=[xpo,drpo]",),
            r"holds none that preference rows .*\(xpo: needs online labels",
        ),
        (("reading.ties=all",), "reading.ties is 'all'"),
        (("reading.columns.prompt=q",), "Line 1 has no column 'q'"),
        (("rows.held_out=1",), "rows.held_out is 1"),
        (("rows.dimension=0",), "rows.dimension is 0"),
        (("rows.permutations=9",), "permutations is 9; it must be 0, or at least 19"),
        (("norm_bound=-1",), "norm_bound is -1"),
    ],
)
def test_bad_settings_are_one_sentence(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    rows = made(tmp_path / "rows.jsonl", "good", 5)
    with pytest.raises(InputError, match=message):
        diagnose(composed("diagnose", f"data={rows}", *words), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_prompt_is_refused(tmp_path: Path) -> None:
    rows = made(tmp_path / "rows.jsonl", "good", 1)
    with pytest.raises(InputError, match="data has 1 prompt"):
        problem_of(rows)
    same = write(tmp_path / "same.jsonl", [{"prompt": "p", "chosen": "a", "rejected": "b"}] * 50)
    with pytest.raises(InputError, match=r"50 judgements, 49 duplicate\)"):
        problem_of(same)
    assert problem_of(made(rows, "good", 4), duplicates="keep").data.cleaning.repeated == 0


def test_answers_of_one_length_and_rows_that_are_kept_twice_are_said(tmp_path: Path) -> None:
    lines = [
        {"prompt": f"p{i:02d}", "chosen": f"a{i:02d}", "rejected": f"b{i:02d}"} for i in range(30)
    ]
    problem = problem_of(write(tmp_path / "rows.jsonl", lines * 2), duplicates="keep")
    assert "30 repeated" in problem.data.cleaning.words()
    assert problem.n == 60
    found = gather_evidence(problem, {}, 0)
    assert found.longer_wins is None
    assert "of one length" in page._length(found)


def test_the_commands_of_the_page_name_settings_that_there_are() -> None:
    """Every command line of the page is composed by the program it names."""
    page_of = Path(__file__).parents[2] / "docs/own_data.md"
    lines = [line for line in page_of.read_text().splitlines() if line.startswith("    python -m ")]
    for line in lines:
        program, *words = line.partition("#")[0].split()[2:]
        words = [w if "=" in w else f"data={w}" for w in words]  # a bare word names the data
        if program == "llm.run":
            assert run.composed("run", *words)["sft"] is None
        else:
            assert composed(program.rpartition(".")[2], *words)["data"] == "rows.jsonl"
    assert len(lines) == 3
