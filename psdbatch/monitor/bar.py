"""A bar on a terminal; in a batch log a line a minute instead, and nothing that a log cannot show."""

from __future__ import annotations

import time
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

LINE_EVERY = 60.0
"""Seconds between two lines where the output is not a terminal."""


class BarOrLines:
    """What all progress is shown with.

    Parameters
    ----------
    console
        Where.
    title, told
        Of the bar, and what is said behind its percentage; texts with ``{task.fields[NAME]}``.
    fields
        Their values at the start.
    """

    def __init__(self, console: Console, title: str, *told: str, **fields: Any) -> None:
        self.console = console
        texts = (TextColumn(words, markup=False) for words in ("{task.percentage:5.1f} %", *told))
        self._bar = Progress(TextColumn(title), BarColumn(bar_width=None), *texts, console=console)
        self._task = self._bar.add_task("", total=1, **fields)
        self._last_line = time.monotonic()

    def address(self, link: str | None) -> None:
        """Print where the dashboard is."""
        if link:
            self.note(f"dashboard: {link}")

    def note(self, message: str) -> None:
        """Something that the user should read."""
        self.console.print(message, soft_wrap=True)

    def __enter__(self) -> Self:
        if self.console.is_interactive:
            self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.console.is_interactive:
            self._bar.stop()

    def _is_due(self) -> bool:
        """Whether the log has had no line for a minute; then it is supposed to get one now."""
        due = time.monotonic() - self._last_line > LINE_EVERY
        if due:
            self._last_line = time.monotonic()
        return due
