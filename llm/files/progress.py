"""One quiet progress line a piece of work: how far, how fast, what is left."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from llm.files import processes

SILENCE = 60.0  # seconds between lines where there is no terminal


class Progress:
    """Counts rows (or steps) and tokens: a rich bar on a terminal, elsewhere a line a minute."""

    def __init__(self, title: str, total: int, unit: str = "rows") -> None:
        from rich.console import Console
        from rich.progress import Progress as Bar

        self.title, self.total, self.unit = title, total, unit
        self.tokens, self.rows, self.note = 0, 0, ""
        self.terminal = sys.stderr.isatty()
        visible = processes.is_main() and self.terminal
        self.bar = Bar(console=Console(stderr=True), transient=True, disable=not visible)

    def __enter__(self) -> Progress:
        """Start the clock."""
        self.start = self.spoken = time.monotonic()
        self.bar.start()
        self.task = self.bar.add_task(self.title, total=self.total)
        return self

    def advance(self, rows: int) -> None:
        """Note that `rows` more rows are done."""
        self.rows += rows
        self.bar.update(self.task, completed=self.rows, description=self.describe())
        now = time.monotonic()
        if not self.terminal and processes.is_main() and now - self.spoken > SILENCE:
            self.spoken = now
            print(f"  {self.describe()}, {self.left()}", file=sys.stderr, flush=True)

    def describe(self) -> str:
        """Title and speed so far."""
        seconds = max(time.monotonic() - self.start, 1e-9)
        speed = f", {self.tokens / seconds:,.0f} tokens/s" if self.tokens else ""
        note = f", {self.note}" if self.note else ""
        rate = self.rows / seconds
        return f"{self.title}: {rate:,.{0 if rate >= 10 else 2}f} {self.unit}/s{speed}{note}"

    def left(self) -> str:
        """How far, and the time that is left at this speed."""
        seconds = time.monotonic() - self.start
        rest = seconds * (self.total - self.rows) / max(self.rows, 1)
        return f"{self.rows} of {self.total}, about {rest / 60:.0f} min left"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the bar."""
        self.bar.stop()
