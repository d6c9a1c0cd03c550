"""Preference data as winner counts, their law, and the plain triples they come from.

With finitely many cells `(x, a, b)` the likelihood depends on the data only through the winner
counts `W[x,a,b] = #{a beat b at x}`. Counts make every fit cost the same at `n = 10²` and `n = 10⁹`,
and put the seeds on a tensor axis: `W` has shape `(S, X, A, A)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.checks import InputError, brief
from spac_theory.keys import generator
from spac_theory.links import BRADLEY_TERRY, Link
from spac_theory.objective import tabular_margins

MAX_COMPARISONS = 10**9
LARGEST_TABLE = 2**28  # cells of a table of pairs: 2 GiB
LARGEST_COUNT = 2**53  # the counts of a data set are added exactly, in integers and in float64


@dataclass(frozen=True)
class WinnerCounts:
    """Winner counts of `S` independent data sets.

    Attributes
    ----------
    wins : (S, X, A, A) int64
        `wins[s,x,a,b]` = how often `a` beat `b` at context `x` in data set `s`. Draws with `a = b`
        are kept on the diagonal: they carry `log 2` and count in `n`.
    unit : int ≥ 1
        `wins` counts in units of `1/unit` comparison, so that a comparison can be shared: with
        `unit = 2` a tie is half a win each way. Lemma (H) holds for shares that are the probability of
        winning given what is recorded: by Jensen, averaging the log-ratio only lowers its exponential.
    """

    __repr__ = brief

    wins: Tensor
    unit: int = 1

    def __post_init__(self) -> None:
        wins = self.wins
        if not isinstance(wins, Tensor) or wins.ndim != 4 or wins.shape[-1] != wins.shape[-2]:
            shape = tuple(getattr(wins, "shape", ()))
            raise InputError(f"wins has shape {shape}; winner counts have shape (S, X, A, A).")
        if wins.is_complex():
            raise InputError("wins has complex entries; winner counts are whole numbers.")
        if wins.is_floating_point():
            checks.finite("wins", wins)
        if wins.is_floating_point() and bool((wins != wins.round()).any()):
            raise InputError("wins has fractional entries; winner counts are whole numbers.")
        if (wins < 0).any():
            raise InputError(
                f"wins has the negative count {int(wins.min())}; counts are at least 0."
            )
        total = wins.to(torch.float64).sum((-3, -2, -1))
        if bool((total > LARGEST_COUNT).any()):
            raise InputError(
                f"n is {float(total.max()):.4g} in a data set; winner counts may add up to at most "
                f"2^53 = {LARGEST_COUNT} comparisons."
            )
        object.__setattr__(self, "wins", wins.to(torch.int64))
        checks.integer("unit", self.unit, low=1, high=LARGEST_COUNT)
        if bool((self.wins.sum((-3, -2, -1)) % self.unit != 0).any()):
            raise InputError(f"wins sums to no multiple of unit, which is {self.unit}.")
        if wins.numel() == 0 or bool((self.n == 0).any()):
            raise InputError(
                "n is 0 in at least one data set; every data set needs n >= 1 comparison."
            )

    @property
    def n(self) -> Tensor:
        """Number of comparisons in each data set, `(S,)`."""
        return self.wins.sum((-3, -2, -1)) // self.unit

    @property
    def fraction(self) -> Tensor:
        """`W / n`, the weights of `E_D`, `(S, X, A, A)` float64."""
        total = self.n.to(torch.float64) * self.unit
        return self.wins.to(torch.float64) / total[:, None, None, None]

    @property
    def compared(self) -> Tensor:
        """`W + Wᵀ` off the diagonal: how often each pair was compared, `(S, X, A, A)`."""
        pairs = self.wins + self.wins.transpose(-1, -2)
        return pairs - torch.diag_embed(torch.diagonal(pairs, dim1=-2, dim2=-1))

    def streams(self, *key: str | int) -> list[np.random.Generator]:
        """A random stream for each data set, named by `key` and its counts, never by its place."""
        return [generator(*key, int(w.sum()), _fingerprint(w)) for w in self.wins]

    def split(self, share: float, *key: str | int) -> tuple[WinnerCounts, WinnerCounts]:
        """Move a random `share` of the comparisons of each data set into a second one.

        Each comparison moves independently; each side keeps at least one, so `n ≥ 2` is needed. The
        stream is keyed by `key` and by the data set's own counts: it does not depend on its place.
        """
        share = checks.number("share", share, low=0, high=1, open_low=True, open_high=True)
        if self.unit != 1:
            raise InputError(
                f"unit is {self.unit}; comparisons that are shared cannot be split by counts, so "
                "hold rows out before counting."
            )
        if bool((self.n < 2).any()):
            raise InputError("n is 1 in at least one data set; a split needs n >= 2 comparisons.")
        held = torch.stack([_thin(w, share, key) for w in self.wins])
        return WinnerCounts(self.wins - held), WinnerCounts(held)

    @staticmethod
    def from_triples(
        context: Any,
        winner: Any,
        loser: Any,
        *,
        contexts: int,
        actions: int,
        weight: Any = None,
        unit: int = 1,
    ) -> WinnerCounts:
        """Counts of one data set (`S = 1`) from `n` triples `(x, a⁺, a⁻)` of whole numbers.

        `weight` says how many units of `1/unit` comparison each triple stands for; None for one.

        Raises InputError for unequal lengths, no rows, or an index out of range.
        """
        contexts = checks.integer("contexts", contexts, low=1)
        actions = checks.integer("actions", actions, low=1)
        if contexts * actions**2 > LARGEST_TABLE:
            raise InputError(
                f"contexts is {contexts} and actions is {actions}; a table of pairs has at most "
                f"{LARGEST_TABLE} cells, so name fewer of them."
            )
        columns = {"context": context, "winner": winner, "loser": loser}
        limits = {"context": contexts, "winner": actions, "loser": actions}
        arrays = {k: _indices(k, v, limits[k]) for k, v in columns.items()}
        lengths = {k: len(v) for k, v in arrays.items()}
        if len(set(lengths.values())) != 1:
            raise InputError(
                f"context, winner and loser have lengths {lengths}; they must be equal."
            )
        if lengths["context"] == 0:
            raise InputError("n is 0: there is no triple; at least one comparison is needed.")
        flat = (arrays["context"] * actions + arrays["winner"]) * actions + arrays["loser"]
        counts = np.zeros(contexts * actions * actions, dtype=np.int64)
        np.add.at(counts, flat, 1 if weight is None else _weights(weight, len(flat)))
        return WinnerCounts(torch.as_tensor(counts).reshape(1, contexts, actions, actions), unit)

    def to_triples(self, index: int = 0) -> np.ndarray:
        """The `(n, 3)` array of triples `(x, a⁺, a⁻)` of data set `index`, in lexicographic order."""
        wins = self.wins[index].numpy(force=True)
        cells = np.argwhere(wins > 0)
        return np.repeat(cells, wins[tuple(cells.T)], axis=0)


def _weights(weight: Any, rows: int) -> np.ndarray:
    """One whole weight a triple."""
    weights = _indices("weight", weight, LARGEST_COUNT)
    if len(weights) != rows:
        raise InputError(
            f"weight has {len(weights)} entries for {rows} triples; it needs one each."
        )
    return weights


def _indices(field: str, value: Any, limit: int) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(
            f"{field} must be a one-dimensional array of whole numbers, got {checks.shown(value)}."
        ) from error
    if array.dtype == np.bool_ or np.iscomplexobj(array):
        raise InputError(
            f"{field} must be a one-dimensional array of whole numbers, got {array.dtype}."
        )
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.number):
        raise InputError(f"{field} must be a one-dimensional array of whole numbers.")
    whole = array.astype(np.int64) if np.isfinite(array).all() else None
    if whole is None or (whole != array).any():
        raise InputError(
            f"{field} has entries that are no whole numbers; indices are whole numbers."
        )
    bad = (whole < 0) | (whole >= limit)
    if bad.any():
        row = int(bad.argmax())
        raise InputError(
            f"{field}[{row}] is {whole[row]}; it must be an index between 0 and {limit - 1}."
        )
    return whole


def _fingerprint(wins: Tensor) -> int:
    """A number that tells data sets apart."""
    flat = wins.flatten().numpy(force=True)
    return int(np.dot(flat % 1_000_003, np.arange(1, len(flat) + 1)))


def _thin(wins: Tensor, share: float, key: tuple[str | int, ...]) -> Tensor:
    """Each comparison goes to the held-out side with probability `share`; no side stays empty."""
    flat = wins.flatten().numpy(force=True)
    held = generator("split", *key, int(flat.sum()), _fingerprint(wins)).binomial(flat, share)
    if held.sum() == 0:
        held[flat.argmax()] = 1
    if held.sum() == flat.sum():
        held[flat.argmax()] -= 1
    return torch.as_tensor(held).reshape(wins.shape)


@dataclass(frozen=True)
class PreferenceModel:
    """Who beats whom: `probability[x,a,b] = P(a ≻ b | x)`, `(X, A, A)`, with `P + Pᵀ = 1`.

    A general matrix may be intransitive; `from_reward` builds the one of a reward and a link.
    """

    probability: Tensor

    def __post_init__(self) -> None:
        p = checks.as_tensor("preference", self.probability, (None, None, None))
        if p.shape[-1] != p.shape[-2]:
            raise InputError(f"preference has shape {tuple(p.shape)}; it must be (X, A, A).")
        if ((p < 0) | (p > 1)).any():
            raise InputError("preference has entries outside [0, 1]; they are probabilities.")
        if (p + p.transpose(-1, -2) - 1).abs().max() > 1e-9:
            raise InputError("preference[x,a,b] + preference[x,b,a] must be 1 for every pair.")
        object.__setattr__(self, "probability", p)

    @staticmethod
    def from_reward(reward: Tensor, link: Link = BRADLEY_TERRY) -> PreferenceModel:
        """`P(a ≻ b | x) = F(r(x,a) − r(x,b))`."""
        upper = link.probability(tabular_margins(reward))
        return PreferenceModel((upper + 1 - upper.transpose(-1, -2)) / 2)


def pair_law(behaviour: Tensor) -> Tensor:
    """The joint law `μ(a|x) μ(b|x)` of two independent draws: `(X, A) -> (X, A, A)`."""
    return behaviour.unsqueeze(-1) * behaviour.unsqueeze(-2)


def winner_law(rho: Tensor, pairs: Tensor, preference: PreferenceModel) -> Tensor:
    """Law of one labelled comparison over the cells of `W`, `(X, A, A)`, summing to 1.

    `P(a beat b at x) = ρ(x) (μ(a,b|x) + μ(b,a|x)) P(a ≻ b|x)` for `a ≠ b`, and `ρ(x) μ(a,a|x)` on the
    diagonal.
    """
    law = (pairs + pairs.transpose(-1, -2)) * preference.probability
    return rho[:, None, None] * law


def ladder(n: int) -> list[int]:
    """The canonical sizes 1, 2, …, 9, 10, 20, …, 90, 100, … up to `n`, then `n` itself.

    Data of size `n` are sums of increments along this ladder, each drawn from a stream of its own.
    Hence the data of two sizes on the ladder are nested, and no number depends on which sizes a
    sweep asks for.
    """
    n = checks.integer("n", n, low=1, high=MAX_COMPARISONS)
    rungs = [m * 10**k for k in range(10) for m in range(1, 10) if m * 10**k <= n]
    return rungs if rungs[-1] == n else [*rungs, n]


def sample_winner_counts(law: Tensor, n: int, seeds: range | list[int], *key: str) -> WinnerCounts:
    """Draw winner counts of `n` comparisons for every seed from `law (X, A, A)`.

    `n` is any whole number up to 1e9. `key` names the problem and the behaviour; the same
    `(key, seed, n)` always gives the same data. Raises InputError for a law that is no distribution.
    """
    law = checks.as_tensor("law", law, (None, None, None))
    if not isinstance(seeds, range | list | tuple) or not all(map(checks.is_real, seeds)):
        raise InputError(
            f"seeds is {checks.shown(seeds)}; it must be a range or list of whole numbers."
        )
    seeds = [checks.integer("seeds", seed) for seed in seeds]
    checks.simplex("law", law.flatten())
    cells = law.flatten().numpy(force=True)
    cells = cells / cells.sum()
    rungs = ladder(n)
    wins = np.zeros((len(seeds), cells.size), dtype=np.int64)
    for row, seed in enumerate(seeds):
        for below, rung in zip([0, *rungs[:-1]], rungs, strict=True):
            wins[row] += generator("data", *key, seed, rung).multinomial(rung - below, cells)
    return WinnerCounts(torch.as_tensor(wins).reshape(len(seeds), *law.shape))
