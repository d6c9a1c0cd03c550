"""What an exact solve costs, against X, A, d, S and n, for four classes: `docs/cost.md` by one command.

Run it as `python -m benchmarks.cost_table`, about a minute of one core. Every row changes one number of a
base setting; entries are milliseconds of processor time a data set, the best of two runs. Games have
random classes, `λ = √n` and the behaviour as baseline. Winner counts make the rows of `n` alike.
"""

from __future__ import annotations

import argparse
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from experiments.common.files import write_text
from experiments.common.table import Table, make_console
from spac_theory import (
    Game,
    LinearClass,
    PreferenceModel,
    mirror_descent,
    pair_law,
    sample_winner_counts,
    tabular_class,
    winner_law,
)
from spac_theory.keys import generator
from spac_theory.rewards.base import RewardClass
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.kernel import KernelClass, rbf
from spac_theory.saddle.solve import solve_saddle

CLASSES = ("linear", "kernel", "finite", "table")
ROUNDS = 100
PAGE = Path(__file__).resolve().parents[1] / "docs" / "cost.md"
INTRODUCTION = """# What an exact solve costs

Written by `python -m benchmarks.cost_table`. Milliseconds of processor time a data set (best of two runs,
one core of {machine}, torch {torch}): the exact saddle to a gap of 1e-8 in value, and SPAC-T with
T = {rounds}. Every row changes one number of the base setting, X = {X}, A = {A}, d = {d}, n = {n:.0e},
S = {S} data sets in a batch. `d` is the number of features of the linear class, of eigenvectors of the
kernel (by its length; {kernel}), of members of the finite class; a table has X·A parameters whatever `d`
is. The cost does not grow with `n`, for data are winner counts. Over the rows of `n`, from a hundred to a
billion comparisons, the largest time over the smallest: {ratios}.

"""

AGAINST = """
## Against a conic solver

One run of `python -m benchmarks.fast_saddle`: processor time on a shared core, so ratios mean more than
milliseconds; a gap of 1e-6 in value, judged by one certificate; CVXPY with Clarabel compiles and solves one
problem after another.

- linear, X = 50, A = 20, d = 50, ball, 64 data sets: 7.5 ms each, CVXPY 1131 ms: 150 times;
- the same, one data set alone: 21 ms: 55 times;
- 10 × 10 table with a range, 100 data sets: 0.38 ms each, CVXPY 37 ms: 98 times.

On the same core with seven other programs, whose traffic slows CVXPY most, it was 287, 102 and 67 times.

Of a step, the product `MᵀHM` is a fifth in the linear game, and the factors of the contexts with their
solves a quarter in the table; the rest is arithmetic number by number and what starting an operation costs.
"""


@dataclass(frozen=True)
class Size:
    """The numbers of a game."""

    X: int = 20
    A: int = 8
    d: int = 16
    S: int = 32
    n: int = 10_000


Cost = tuple[float, float, int]  # milliseconds of the saddle, of SPAC-T, and parameters
Costs = dict[tuple[str, int, str], Cost]  # by axis, value and class
BASE = Size()
AXES = {
    "X": (5, 20, 80),
    "A": (4, 8, 16, 32),
    "d": (4, 16, 64),
    "S": (1, 8, 32, 128),
    "n": (10**2, 10**4, 10**6, 10**9),
}


def length_for(size: Size) -> float:
    """A length of the kernel that keeps about `d` eigenvectors, by bisection."""
    low, high = math.log(1e-2), math.log(1e2)
    for _ in range(20):
        middle = (low + high) / 2
        many = kernel_class(size, math.exp(middle)).dimension > size.d
        low, high = (middle, high) if many else (low, middle)
    return math.exp(high)


def kernel_class(size: Size, length: float) -> KernelClass:
    """A ball of the space of a squared-exponential kernel on points of the square."""
    rng = generator("cost", "points", size.X, size.A)
    points = torch.from_numpy(rng.uniform(-1, 1, (size.X, size.A, 2)))
    return KernelClass.of(points, rbf(length), norm_bound=1.0)


def class_of(kind: str, size: Size) -> RewardClass:
    """A class of this kind."""
    rng = generator("cost", kind, size.X, size.A, size.d)
    if kind == "linear":
        features = torch.from_numpy(rng.standard_normal((size.X, size.A, size.d)))
        return LinearClass(features / features.norm(dim=-1, keepdim=True), norm_bound=1.0)
    if kind == "kernel":
        return kernel_class(size, length_for(size))
    if kind == "finite":
        return FiniteClass(torch.from_numpy(rng.uniform(0, 1, (size.d, size.X, size.A))))
    return tabular_class(size.X, size.A, reward_range=(0.0, 1.0))


