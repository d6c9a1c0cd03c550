"""The stages of a follower that is a head on frozen states: the same products as :mod:`llm.stages.follow`.

A head is small enough to be solved to the end, by L-BFGS on all rows at once; what passes over the rows and
their order decide for a network, weight decay decides here alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.common.files import write_json
from llm.data.row import Row
from llm.files.digests import model_digest
from llm.methods import Batch, Following
from llm.models.heads import Head, States, bounded
from llm.stages.follow import PAIR, folds_of, worth
from llm.stages.label import Labeller
from spac_theory.objective import preference_loss

Features = dict[str, Tensor]


def solve(
    head: Head,
    features: Features,
    scores: dict[str, Tensor],
    method: Following,
    lam: float,
    decay: float,
) -> tuple[Head, float]:
    """The head with the least critic loss plus `decay/2 · |w|²`, found from `head`, and that loss."""
    bound = method.critic().bound
    weight = head.weight.clone().requires_grad_()

    def loss() -> Tensor:
        rewards = {name: bounded(f, weight, bound) for name, f in features.items()}
        return method.critic_loss(Batch(rewards, {}, {}, score=scores), lam)[0] + decay / 2 * (
            weight @ weight
        )

    solver = torch.optim.LBFGS(
        [weight], max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        solver.zero_grad()
        value = loss()
        value.backward()
        return float(value.detach())

    solver.step(closure)
    return replace(head, weight=weight.detach()), float(loss().detach())


def _saved(folder: Path, head: Head, loss: float) -> dict[str, Any]:
    """The outputs every trained model of a run has."""
    head.save(folder / "model")
    write_json(folder / "log.json", [{"loss": loss, "step": 1}])
    weights = model_digest(folder / "model")
    return {"model": "model", "log": "log.json", "weights": weights, "final_loss": loss}


def fit_fold(
    folder: Path, number: int, rows: Sequence[Row], method: Following, states: States, seed: int
) -> dict[str, Any]:
    """Stage: the likeliest head on all pairs but those of one fold, and its loss on these."""
    own = method.critic()
    table = {name: states.of(rows, name) for name in PAIR}
    fresh = Head.fresh(torch.cat(list(table.values())))
    features = {name: fresh.features(t) for name, t in table.items()}
    held = folds_of(len(rows), own.folds, seed) == number
    kept = {name: f[~held] for name, f in features.items()}
    head, loss = solve(fresh, kept, {}, method, 1.0, own.fit_decay)
    chosen, rejected = (bounded(features[n][held], head.weight, own.bound)[:, 0] for n in PAIR)
    return {**_saved(folder, head, loss), "held_out": float(preference_loss(chosen - rejected))}


def answer(
    folder: Path,
    rows: Sequence[Row],
    method: Following,
    lam: float,
    start: str,
    states: States,
) -> dict[str, Any]:
    """Stage: the critic `r_t`, which answers the policy whose responses are in the rows."""
    own, before = method.critic(), Head.load(start)
    features = {name: before.features(states.of(rows, name)) for name in (*PAIR, "own")}
    scores = {n: torch.tensor([r.score[n] for r in rows], dtype=torch.float64) for n in PAIR}
    head, loss = solve(before, features, scores, method, lam, own.decay)

    def judged(of: Head) -> dict[str, Any]:
        found = {n: bounded(f, of.weight, own.bound).tolist() for n, f in features.items()}
        return worth([{n: found[n][i] for n in found} for i in range(len(rows))], rows, lam)

    after = judged(head)
    gain = judged(before)["game"] - after["game"]
    further = {"gain": gain, "lam": lam, "next_lam": method.next_lam(lam, after["distance"])}
    return {**_saved(folder, head, loss), **after, **further}


class HeadLabeller(Labeller):
    """The sum of the rewards of saved heads."""

    def __init__(self, paths: Sequence[str], bound: float, states: States) -> None:
        self.paths, self.bound, self.states = paths, bound, states

    def scores(self, rows: Sequence[Row], stream: str) -> list[list[float]]:
        """`Σ_s r_s(x,y)` of every response, a list a row."""
        table = self.states.of(rows, stream)
        heads = [Head.load(path) for path in self.paths]
        total = torch.stack([head.rewards(table, self.bound) for head in heads]).sum(0)
        found: list[list[float]] = total.tolist()
        return found
