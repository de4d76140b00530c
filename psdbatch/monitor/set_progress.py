"""Progress of building a training set: one bar per stage, on a terminal only."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

STAGES = {"survey": "counts signals", "gather": "takes signals", "write": "writes the set"}


class SetProgress:
    """Bars that :func:`psdbatch.training_set.build.build_set` moves; nothing is printed to a log or a pipe."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description:>14}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, console=console, disable=not console.is_interactive, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()

    def report(self, stage: str, done: int, total: int) -> None:
        """Signals done in a stage, from any thread."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(STAGES[stage], total=total)
        self._bars.update(self._tasks[stage], completed=done)
