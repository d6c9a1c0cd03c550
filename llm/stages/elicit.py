"""Asking for a budget of labels: what plausible rewards disagree about most, then a lower bound.

Rewards are linear in the states of the start at the end of an answer, reduced to what tells the answers of a
prompt apart (:mod:`llm.data.projection`). Their law is the Laplace approximation of the posterior under
`w ~ N(0, I)` and Bradley–Terry, as in the bandit's Sim-OPRL.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llm.data.projection import project
from llm.data.row import Row
from llm.files import processes
from llm.files.digests import read_rows, write_rows
from llm.files.parts import part_seed, pieces
from llm.files.progress import Progress
from llm.methods import Stream
from llm.methods.kinds import Elicitation
from llm.models.load import ModelSettings, load_frozen
from llm.models.states import Reader, Text
from llm.stages.label import Labeller, readable
from spac_theory.algorithms.sim_oprl import most_disputed, pair_variance
from spac_theory.checks import InputError

NEWTON_STEPS = 40


@dataclass(frozen=True)
class Belief:
    """The posterior of `w (d,)`: its mode, and the covariance `(d, d)` around it."""

    mode: Tensor
    covariance: Tensor

    def draws(self, count: int, chance: torch.Generator) -> Tensor:
        """`(count, d)` plausible `w`."""
        noise = torch.randn(count, len(self.mode), generator=chance, dtype=torch.float64)
        return self.mode + noise @ torch.linalg.cholesky(self.covariance).T

    def lower(self, features: Tensor, width: float) -> Tensor:
        """Mean less `width` deviations of `r(y) − E r` over a row's answers: `(n, N, d) -> (n, N)`."""
        away = features - features.mean(-2, keepdim=True)
        spread = torch.einsum("nkd,de,nke->nk", away, self.covariance, away).clamp_min(0).sqrt()
        return features @ self.mode - width * spread


def belief(differences: Tensor, wins: Tensor) -> Belief:
    """The posterior after comparisons: `φ(first) − φ(second)` `(m, d)` and `P(first wins)` `(m,)`.

    Newton's method on `Σ p ℓ(w·δ) + (1 − p) ℓ(−w·δ) + ½|w|²`, halving steps that do not descend.
    """
    eye = torch.eye(differences.shape[-1], dtype=torch.float64)

    def height(w: Tensor) -> Tensor:
        m = differences @ w
        lost = torch.nn.functional.softplus(-m) + (1 - wins) * m
        return lost.sum() + w.square().sum() / 2

    def hessian(w: Tensor) -> Tensor:
        p = torch.sigmoid(differences @ w)
        return (differences.T * (p * (1 - p))) @ differences + eye

    w = torch.zeros(differences.shape[-1], dtype=torch.float64)
    for _ in range(NEWTON_STEPS):
        slope = differences.T @ (torch.sigmoid(differences @ w) - wins) + w
        step, size = torch.linalg.solve(hessian(w), slope), 1.0
        while size > 1e-6 and height(w - size * step) > height(w):
            size /= 2
        w = w - size * step
    return Belief(w, torch.linalg.inv(hessian(w)))


