"""The stages of a follower: held-out fits, their mean on every pair, and a round's critic.

`fit-k` trains on all pairs but those of fold `k` and stops on these; `fit` averages the fits on every
pair; `critic` answers `π_t` and reports what its answer is worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from llm.data.row import Row
from llm.files.digests import write_rows
from llm.methods import Following, Stream
from llm.models.load import ModelSettings, load_critic
from llm.models.packs import with_critic_packs
from llm.stages.label import Labeller
from llm.training.critic import CriticTrainer, StopOnHeldOut, critic_trainer, score_rows
from llm.training.fit import fit as run_to_the_end
from llm.training.settings import TrainSettings
from spac_theory.objective import game_value, preference_loss, relative_value

PAIR = ("chosen", "rejected")
LOOK_EVERY, PATIENCE = 10, 60


def _settings(train: TrainSettings, rate: float, epochs: float, decay: float) -> TrainSettings:
    """The policy's settings with what the critic has of its own; a constant rate."""
    return replace(
        train, learning_rate=rate, epochs=epochs, weight_decay=decay, schedule="constant", ema=0.0
    )


def folds_of(rows: int, folds: int, seed: int) -> torch.Tensor:
    """Which fold holds each row out, `(rows,)`."""
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    return order % folds


def fit_fold(
    folder: Path,
    number: int,
    rows: Sequence[Row],
    method: Following,
    start: str,
    train: TrainSettings,
    model: ModelSettings,
    tokenizer: Any,
    seed: int,
) -> dict[str, Any]:
    """Stage: the likeliest critic on all pairs but those of one fold, stopped on these."""
    from transformers import set_seed

    own, pad_id = method.critic(), tokenizer.pad_token_id
    fold = folds_of(len(rows), own.folds, seed)
    kept = [r for r, k in zip(rows, fold.tolist(), strict=True) if k != number]
    held = [r for r, k in zip(rows, fold.tolist(), strict=True) if k == number]
    set_seed(seed + number)  # the fresh head
    trainer = critic_trainer(
        load_critic(start, model, pad_id, trainable=True),
        kept,
        tuple(Stream(n, 1, "data") for n in PAIR),
        partial(method.critic_loss, lam=1.0),
        own.bound,
        replace(_settings(train, own.rate, own.fit_epochs, own.fit_decay), save_every=10**9),
        model,
        folder,
        pad_id,
        seed + number,
    )
    tokens = _scoring(trainer, train)
    stop = StopOnHeldOut(
        lambda m: _held_out(m, held, pad_id, own.bound, tokens), LOOK_EVERY, PATIENCE
    )
    trainer.add_callback(stop)
    out = run_to_the_end(trainer, folder, tokenizer, 0.0)
    return {**out, "held_out": stop.best, "stopped_at": stop.step}


def _scoring(trainer: CriticTrainer, train: TrainSettings) -> int:
    """Tokens of a pack that the critic scores; 0 where it reads padded rows."""
    collator: Any = trainer.data_collator
    return train.scoring if collator.packed else 0


def _held_out(model: Any, rows: Sequence[Row], pad_id: int, bound: float, tokens: int) -> float:
    scores = score_rows(model, rows, PAIR, pad_id, bound, 512, tokens)
    return float(preference_loss(_margins(scores)))


def _margins(scores: Sequence[Mapping[str, Sequence[float]]]) -> torch.Tensor:
    """`r(x,y⁺) − r(x,y⁻)` a row, `(n,)`."""
    return torch.tensor([s["chosen"][0] - s["rejected"][0] for s in scores], dtype=torch.float64)


def average(folder: Path, rows: Sequence[Row], fits: Any) -> dict[str, Any]:
    """Stage: `fit.parquet`, the mean reward `r̂` of the `fits` (a labeller) for every pair's answers."""
    labeller, count = fits, len(fits.paths)
    columns = [
        {f"score/{n}": [v / count for v in values] for n, values in zip(PAIR, pair, strict=True)}
        for pair in zip(*(labeller.scores(rows, n) for n in PAIR), strict=True)
    ]
    write_rows(folder / "fit.parquet", columns)
    return {"fit": "fit.parquet"}


