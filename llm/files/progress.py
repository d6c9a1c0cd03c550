"""One quiet progress line a piece of work, with rows and tokens a second."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from llm.files import processes


class Progress:
    """Counts rows and tokens; draws a rich bar on a terminal, and one closing line anywhere."""

    def __init__(self, title: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bar

        self.title, self.total, self.tokens, self.rows = title, total, 0, 0
        visible = processes.is_main() and sys.stderr.isatty()
        self.bar = Bar(console=Console(stderr=True), transient=True, disable=not visible)

    def __enter__(self) -> Progress:
        """Start the clock."""
        self.start = time.monotonic()
        self.bar.start()
        self.task = self.bar.add_task(self.title, total=self.total)
        return self

    def advance(self, rows: int) -> None:
        """Note that `rows` more rows are done."""
        self.rows += rows
        self.bar.update(self.task, completed=self.rows, description=self.describe())

    def describe(self) -> str:
        """Title and speed so far."""
        seconds = max(time.monotonic() - self.start, 1e-9)
        speed = f", {self.tokens / seconds:,.0f} tokens/s" if self.tokens else ""
        return f"{self.title}: {self.rows / seconds:,.0f} rows/s{speed}"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the bar."""
        self.bar.stop()
