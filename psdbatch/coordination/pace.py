"""Signals per second over the last minutes; falls to zero when nothing comes any more."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW = 300.0
"""Seconds that are looked back at least."""

BLOCKS = 3
"""Durations of the longest of the last blocks that are looked back at least: a block counts when it is finished."""

_STEP = 5.0


@dataclass
class Pace:
    """Counts of the last minutes, in steps of some seconds."""

    _first: float | None = None
    _steps: dict[int, int] = field(default_factory=dict)
    _durations: deque[float] = field(default_factory=lambda: deque(maxlen=100))

    @property
    def longest(self) -> float:
        """Seconds that the longest of the last blocks took."""
        return max(self._durations, default=0.0)

    @property
    def window(self) -> float:
        """Seconds that are looked back."""
        return max(WINDOW, BLOCKS * self.longest)

    def add(self, now: float, started: float, signals: int) -> None:
        """A block that was begun at ``started`` is finished ``now``."""
        self._first = started if self._first is None else min(self._first, started)
        self._durations.append(now - started)
        step = int(now // _STEP)
        if step not in self._steps:
            oldest = step - self.window / _STEP
            self._steps = {known: count for known, count in self._steps.items() if known > oldest}
        self._steps[step] = self._steps.get(step, 0) + signals

    def rate(self, now: float) -> float:
        """Signals per second until ``now``."""
        if self._first is None:
            return 0.0
        since = max(self._first, now - self.window)
        recent = sum(count for step, count in self._steps.items() if (step + 1) * _STEP > since)
        return recent / max(now - since, 1.0)
