"""`python -m llm.evaluate MODEL…`: Open LLM Leaderboard tasks, base first, with standard errors.

Example: `python -m llm.evaluate BASE runs/x/spac/round-01/train/model --suite leaderboard`. The
harness version is recorded; only scores of one version and batch size can be compared, so always
score the base in the same call. `--suite local` needs no download.

With `--judge` (a reward model's folder or `module:function`) and `--prompts`, the win rate of every
model against the first is printed instead.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.common.files import write_json
from experiments.common.program import guarded
from llm.files import processes
from llm.models.load import adapter_base
from llm.stages.answer import models_of
from spac_theory.checks import InputError, integer

TASKS = Path(__file__).resolve().parent.parent / "conf" / "llm" / "tasks"


@dataclass(frozen=True)
class Task:
    """A harness task, its number of shots, and the metric that counts."""

    name: str
    shots: int
    metric: str


# Open LLM Leaderboard, first version: shots and metrics of the harness's own `openllm` group.
LEADERBOARD = (
    Task("arc_challenge", 25, "acc_norm,none"),
    Task("hellaswag", 10, "acc_norm,none"),
    Task("mmlu", 5, "acc,none"),
    Task("truthfulqa_mc2", 0, "acc,none"),
    Task("winogrande", 5, "acc,none"),
    Task("gsm8k", 5, "exact_match,strict-match"),
)
SUITES = {"leaderboard": LEADERBOARD, "local": (Task("flattery", 0, "acc,none"),)}


def evaluate_model(
    path: str, tasks: tuple[Task, ...], batch: int, limit: int | None
) -> dict[str, Any]:
    """Score and standard error of each task for the model at `path`."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    local = all((TASKS / f"{task.name}.yaml").exists() for task in tasks)
    manager = TaskManager(include_path=str(TASKS), include_defaults=not local)
    where = single(path)
    model = HFLM(
        batch_size=batch, dtype="auto", device=processes.device(), trust_remote_code=False, **where
    )
    scores = {}
    for task in tasks:
        try:
            out = simple_evaluate(
                model=model,
                tasks=[task.name],
                num_fewshot=task.shots,
                task_manager=manager,
                limit=limit,
                random_seed=0,
                numpy_random_seed=1234,
                torch_random_seed=1234,
                fewshot_random_seed=1234,
            )
        except ConnectionError as error:
            raise InputError(
                f"The questions of {task.name} come from the hub, which cannot be reached; run where it can, "
                "or give --suite local."
            ) from error
        scores[task.name] = pick(out["results"], task)
    return scores


CONFIGURATIONS = ("config.json", "adapter_config.json")


def check(arguments: argparse.Namespace) -> None:
    """Refuse numbers below 1, and folders that are not there."""
    for field in ("batch", "limit", "max_new_tokens"):
        value = getattr(arguments, field)
        if value is not None:
            integer(f"--{field.replace('_', '-')}", value, low=1)
    for path in arguments.models:
        local = path.startswith((".", "/", "~")) or path.count("/") != 1
        if local and not Path(path).is_dir():
            raise InputError(
                f"{path} is no folder; name a folder with a model, or owner/name on the hub."
            )
        for model in models_of(path) if local else ():
            if not any((Path(model) / name).is_file() for name in CONFIGURATIONS):
                raise InputError(
                    f"{model} holds no model (neither {' nor '.join(CONFIGURATIONS)}); name a method's "
                    "folder of a finished run, or one of its train/model folders."
                )


def single(path: str) -> dict[str, str]:
    """How the harness is told of the one model behind `path`; an adapter is named with its base."""
    models = models_of(path)
    if len(models) > 1:
        raise InputError(
            f"{path} answers with a mixture of {len(models)} models; lm_eval scores one model, so "
            "name one train/model folder, or use --judge."
        )
    if (Path(models[0]) / "adapter_config.json").exists():
        return {"pretrained": adapter_base(models[0]), "peft": models[0]}
    return {"pretrained": models[0]}


