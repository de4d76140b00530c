"""Progress of a training on a terminal, or as plain lines in a batch log."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console

from psdbatch.monitor.bar import BarOrLines
from psdbatch.training.course import describe
from psdbatch.wording import duration, quantity


class TrainingProgress(BarOrLines):
    """A line for each epoch; within an epoch a bar on a terminal, elsewhere a line a minute."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, "[bold]epoch {task.fields[epoch]}", "{task.fields[state]}", epoch=0, state="starting")
        self._epochs = 0
        self._began = time.monotonic()
        self._began_at = (0, 0)

    def begin(self, epochs: int) -> None:
        """Set the scale."""
        self._epochs = epochs

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
        elif self._is_due():
            self.note(f"epoch {epoch}: {done:,} of {signals:,} signals, {state}")

    def epoch(self, row: Mapping[str, float], better: bool) -> None:
        """An epoch is complete."""
        best = "; the best so far" if better else ""
        self.note(f"epoch {row['epoch']:.0f} of {self._epochs}: {describe(row)} ({duration(row['seconds'])}){best}")
        self._last_line = time.monotonic()
