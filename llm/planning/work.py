"""The arithmetic, the hours and the disk of a run."""

from __future__ import annotations

from llm.methods import Following, Method
from llm.planning.memory import GIB, STATE, Hardware
from llm.planning.reading import answers, critics, is_following, rows_load, sampled
from llm.planning.size import Size
from llm.settings import Settings

Parts = dict[str, float]


def arithmetic(settings: Settings, size: Size, rows: int, tokens: float) -> Parts:
    """FLOP a round of the dearest method: `rows` pairs with `tokens` tokens a sequence, prompt included."""
    found = [_work(settings, method, size, tokens) for method in settings.methods.values()]
    return {k: v * rows for k, v in max(found, key=lambda parts: sum(parts.values())).items()}


def _work(settings: Settings, method: Method, size: Size, tokens: float) -> Parts:
    """The same of one method and a pair."""
    train, streams = settings.training(method), settings.streams(method)
    load = rows_load(settings, tokens, answers(method.trained(streams)))
    read = size.cost.forward(load)
    again = read if train.gradient_checkpointing else 0.0
    parts = {
        "reference pass": read,
        "training": (size.cost.training(load) + again) * train.epochs,
    }
    return parts | (_critic_work(settings, method, size, tokens) if is_following(method) else {})


def _critic_work(settings: Settings, method: Following, size: Size, tokens: float) -> Parts:
    """A critic's training, the scores of all critics so far, and the fits' share of a round."""
    own, streams, rounds = method.critic(), settings.streams(method), settings.rounds

    def read(count: int) -> float:
        return size.cost.forward(rows_load(settings, tokens, count))

    everything = rows_load(settings, tokens, answers(streams))
    if own.network == "head":  # every answer is read once; a head on its states costs nothing
        return {"critic": read(answers(streams))}
    again = settings.training(method).gradient_checkpointing

    def trained(forward: float) -> float:
        """With its gradient, relative to a forward pass as everywhere in this model."""
        passes = size.cost.training(everything) / size.cost.forward(everything) + again
        return passes * forward

    sampled = answers(s for s in streams if s.labels == "critic")
    fits = trained(read(2)) * (1 - 1 / own.folds) * own.fit_epochs + read(2)
    judged = 2 * read(answers(streams))  # before and after
    return {
        "critic": trained(read(answers(streams))) * own.epochs + judged,
        "critics' rewards": read(sampled) * (rounds + 1) / 2,
        "held-out fits (most)": own.folds * fits / rounds,
    }


def hours(settings: Settings, size: Size, hardware: Hardware, rows: int, tokens: float) -> Parts:
    """Hours a round for sampling, reference pass and training."""
    speed = hardware.peak * hardware.mfu * hardware.gpus
    parts = {k: v / speed / 3600 for k, v in arithmetic(settings, size, rows, tokens).items()}
    samples = rows * sampled(settings) * settings.generation.max_new_tokens
    generation = samples / (hardware.generated_tokens * hardware.gpus) / 3600
    return {"sampling (upper bound)": generation, **parts}


def disk(settings: Settings, size: Size) -> float:
    """GiB of the run directory: all iterates and critics, and two checkpoints."""
    weights = 4 * size.trained
    checkpoint = weights + STATE[settings.train.optimiser] * size.trained
    kept = settings.rounds * len(settings.methods) + critics(settings)
    return (kept * weights + 2 * checkpoint) / GIB
