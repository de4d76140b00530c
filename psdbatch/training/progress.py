"""Progress of a training on a terminal, or as plain lines in a batch log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from psdbatch.training.course import describe
from psdbatch.wording import duration, quantity

LINE_EVERY = 60.0
"""Seconds between two lines of an epoch where the output is not a terminal."""


class TrainingProgress:
    """A line for each epoch; within an epoch a bar on a terminal, elsewhere a line a minute."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._epochs = 0
        self._last_line = self._began = time.monotonic()
        self._began_at = (0, 0)
        self._bar = Bar(
            TextColumn("[bold]epoch {task.fields[epoch]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:5.1f} %"),
            TextColumn("{task.fields[state]}"),
            console=console,
        )
        self._task = self._bar.add_task("epoch", total=1, epoch=0, state="starting")

    def begin(self, epochs: int) -> None:
        """Set the scale."""
        self._epochs = epochs

    def address(self, link: str | None) -> None:
        """Print where the dashboard is."""
        if link:
            self.console.print(f"dashboard: {link}", highlight=False)

    def step(self, epoch: int, done: int, signals: int, loss: float) -> None:
        """The chief has used ``done`` of an epoch's ``signals``."""
        now = time.monotonic()
        if self._began_at[0] != epoch or done < self._began_at[1]:
            self._began, self._began_at = now, (epoch, done)
        elapsed, used = now - self._began, done - self._began_at[1]
        pace = f", {quantity(used / elapsed, 'signals/s')}" if elapsed > 1 and used else ""
        state = f"loss {loss:.4g}{pace}"
        if self.console.is_interactive:
            self._bar.update(self._task, total=signals, completed=done, epoch=epoch, state=state)
        elif now - self._last_line > LINE_EVERY:
            self._last_line = now
            self.note(f"epoch {epoch}: {done:,} of {signals:,} signals, {state}")

    def epoch(self, row: Mapping[str, float], better: bool) -> None:
        """An epoch is complete."""
        best = "; the best so far" if better else ""
        self.note(f"epoch {row['epoch']:.0f} of {self._epochs}: {describe(row)} ({duration(row['seconds'])}){best}")
        self._last_line = time.monotonic()

    def note(self, message: str) -> None:
        """Something that the user should read."""
        self.console.print(message, highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        if self.console.is_interactive:
            self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.console.is_interactive:
            self._bar.stop()
