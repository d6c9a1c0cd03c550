"""The diagnosis of preference rows, from checked settings to a page."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import torch
from rich.console import Console

from experiments.common.figure import save
from experiments.common.files import write_atomically, write_text
from experiments.common.table import show_paths
from experiments.engine.specs import Spec
from experiments.studies.diagnosis import exports, page, picture
from experiments.studies.diagnosis.evidence import gather_evidence
from experiments.studies.diagnosis.learned import judge, learn
from experiments.studies.diagnosis.logs import Settings
from experiments.studies.diagnosis.rows import RowProblem, make_problem, pair_fit
from experiments.studies.diagnosis.strata import posterior, strata
from experiments.studies.diagnosis.verdicts import Stand
from llm.data.comparisons import read
from spac_theory import InputError


def diagnose_rows(
    settings: Settings, specs: dict[str, Spec], output: Path, console: Console
) -> bool:
    """Read, learn, judge, write; what cannot treat rows is said, with the reason. Whether all did."""
    data = read(settings.data, settings.reading)
    problem = make_problem(
        data, settings.features, settings.rows, settings.norm_bound, settings.delta
    )
    found = find(problem, specs, settings)
    paths = write(found, settings, output)
    show(found, console)
    show_paths(paths, console)
    return not found.lesson.failed


def find(problem: RowProblem, specs: dict[str, Spec], settings: Settings) -> page.Findings:
    """Learn from the prompts that are not held out to be tested, from all to be used."""
    data, lesson = problem.data, learn(problem, specs, problem.counts)
    learned = lesson.learned
    if not learned:
        reasons = "; ".join(f"{k}: {v}" for k, v in (lesson.left | lesson.failed).items())
        raise InputError(
            f"algorithm holds none that preference rows can be treated with ({reasons})."
        )
    tested = learn(problem, {k: specs[k] for k in learned}, data.counts(problem.learned)).learned
    rewards = {label: fit.reward for label, fit in tested.items() if fit.reward is not None}
    policies = {"recorded ν": problem.view.baseline} | {k: v.policy for k, v in learned.items()}
    judged = judge(problem.view, problem.counts, policies)
    theta = fitted(problem)
    reward = data.sets.spread(problem.phi @ theta)
    gains = {
        label: float((problem.view.rho[:, None] * (policy - problem.view.baseline) * reward).sum())
        for label, policy in policies.items()
    }
    stand = Stand(
        problem.n,
        {label: judged[label].report for label in learned},
        gains,
        {label: fit.lam for label, fit in learned.items()},
    )
    return page.Findings(
        problem,
        lesson,
        stand,
        judged,
        gains,
        gather_evidence(problem, rewards, settings.rows.permutations),
        strata(problem, policies[stand.best], theta, settings.rows.clusters),
        float(theta.norm()),
    )


def fitted(problem: RowProblem) -> torch.Tensor:
    """`θ (d,)` of the ridge fit to all comparisons."""
    return pair_fit(problem.differences(), problem.data.weight, problem.data.unit)


def show(found: page.Findings, console: Console) -> None:
    """The answer in words, then the tables."""
    for sentence in page.verdict(found):
        console.print(f"• {sentence}", markup=False, highlight=False)
    console.print()
    for table in page.tables(found, groups=6):
        table.show(console)
    for sentence in page.left_out(found.lesson):
        console.print(sentence, markup=False, highlight=False)


def write(found: page.Findings, settings: Settings, output: Path) -> list[Path]:
    """The page, its tables and figure, the policies, pairs to label, and best-of-K as rows."""
    problem, theta = found.problem, fitted(found.problem)
    queries = exports.disputed_pairs(
        problem, theta, posterior(problem, theta), settings.rows.queries
    )
    kept = exports.best_of_k(problem, found.learned[found.best].policy)
    texts = {
        "best_of_k.jsonl": exports.as_lines(kept),
        "label_next.jsonl": exports.as_lines(queries),
        "diagnosis.csv": pl.DataFrame(
            page.policy_rows(found), ["policy", *page.COLUMNS], orient="row"
        ).write_csv(),
        "coverage.csv": pl.DataFrame(
            page.group_rows(found), list(page.GROUP_HEADER), orient="row"
        ).write_csv(),
    }
    for name, text in texts.items():
        write_text(output / name, text)
    write_atomically(output / "policies.parquet", policy_table(found).write_parquet)
    pictures = save(picture.draw(found), output / "diagnosis", data=Path(str(settings.data)).name)
    files = [*texts, "policies.parquet", *(p.name for p in pictures)]
    told = [] if queries else ["`label_next.jsonl` is empty: of no prompt two answers may be best."]
    write_text(output / "diagnosis.md", page.markdown(found, files, told))
    return [output / name for name in ("diagnosis.md", *files)]


def policy_table(found: page.Findings) -> pl.DataFrame:
    """One row an answer: its key, its prompt's number, and its probability under each policy."""
    data = found.problem.data
    columns = {
        label: data.sets.gather(learned.policy).numpy() for label, learned in found.learned.items()
    }
    return pl.DataFrame(
        {"key": data.keys(), "prompt": data.prompt_of.numpy(), "answer": data.answers, **columns}
    )
