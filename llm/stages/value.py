"""The evaluate stage: exact values on a language, held-out preference accuracy elsewhere."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from experiments.common.files import write_json
from llm.data.encode import prompt_ids, response_ids
from llm.files.failures import Diverged
from llm.methods.kinds import Decoding
from llm.models.assistants import ChatScorer
from llm.models.judges import finite_scores, load_judge
from llm.models.load import ModelSettings, load_model
from llm.settings import CYCLE, Settings
from llm.stages import decoded, measure
from llm.stages.directory import flatten
from llm.worlds import exact, sentiment
from llm.worlds.language import Language
from llm.worlds.referee import cyclic_exploitability
from llm.worlds.world import World, make_world


def evaluate(
    folder: Path,
    settings: Settings,
    tokenizer: Any,
    iterates: list[str],
    start: str,
    given: dict[str, int] | None = None,
    method: Decoding | None = None,
) -> dict[str, Any]:
    """Stage: a report on the last of `iterates` (`π_1 … π_{t+1}`), and on their mixture.

    What the method was `given` so far (labels, samples, steps) is part of the report. Exact on a language;
    elsewhere measured on held-out prompts, see :mod:`llm.stages.measure`.
    """
    if settings.data.language is not None:
        report = exact_report(folder, settings, tokenizer, iterates, start, method)
    elif method is not None:
        report = decoded.held_out(folder, bench(settings, tokenizer), start, method)
    else:
        report = measure.held_out(folder, bench(settings, tokenizer), iterates[-1], start)
    report |= given or {}
    if "mixture" in report:
        report["mixture"] |= given or {}
    bad = [k for k, v in flatten(report).items() if isinstance(v, float) and not math.isfinite(v)]
    if bad:
        raise Diverged(
            f"The {bad[0]} of the model at {iterates[-1]} is no finite number; its training went wrong, "
            "so lower train.learning_rate and choose another run_dir."
        )
    write_json(folder / "report.json", report)
    return {"report": "report.json", **report}


def language_of(settings: Settings) -> World | None:
    """The synthetic language of a run, if it has one."""
    s = settings.data.language
    return None if s is None else make_world(s.name, s.coverage, s.scale)


def table_of(language: World, path: str, model: ModelSettings, tokenizer: Any) -> torch.Tensor:
    """`log π(y|x)` of a saved iterate; kept beside the model, since later rounds need it again."""
    from safetensors.torch import load_file, save_file

    cache = Path(path).parent / "policy.safetensors"
    if cache.exists():
        return load_file(cache)["logps"]
    turns = [[{"role": "user", "content": p}] for p in language.prompts]
    table = exact.policy_table(
        load_model(path, model),
        [prompt_ids(tokenizer, turn) for turn in turns],
        [response_ids(tokenizer, turns[0], response) for response in language.responses],
    )
    from experiments.common.files import write_atomically

    write_atomically(cache, lambda p: save_file({"logps": table}, p))
    return table


def exact_report(
    folder: Path,
    settings: Settings,
    tokenizer: Any,
    iterates: list[str],
    start: str,
    method: Decoding | None = None,
) -> dict[str, Any]:
    """Exact numbers of the last iterate, and the value of the uniform mixture of all of them.

    A decoder may give some responses no mass at all; what that makes infinite is left out.
    """
    language = language_of(settings)
    assert language is not None
    assert settings.data.language is not None
    pairs = language.sample_pairs(settings.data.language.pairs, settings.seed)
    tables = [table_of(language, path, settings.model, tokenizer) for path in iterates]
    first = table_of(language, start, settings.model, tokenizer)
    if method is not None:
        base = load_model(start, settings.model)
        tables = [decoded.table(base, language, tokenizer, method)]
    report = exact.report(language, tables[-1], first, pairs)
    played = tables[:-1] or tables  # theory: π̄ averages π_1 … π_T
    mixture = torch.stack([exact.closed(t) for t in played]).mean(0)
    best = report["value"] + report["suboptimality"]
    report["mixture_value"] = exact.table_value(language, mixture)
    report["mixture_suboptimality"] = best - report["mixture_value"]
    inside = mixture[:, : first.shape[-1]].log()
    mixed = exact.report(language, inside, first, pairs)
    if settings.judge == CYCLE:
        assert isinstance(language, Language)
        report["exploitability"] = cyclic_exploitability(language, exact.closed(tables[-1]))
        mixed["exploitability"] = cyclic_exploitability(language, mixture)
    if method is not None:
        report, mixed = (
            {k: v for k, v in found.items() if math.isfinite(v)} for found in (report, mixed)
        )
    return {**report, "mixture": mixed}


def bench(settings: Settings, tokenizer: Any) -> measure.Bench:
    """What every policy of a run is measured with; sentiment knows its reward, others may have a judge."""
    return measure.Bench(
        run=Path(settings.run_dir),
        model=settings.model,
        tokenizer=tokenizer,
        generation=settings.generation,
        evaluation=settings.evaluation,
        batch=settings.reference_batch,
        seed=settings.seed,
        scorer=scorer(settings),
        tokens=settings.train.scoring,
    )


def scorer(settings: Settings) -> measure.Scorer | None:
    """Who scores answers to held-out prompts: the known reward, else the run's judge, else nobody."""
    if settings.data.sentiment is not None:
        return sentiment.score
    if settings.judge is None:
        return None
    judge = load_judge(settings.judge)
    if isinstance(judge, ChatScorer):  # it may not answer: it labels, and reports no values
        return None
    return lambda prompts, answers: finite_scores(judge, list(prompts), list(answers))
