"""Progress of a campaign on a terminal, or as plain lines in a batch log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rich.console import Console

from psdbatch.monitor.bar import BarOrLines
from psdbatch.wording import duration, quantity


class Progress(BarOrLines):
    """Signals done, pace, time left, failures.

    On a terminal a bar; elsewhere a line a minute, so that a batch log stays readable.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console, "[bold]signals", "{task.fields[pace]}", "{task.fields[trouble]}", pace="", trouble="")
        self.workers: Callable[[], str] = lambda: ""
        self._failures = self._refused = 0
        self._total = self._done = self._before = 0
        self._started: float | None = None
        self._lock = threading.Lock()

    def begin(self, total: int, done: int) -> None:
        """Set the scale: ``total`` signals, ``done`` of them by an earlier pass."""
        self._total, self._before, self._done = total, done, done
        self._started, self._last_line = None, time.monotonic()
        self._show()

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
        self.note(f"failed attempt: {reason}")
        self._show()

    def line(self) -> str:
        """The state in one line."""
        return f"{self._done:,} of {self._total:,} signals, {self._pace()}{self._trouble()}"

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        if not self.console.is_interactive and self._total:
            self.note(self.line())

    def _show(self) -> None:
        if self.console.is_interactive:
            self._bar.update(
                self._task,
                total=self._total,
                completed=self._done,
                pace=self._pace(),
                trouble=self._trouble() + self._jobs(),
            )
        elif self._is_due():
            self.note(self.line() + self._jobs())

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