def pick(results: dict[str, Any], task: Task) -> dict[str, float]:
    """The metric that counts, refused by name if this harness does not report it."""
    found = results[task.name]
    if task.metric not in found:
        raise InputError(
            f"lm_eval reports no {task.metric!r} for {task.name}; it reports: "
            f"{', '.join(k for k in found if ',' in k)}."
        )
    error = found.get(task.metric.replace(",", "_stderr,", 1))
    return {"score": float(found[task.metric]), "stderr": _number(error)}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def table(scores: dict[str, dict[str, Any]], tasks: tuple[Task, ...]) -> Any:
    """Models down, tasks across, standard errors beside the scores."""
    from rich.table import Table

    grid = Table(title=f"lm_eval {importlib.metadata.version('lm_eval')}")
    grid.add_column("model")
    for task in tasks:
        grid.add_column(f"{task.name} ({task.shots})", justify="right")
    for model, row in scores.items():
        cells = [f"{row[t.name]['score']:.4f} ± {row[t.name]['stderr']:.4f}" for t in tasks]
        grid.add_row(model, *cells)
    return grid


def judge(arguments: argparse.Namespace) -> None:
    """Print and store the win rates of all models but the first against the first."""
    from rich.console import Console
    from rich.table import Table

    from llm import judging
    from llm.data.held_out import question
    from llm.models.judges import finite_scores, load_judge

    if arguments.prompts is None or len(arguments.models) < 2:
        raise InputError(
            f"judge is {arguments.judge!r} with {len(arguments.models)} models and prompts "
            f"{arguments.prompts!r}; it needs --prompts and at least two models, the base first."
        )
    prompts = judging.read_prompts(arguments.prompts)[: arguments.limit]
    judge = load_judge(arguments.judge)
    finite_scores(judge, [question(p) for p in prompts[:1]], ["An answer."])
    rates = judging.compare(
        arguments.models,
        judge,
        prompts,
        arguments.max_new_tokens,
        arguments.batch,
    )
    grid = Table(title=f"Win rate against {arguments.models[0]}, judge {arguments.judge}")
    for column in ("model", "win rate", "ties", "prompts"):
        grid.add_column(column)
    for path, found in rates.items():
        rate = f"{found.rate:.4f} ± {found.stderr:.4f}"
        grid.add_row(path, rate, str(found.ties), str(found.prompts))
    Console(width=160).print(grid)
    if arguments.output:
        record = {name: asdict(rate) for name, rate in rates.items()}
        write_json(
            Path(arguments.output),
            {"judge": arguments.judge, "base": arguments.models[0], "win_rates": record},
        )


def program(arguments: argparse.Namespace) -> None:
    """Score every model and print and store the table."""
    from rich.console import Console

    tasks = SUITES[arguments.suite]
    scores = {
        path: evaluate_model(path, tasks, arguments.batch, arguments.limit)
        for path in arguments.models
    }
    Console(width=160).print(table(scores, tasks))
    if arguments.output:
        version = importlib.metadata.version("lm_eval")
        record = {"lm_eval": version, "batch": arguments.batch, "limit": arguments.limit}
        write_json(Path(arguments.output), {**record, "scores": scores})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="llm.evaluate", description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", help="folders or hub names; name the base first")
    parser.add_argument("--suite", choices=sorted(SUITES), default="leaderboard")
    parser.add_argument("--batch", type=int, default=8, help="batch size, part of the record")
    parser.add_argument("--limit", type=int, default=None, help="only so many documents a task")
    parser.add_argument("--judge", help="a reward model's folder, or module:function")
    parser.add_argument("--prompts", help="rows with a prompt, for --judge")
    parser.add_argument("--max-new-tokens", type=int, default=512, help="for --judge")
    parser.add_argument("--output", default=None, help="write the scores to this JSON file")
    arguments = parser.parse_args()
    action = judge if arguments.judge else program

    def checked() -> None:
        check(arguments)
        action(arguments)

    sys.exit(guarded(checked))


if __name__ == "__main__":
    main()
