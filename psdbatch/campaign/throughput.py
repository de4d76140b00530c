"""Signals against time, added up block by block in any order: no larger for a million blocks than for a thousand."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

MOST_BUCKETS = 300
"""Buckets of time of a campaign; they become twice as wide whenever there would be more.  Pauses take none."""

RECENT = 600.0
"""Seconds before the newest commit over which the present pace is measured."""

_STEP = 10.0


@dataclass
class Throughput:
    """Signals per bucket of time.

    Attributes
    ----------
    width
        Width of a bucket (s), a power of two.
    groups
        By worker group, then by number of the bucket: bucket ``k`` lies from ``k * width`` to ``(k + 1) * width``
        seconds since 1970.
    worked
        By number of the bucket: first start and last end in it (s since 1970); a bucket may be worked in for a part of its
        width only.
    """

    width: float = 1.0
    groups: dict[str, dict[int, float]] = field(default_factory=dict)
    worked: dict[int, tuple[float, float]] = field(default_factory=dict)

    def add(self, group: str, started: float, finished: float, signals: int) -> None:
        """Spread the signals of a block evenly over the time that it took."""
        started = min(started, finished)  # a clock that was set back
        while finished - started > self.width * MOST_BUCKETS / 2:
            self._widen()
        mine = self.groups.setdefault(group, {})
        before, first = len(mine), int(started // self.width)
        last = max(first, math.ceil(finished / self.width) - 1)  # nothing is done in a bucket that begins at the end
        for bucket in range(first, last + 1):
            low, high = max(started, bucket * self.width), min(finished, (bucket + 1) * self.width)
            share = (high - low) / (finished - started) if last > first else 1.0
            mine[bucket] = mine.get(bucket, 0.0) + signals * share
            begun, ended = self.worked.get(bucket, (low, high))
            self.worked[bucket] = min(begun, low), max(ended, high)
        if len(mine) > before:
            while len(self.buckets()) > MOST_BUCKETS:
                self._widen()

    def buckets(self) -> set[int]:
        """Numbers of all buckets that hold anything."""
        return set().union(*self.groups.values())

    def seconds(self, bucket: int) -> float:
        """Seconds of a bucket that were worked in; never none, so that rates stay finite."""
        begun, ended = self.worked[bucket]
        return max(ended - begun, 0.001 * self.width)

    def _widen(self) -> None:
        self.width *= 2
        spans: dict[int, tuple[float, float]] = {}
        for bucket, (begun, ended) in self.worked.items():
            first, last = spans.get(bucket // 2, (begun, ended))
            spans[bucket // 2] = min(first, begun), max(last, ended)
        self.worked = spans
        for group, counts in self.groups.items():
            wide: dict[int, float] = {}
            for bucket, signals in counts.items():
                wide[bucket // 2] = wide.get(bucket // 2, 0.0) + signals
            self.groups[group] = wide


@dataclass
class RecentPace:
    """Signals per second over the last minutes before the newest commit."""

    newest: float | None = None
    _steps: dict[int, tuple[int, float]] = field(default_factory=dict)

    def add(self, started: float, finished: float, signals: int) -> None:
        """Note a block."""
        if self.newest is None or finished > self.newest:
            self.newest = finished
            oldest = (finished - RECENT) // _STEP
            self._steps = {step: entry for step, entry in self._steps.items() if step > oldest}
        step = int(finished // _STEP)
        if step > (self.newest - RECENT) // _STEP:
            known, since = self._steps.get(step, (0, started))
            self._steps[step] = known + signals, min(since, started)

    @property
    def rate(self) -> float | None:
        """Signals per second; None where nothing is known."""
        if self.newest is None:
            return None
        span = self.newest - min(since for _, since in self._steps.values())
        return sum(signals for signals, _ in self._steps.values()) / span if span > 0 else None
