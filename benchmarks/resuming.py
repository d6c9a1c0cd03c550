"""What storing and resuming cost: 10,000 finished cells recognised, and the store's share of a sweep.

    python -m benchmarks.resuming

Processor time is printed beside the clock, since a busy machine stretches the clock alone.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from experiments.common.program import composed
from experiments.engine.store import CellFiles
from experiments.engine.units import run_unit
from experiments.studies.sweep.cells import Sweep, read_sweep
from experiments.studies.sweep.run import pending_units

SMALL = ("problem.contexts=2", "problem.actions=4", "grid.seeds=1", "grid.block=1")


def sweep_of_ten_thousand(store: Path) -> Sweep:
    """40 dials, 25 sizes, 10 algorithms."""
    scales = [f"+algorithm.a{i}={{name: spac, scale: {0.1 * (i + 1):.1f}}}" for i in range(9)]
    dials, sizes = [round(0.02 * (i + 1), 2) for i in range(40)], [100 + i for i in range(25)]
    words = ["algorithm=[uniform]", *scales, f"behaviour.dials={dials}", f"grid.n={sizes}"]
    return read_sweep(composed("coverage_sweep", *words, *SMALL, f"store={store}"))


def pretend_finished(sweep: Sweep, store: Path) -> int:
    """Give every cell its configuration and a block; what is in it is read by nobody here."""
    count = 0
    for unit in sweep.units(store):
        for label in unit.algorithms:
            cell = unit.cell(label)
            cell.folder.mkdir(parents=True)
            cell._write_config()
            (cell.folder / "block-000-0123456789abcdef.parquet").write_bytes(b"")
            count += 1
    return count


class Clock:
    """Seconds by the clock and by the processor."""

    def __enter__(self) -> Clock:
        self.start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall = time.perf_counter() - self.start[0]
        self.processor = time.process_time() - self.start[1]

    def __str__(self) -> str:
        return f"{self.wall:.2f} s by the clock, {self.processor:.2f} s of processor"


def recognised() -> Clock:
    """Checking the settings and finding that nothing of 10,000 cells is left."""
    with tempfile.TemporaryDirectory() as place:
        store = Path(place)
        cells = pretend_finished(sweep_of_ten_thousand(store), store)
        with Clock() as clock:
            left = pending_units(sweep_of_ten_thousand(store), store)
        assert (cells, left) == (10_000, [])
    return clock


def share_of_storing() -> tuple[float, float]:
    """Processor time inside the store over that of a whole quick sweep, computed here; and without the first.

    The first block imports what writes Parquet, once a process.
    """
    spent, write = list[float](), CellFiles.write_block

    def timed(self: CellFiles, *arguments: Any, **named: Any) -> None:
        with Clock() as clock:
            write(self, *arguments, **named)
        spent.append(clock.processor)

    with tempfile.TemporaryDirectory() as place:
        words = ("grid=quick", "grid.n=[300,3000]", f"store={place}")
        sweep = read_sweep(composed("coverage_sweep", *words))
        CellFiles.write_block = timed  # type: ignore[method-assign]
        try:
            with Clock() as clock:
                for unit in pending_units(sweep, Path(place)):
                    run_unit(unit)
        finally:
            CellFiles.write_block = write  # type: ignore[method-assign]
    return sum(spent) / clock.processor, sum(spent[1:]) / (clock.processor - spent[0])


if __name__ == "__main__":
    print(f"a finished sweep of 10,000 cells is recognised in {recognised()}")
    whole, later = share_of_storing()
    print(f"storing is {whole:.1%} of a quick sweep, {later:.1%} after its first block")
