"""What is claimed of the language-model path; it is imported only when a claim runs."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from experiments.claims import CLAIMS, Outcome


@CLAIMS.register("kills_change_nothing")
def kills_change_nothing(size: str) -> Outcome:
    """A killed run of the language-model pipeline, started again, ends as if nothing had happened.

    Killed by SIGKILL at random moments of every stage (prepare, fine-tuning, self-play, reference,
    training, evaluation), it has the same manifest and the same rows as an undisturbed run, and
    final losses equal to 1e-5.
    """
    from experiments.claims.kills import kill_and_compare

    with tempfile.TemporaryDirectory() as folder:
        outcome = kill_and_compare(Path(folder), kills=24 if size == "full" else 2, seed=0)
    return Outcome(outcome.holds, outcome.describe())


@CLAIMS.register("language_model_edge")
def language_model_edge(size: str) -> Outcome:
    """SPAC beats DPO with a fixed reference in a language model, and not DPO with a moving one.

    On the language where extrapolation misleads (coverage 0.1, three rounds of six passes), each method at
    the setting chosen on seed 0 and run on seeds that the earlier chart of docs/llm.md does not use: the mean
    suboptimality of SPAC (λ = 3) is below that of DPO with a fixed reference (β = 1), and that of DPO
    with the reference moved every round (β = 1) is no higher than SPAC's. (Small: one seed, n = 1000,
    one round, the first half alone.)
    """
    from llm.comparison.cells import run_cell
    from llm.comparison.setting import Cell, Setting
    from llm.run import composed, quiet

    quiet()
    full = size == "full"
    cell = Cell("misleads", 0.1, 3000 if full else 1000)
    spac, fixed, moving = methods = [
        Setting.of("spac", {"lam": 3.0}),
        Setting.of("dpo", {"beta": 1.0}),
        Setting.of("moving-dpo", {"beta": 1.0}),
    ]
    seeds = range(6, 11) if full else [6]
    values = composed("chart", f"rounds={3 if full else 1}", "train.epochs=6")
    values.pop("chart")
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            run_cell(values, Path(folder), cell, seed, methods if full else methods[:2])
            for seed in seeds
        ]
    mean = {
        setting: statistics.fmean(run[setting][-1]["suboptimality"] for run in runs)
        for setting in methods
        if setting in runs[0]
    }
    holds = mean[spac] < mean[fixed] and (not full or mean[moving] <= mean[spac])
    text = ", ".join(f"{setting.label} {value:.3f}" for setting, value in mean.items())
    return Outcome(holds, f"mean suboptimality, n = {cell.n}, {len(runs)} seeds: {text}")
