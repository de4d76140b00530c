"""Progress of a campaign on a terminal, or as plain lines in a batch log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from psdbatch.wording import duration, quantity

LINE_EVERY = 60.0
"""Seconds between two lines where the output is not a terminal."""


class Progress:
    """Signals done, pace, time left, failures.

    On a terminal a bar; elsewhere a line a minute, so that a batch log stays readable.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.workers: Callable[[], str] = lambda: ""
        self._failures = self._refused = 0
        self._total = self._done = self._before = 0
        self._started: float | None = None
        self._last_line = time.monotonic()
        self._lock = threading.Lock()
        self._bar = Bar(
            TextColumn("[bold]signals"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:5.1f} %"),
            TextColumn("{task.fields[pace]}"),
            TextColumn("{task.fields[trouble]}"),
            console=console,
        )
        self._task = self._bar.add_task("signals", total=1, pace="", trouble="")

    def begin(self, total: int, done: int) -> None:
        """Set the scale: ``total`` signals, ``done`` of them by an earlier pass."""
        self._total, self._before, self._done = total, done, done
        self._started, self._last_line = None, time.monotonic()
        self._show()

    def address(self, link: str | None) -> None:
        """Print where the dashboard is."""
        if link:
            self.console.print(f"dashboard: {link}", highlight=False)

    def advance(self, signals: int, written: int) -> None:
        """A block is finished: ``signals`` of it, ``written`` of them with an answer."""
        with self._lock:
            self._done += signals
            if self._started is None:  # the pace counts from the first commit, not from the workers' start
                self._started, self._before = time.monotonic(), self._done
            self._refused += signals - written
        self._show()

    def failed(self, reason: str) -> None:
        """An attempt failed."""
        with self._lock:
            self._failures += 1
        self.console.print(f"failed attempt: {reason}", highlight=False, markup=False, soft_wrap=True)
        self._show()

    def note(self, message: str) -> None:
        """Something that the user should read."""
        self.console.print(message, highlight=False, markup=False, soft_wrap=True)

    def line(self) -> str:
        """The state in one line."""
        return f"{self._done:,} of {self._total:,} signals, {self._pace()}{self._trouble()}"

    def __enter__(self) -> Self:
        if self.console.is_interactive:
            self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.console.is_interactive:
            self._bar.stop()
        elif self._total:
            self.console.print(self.line(), highlight=False)

    def _show(self) -> None:
        if self.console.is_interactive:
            self._bar.update(
                self._task,
                total=self._total,
                completed=self._done,
                pace=self._pace(),
                trouble=self._trouble() + self._jobs(),
            )
        elif time.monotonic() - self._last_line > LINE_EVERY:
            self._last_line = time.monotonic()
            self.console.print(self.line() + self._jobs(), highlight=False, markup=False)

    def _pace(self) -> str:
        if self._started is None:
            return "starting"
        done, elapsed = self._done - self._before, time.monotonic() - self._started
        if not done or not elapsed:
            return "measuring the pace"
        rate = done / elapsed
        return f"{quantity(rate, 'signals/s')}, {duration((self._total - self._done) / rate)} left"

    def _jobs(self) -> str:
        jobs = self.workers()
        return f" ({jobs})" if jobs else ""

    def _trouble(self) -> str:
        parts = [f"{self._failures} failed attempts"] if self._failures else []
        parts += [f"{self._refused:,} signals refused"] if self._refused else []
        return f" ({', '.join(parts)})" if parts else ""