def answer(
    folder: Path,
    rows: Sequence[Row],
    streams: tuple[Stream, ...],
    method: Following,
    lam: float,
    start: str,
    train: TrainSettings,
    model: ModelSettings,
    tokenizer: Any,
    size: int,
    seed: int,
) -> dict[str, Any]:
    """Stage: the critic `r_t`, which answers the policy whose responses are in the rows."""
    own, pad_id = method.critic(), tokenizer.pad_token_id
    trainer = critic_trainer(
        load_critic(start, model, pad_id, trainable=True),
        rows,
        streams,
        partial(method.critic_loss, lam=lam),
        own.bound,
        _settings(train, own.rate, own.epochs, own.decay),
        model,
        folder,
        pad_id,
        seed,
    )
    network, tokens = cast(nn.Module, trainer.model), _scoring(trainer, train)

    def judged() -> dict[str, Any]:
        names = (*PAIR, "own")
        return worth(score_rows(network, rows, names, pad_id, own.bound, size, tokens), rows, lam)

    before = judged()
    out = run_to_the_end(trainer, folder, tokenizer, 0.0)
    after = judged()
    found = {**after, "gain": before["game"] - after["game"]}
    return {**out, **found, "lam": lam, "next_lam": method.next_lam(lam, found["distance"])}


def worth(
    scores: Sequence[Mapping[str, Sequence[float]]], rows: Sequence[Row], lam: float
) -> dict[str, Any]:
    """What an answer of the critic says: its terms, and whether it has learnt labels by heart.

    `relative` is `L(π_t, r)`, `preference` is `E_D(r)`, `entropy` the entropy of labels under the fit,
    `distance` is `KL(r̂‖r)` on the pairs, `game` is `L + λ(Ẽ(r) − Ẽ(r̂))`, which is also the pessimistic
    value of `π_t` over the baseline when `r` is the best answer. `fit` is `E_D(r̂)` on the same pairs, what
    the fits explain that held-out pairs stopped. `memorised`: `E_D(r)` is below it by more than two
    standard errors of the difference, so the critic explains labels that nothing but the labels tells.
    """
    margin = _margins(scores)
    fit = _margins([r.score for r in rows])
    law = torch.sigmoid(torch.stack([fit, -fit], -1))
    lost = preference_loss(margin.unsqueeze(-1)) - preference_loss(fit.unsqueeze(-1))
    entropies = preference_loss(torch.stack([fit, -fit], -1), law)
    distance = preference_loss(torch.stack([margin, -margin], -1), law) - entropies
    own = torch.tensor([s["own"] for s in scores], dtype=torch.float64).mean(-1)
    pair = torch.tensor([[s[n][0] for n in PAIR] for s in scores], dtype=torch.float64).mean(-1)
    relative = relative_value(own, pair)
    noise = float(lost.std()) / len(rows) ** 0.5
    return {
        "relative": float(relative),
        "preference": float(preference_loss(margin)),
        "fit": float(preference_loss(fit)),
        "entropy": float(entropies.mean()),
        "distance": float(distance.mean()),
        "game": float(game_value(relative, distance.mean(), lam)),
        "memorised": bool(float(lost.mean()) < -2 * noise),
    }


class CriticLabeller(Labeller):
    """The sum of the rewards of saved critics, one in memory at a time."""

    def __init__(
        self,
        paths: Sequence[str],
        bound: float,
        model: ModelSettings,
        pad_id: int,
        size: int,
        tokens: int = 0,
    ) -> None:
        self.paths, self.bound, self.model = paths, bound, model
        self.pad_id, self.size, self.tokens = pad_id, size, tokens

    def scores(self, rows: Sequence[Row], stream: str) -> list[list[float]]:
        """`Σ_s r_s(x,y)` of every response, a list a row."""
        total: torch.Tensor | None = None
        for path in self.paths:
            critic = load_critic(path, self.model, self.pad_id)
            tokens = self.tokens if self.tokens and with_critic_packs(critic) else 0
            found = score_rows(critic, rows, (stream,), self.pad_id, self.bound, self.size, tokens)
            values = torch.tensor([f[stream] for f in found], dtype=torch.float64)
            total = values if total is None else total + values
        assert total is not None
        return total.tolist()
