"""Preference rows that were made up, so that the reward is known; and what the diagnosis must find in them.

Prompts are of twelve topics. The two to four answers of a prompt were compared once, and their true reward is
linear in features. Eight topics have besides a style of their own: sampled candidates have it, nobody judged
them but in a handful of comparisons, and it is worse than it looks.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from experiments.claims import CLAIMS, Outcome
from experiments.common.configuration import read as configured
from experiments.common.program import composed
from experiments.engine.specs import resolve_algorithms
from experiments.studies.diagnosis.logs import Settings
from experiments.studies.diagnosis.page import Findings
from experiments.studies.diagnosis.row_run import find
from experiments.studies.diagnosis.rows import make_problem
from llm.data.comparisons import read
from spac_theory.keys import generator

TOPICS = ("cooking", "travel", "chess", "music")
STYLED = ("poetry", "law", "surgery", "sailing", "physics", "slang", "satire", "prayer")
STYLE, LOOKS = -0.5, 2.0  # true reward of a style's feature, and how much of it a candidate has
JUDGED = 2  # comparisons of each style
ALGORITHMS = ("spac_sqrt_n", "pessimistic_mle", "mle_greedy", "dpo", "behaviour_cloning")


@dataclass(frozen=True)
class Made:
    """Files of rows and features, and the true reward of each answer by (prompt, answer)."""

    rows: Path
    features: Path
    reward: dict[tuple[str, str], float]


def make_rows(folder: Path, prompts: int, shared: int, seed: int) -> Made:
    """Write rows of `prompts` prompts with `shared` features, and one more for every style."""
    rng = generator("own rows", prompts, shared, seed)
    theta = np.concatenate([rng.normal(size=shared) / np.sqrt(shared), np.full(len(STYLED), STYLE)])
    left = dict.fromkeys(STYLED, JUDGED)
    lines: list[dict[str, object]] = []
    table: list[tuple[str, str, np.ndarray]] = []
    for number in range(prompts):
        topic = str(rng.choice([*TOPICS, *STYLED]))
        prompt = f"A question on {topic}, number {number}"
        row, features = _row(rng, prompt, topic, theta, left)
        lines.append(row)
        table += [(prompt, text, phi) for text, phi in features.items()]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    phi = np.stack([f for *_, f in table])
    columns: dict[str, Any] = {"prompt": [p for p, *_ in table], "answer": [a for _, a, _ in table]}
    columns |= {f"x{i}": phi[:, i] for i in range(phi.shape[1])}
    pl.DataFrame(columns).write_parquet(folder / "features.parquet")
    reward = {(p, a): float(f @ theta) for p, a, f in table}
    return Made(folder / "rows.jsonl", folder / "features.parquet", reward)


def _row(
    rng: np.random.Generator, prompt: str, topic: str, theta: np.ndarray, left: dict[str, int]
) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """One row and the features of its answers."""
    size, styled = int(rng.integers(2, 5)), topic in left
    texts = [" ".join(["word"] * int(rng.integers(3, 40))) + f" {i}" for i in range(size + styled)]
    phi = rng.normal(size=(len(texts), len(theta)))
    phi[:, len(theta) - len(left) :] = 0
    if styled:
        phi[-1, len(theta) - len(left) + list(left).index(topic)] = LOOKS
    first, second = rng.choice(size, 2, replace=False)
    if styled and left[topic]:
        left[topic] -= 1
        second = size  # the candidate, for once
    wins = rng.random() < 1 / (1 + np.exp(-(phi[first] - phi[second]) @ theta))
    chosen, rejected = (first, second) if wins else (second, first)
    row = {
        "prompt": prompt,
        "chosen": texts[chosen],
        "rejected": texts[rejected],
        "candidates": texts,
        "source": topic,
    }
    return row, dict(zip(texts, phi, strict=True))


def diagnosed(made: Made, *overrides: str) -> Findings:
    """The findings of `experiments.diagnose` on rows that were made up."""
    words = (
        f"data={made.rows}",
        f"features={made.features}",
        f"algorithm=[{','.join(ALGORITHMS)}]",
    )
    settings = configured(Settings, composed("diagnose", *words, *overrides))
    data = read(settings.data, settings.reading)
    problem = make_problem(data, settings.features, settings.rows, None, settings.delta)
    return find(problem, resolve_algorithms(settings.algorithm), settings)


@dataclass(frozen=True)
class Checked:
    """True gains over ν and losses against the best answer, by policy; claims that were false; groups."""

    gains: dict[str, float]
    losses: dict[str, float]
    violations: int
    least_covered: list[str]


def check(made: Made, found: Findings) -> Checked:
    """Hold what was found against the reward."""
    problem, data = found.problem, found.problem.data
    prompts = (str(data.prompts[x]) for x in data.prompt_of.tolist())
    true = [made.reward[p, a] for p, a in zip(prompts, data.answers, strict=True)]
    reward = data.sets.spread(problem.phi.new_tensor(true))
    rho, nu = problem.view.rho[:, None], problem.view.baseline
    best = float((problem.view.rho * reward.amax(-1)).sum())
    values = {k: float((rho * v.policy * reward).sum()) for k, v in found.learned.items()}
    base = float((rho * nu * reward).sum())
    gains = {k: v - base for k, v in values.items()}
    violations = sum(
        bound > gains[k] + 1e-9
        for k in gains
        for bound in (
            found.judged[k].report.improvement,
            found.judged[k].report.improvement_asymptotic,
        )
    )
    groups = [g.name for g in found.groups if g.kind == "source"]
    losses = {k: best - v for k, v in values.items()}
    return Checked(gains, losses, violations, groups)


SIZES = {"small": (3, 600, 6), "full": (10, 3000, 24), "real": (1, 60_000, 56)}


@CLAIMS.register("own_data_in_words")
def own_data_in_words(size: str) -> Outcome:
    """What the diagnosis says of a file of preferences is true of the reward behind it.

    On made-up rows with features that contain the reward, no lower bound on a gain, by the theorem or by
    Wilks' radius, exceeds the true gain; the least covered sources are styles that nobody judged; and
    best-of-K by SPAC loses less than that of greedy likelihood and DPO, in the mean over files and on a
    file of 60,000 prompts.
    """
    rounds = ["small"] if size == "small" else ["full", "real"]
    told, holds = [], True
    for name in rounds:
        files, prompts, shared = SIZES[name]
        checked = [_one(prompts, shared, seed) for seed in range(files)]
        losses = {k: float(np.mean([c.losses[k] for c in checked])) for k in checked[0].losses}
        false = sum(c.violations for c in checked)
        named = sum(set(c.least_covered[:4]) <= set(STYLED) for c in checked)
        spac, rivals = losses["spac_sqrt_n"], (losses["mle_greedy"], losses["dpo"])
        holds &= false == 0 and named == files and spac < min(rivals)
        words = ", ".join(f"{k} {v:.3f}" for k, v in losses.items())
        told.append(
            f"{files} of {prompts} prompts: {false} of {files * len(losses) * 2} bounds false, uncovered "
            f"styles named in {named}, loss {words}"
        )
    return Outcome(holds, "; ".join(told))


def _one(prompts: int, shared: int, seed: int) -> Checked:
    """One file, made, diagnosed, checked."""
    with tempfile.TemporaryDirectory() as folder:
        made = make_rows(Path(folder), prompts, shared, seed)
        words = (f"rows.dimension={shared + len(STYLED)}", "rows.permutations=0", "rows.clusters=1")
        return check(made, diagnosed(made, *words))