def member(cls: RewardClass) -> torch.Tensor:
    """Some reward of the class, `(X, A)`."""
    if isinstance(cls, FiniteClass):
        return cls.members[0]
    assert isinstance(cls, LinearClass)
    rng = generator("cost", "truth", cls.dimension)
    theta = torch.from_numpy(rng.uniform(0, 1, cls.dimension))
    scale = 1.0 if cls.tabular else float(theta.norm())
    return (cls.features @ (theta / scale)).reshape(cls.shape)


def game_of(kind: str, size: Size) -> Game:
    """The games of `S` data sets."""
    cls = class_of(kind, size)
    rng = generator("cost", "behaviour", size.X, size.A)
    behaviour = torch.from_numpy(rng.dirichlet([1.0] * size.A, size.X))
    rho = torch.full((size.X,), 1 / size.X, dtype=torch.float64)
    law = winner_law(rho, pair_law(behaviour), PreferenceModel.from_reward(member(cls)))
    data = sample_winner_counts(law, size.n, range(size.S), "cost")
    return Game(cls, data, data.n.double().sqrt(), rho, behaviour)


def milliseconds(work: Callable[[], object], count: int) -> float:
    """Processor time a data set, the better of two runs."""
    times = []
    for _ in range(2):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1e3 * min(times) / count


def cost(kind: str, size: Size) -> Cost:
    """Milliseconds of the saddle and of SPAC-T, and the parameters of the class."""
    game = game_of(kind, size)
    saddle = milliseconds(lambda: solve_saddle(game), size.S)
    play = milliseconds(lambda: mirror_descent(game, ROUNDS), size.S)
    return saddle, play, getattr(game.reward_class, "dimension", 0)


def measured(axes: dict[str, tuple[int, ...]], base: Size) -> Costs:
    """Every entry; the base setting is timed once a class."""
    known: dict[tuple[str, Size], Cost] = {}
    found: Costs = {}
    for axis, values in axes.items():
        for value in values:
            for kind in CLASSES:
                if axis == "d" and kind == "table":
                    continue
                size = replace(base, **{axis: value})
                if (kind, size) not in known:
                    known[kind, size] = cost(kind, size)
                found[axis, value, kind] = known[kind, size]
    return found


def table(found: Costs, axes: dict[str, tuple[int, ...]]) -> Table:
    """A row for each setting, a column for each class and solver."""
    header = ["", *(f"{k}, saddle" for k in CLASSES), *(f"{k}, SPAC-T" for k in CLASSES)]
    rows = []
    for axis, values in axes.items():
        for value in values:
            entries = [found.get((axis, value, kind)) for kind in CLASSES]
            shown = f"{value:.0e}" if axis == "n" else str(value)
            times = [None if e is None else e[i] for i in (0, 1) for e in entries]
            rows.append([f"{axis} = {shown}", *times])
    return Table("", header, rows)


def page(found: Costs, axes: dict[str, tuple[int, ...]]) -> str:
    """`docs/cost.md`."""
    ratios = []
    for kind in CLASSES:
        times = [[found["n", n, kind][i] for n in axes["n"]] for i in (0, 1)]
        saddle, play = (max(t) / min(t) for t in times)
        ratios.append(f"{kind} {saddle:.1f} (saddle) and {play:.1f} (SPAC-T)")
    kept = ", ".join(f"{found['d', d, 'kernel'][2]} for d = {d}" for d in axes["d"])
    words = INTRODUCTION.format(
        machine=platform.machine(), torch=torch.__version__, rounds=ROUNDS, ratios="; ".join(ratios),
        kernel=kept, **vars(BASE),
    )  # fmt: skip
    return words + table(found, axes).markdown() + AGAINST


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=PAGE, help="where the page is written")
    options = parser.parse_args()
    torch.set_num_threads(1)
    solve_saddle(
        game_of("table", replace(BASE, S=1))
    )  # the first call of anything pays for imports
    found = measured(AXES, BASE)
    table(found, AXES).show(make_console())
    write_text(options.out, page(found, AXES))


if __name__ == "__main__":
    main()