def disputed(features: Tensor, known: Belief, members: int, chance: torch.Generator) -> Tensor:
    """The pair to ask about at each of `b` rows, `(b, 2)`, from `features (b, N, d)`."""
    samples = torch.einsum("bkd,md->mbk", features, known.draws(members, chance))
    variance = pair_variance(torch.einsum("bkd,de,bje->bkj", features, known.covariance, features))
    flat = most_disputed(samples, variance).flatten(-2).argmax(-1)
    size = features.shape[-2]
    return torch.stack([flat // size, flat % size], -1)


def elicit(
    folder: Path,
    stream: Stream,
    rows: Sequence[Row],
    how: Elicitation,
    features: Callable[[], Tensor],
    labeller: Callable[[], Labeller],
    key: str,
) -> dict[str, Any]:
    """Stage: ask in batches, each kept when it is answered; `labels.parquet` holds the lower bounds."""
    target = folder / "labels.parquet"
    if processes.is_main() and not target.exists():
        known = project_rows(features(), how.dimension)
        asked, live = list[dict[str, Any]](), list[Labeller]()
        with Progress(f"questions {key}", how.budget) as bar:
            for number, size in enumerate(sizes(how)):
                path = folder / "parts" / f"asked-{number:05d}.parquet"
                if not path.exists():
                    live = live or [labeller()]
                    seed = part_seed("asked", key, number)
                    made = ask(rows, stream.name, known, asked, how, size, live[0], seed)
                    path.parent.mkdir(exist_ok=True)
                    write_rows(path, made)
                asked += read_rows(path)
                bar.advance(size)
        lower = posterior(known, asked).lower(known, how.width)
        write_rows(folder / "asked.parquet", asked)
        write_rows(target, [{f"score/{stream.name}": v} for v in lower.tolist()])
    processes.barrier()
    unread = sum(not readable(a["wins"]) for a in read_rows(folder / "asked.parquet"))
    found = {"labels": target.name, "asked": "asked.parquet"}
    return {**found, "count": how.budget, "failures": unread}


def sizes(how: Elicitation) -> list[int]:
    """The budget in `rounds` nearly equal batches."""
    edges = [how.budget * k // how.rounds for k in range(how.rounds + 1)]
    return [b - a for a, b in itertools.pairwise(edges)]


def ask(
    rows: Sequence[Row],
    name: str,
    features: Tensor,
    asked: list[dict[str, Any]],
    how: Elicitation,
    size: int,
    labeller: Labeller,
    seed: int,
) -> list[dict[str, Any]]:
    """One batch: prompts at random, at each the most disputed pair, and the judge's answers."""
    chance = torch.Generator().manual_seed(seed)
    picks = torch.randint(len(rows), (size,), generator=chance)
    pairs = disputed(features[picks], posterior(features, asked), how.members, chance).tolist()
    shown = [
        Row(rows[i].prompt, {"pair": [rows[i].responses[name][a] for a in pair]})
        for i, pair in zip(picks.tolist(), pairs, strict=True)
    ]
    wins = labeller.wins(shown, "pair", seed)
    return [
        {"row": i, "first": a, "second": b, "wins": w[0][1]}
        for i, (a, b), w in zip(picks.tolist(), pairs, wins, strict=True)
    ]


def posterior(features: Tensor, asked: Sequence[dict[str, Any]]) -> Belief:
    """The belief after what was asked; before anything was, the prior."""
    asked = [a for a in asked if readable(a["wins"])]
    if not asked:
        d = features.shape[-1]
        return Belief(torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64))
    row, first, second = (torch.tensor([a[c] for a in asked]) for c in ("row", "first", "second"))
    wins = torch.tensor([a["wins"] for a in asked], dtype=torch.float64)
    return belief(features[row, first] - features[row, second], wins)


def project_rows(values: Tensor, dimension: int) -> Tensor:
    """States `(n, N, D)` as whitened differences within rows, `(n, N, d)`."""
    n, size, _ = values.shape
    if size < 2:
        raise InputError(f"samples is {size}; a pair to ask about needs at least 2.")
    groups = torch.arange(n).repeat_interleave(size)
    return project(values.flatten(0, 1), groups, dimension).features.view(n, size, -1)


def states(
    path: str, model: ModelSettings, tokenizer: Any, rows: Sequence[Row], name: str, batch: int
) -> Tensor:
    """The states of the model at `path` at the end of every answer, `(n, N, D)`."""
    reader = Reader(load_frozen(path, model).to(processes.device()), tokenizer, "last", 0)
    ids = [[*r.prompt, *y] for r in rows for y in r.responses[name]]
    texts = [Text(t, len(t) - 1, len(t), [0] * len(t)) for t in ids]
    found = [reader.batch([texts[i] for i in span]) for span in pieces(len(texts), batch)]
    return torch.cat(found).view(len(rows), len(rows[0].responses[name]), -1)
