"""Formats whose files are a chain of records: where each signal lies, which bytes belong to none, reading in order.

A format gives two kernels: one that *locates* the signals of a window of bytes, and one that *decodes* those located.
Scanning and reading share the first, so they cannot disagree about what is a signal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from psdbatch.acquisition.bytesource import ByteSource, ByteStream
from psdbatch.acquisition.format import Damage, Scan, SignalReader
from psdbatch.acquisition.signals import Signals
from psdbatch.acquisition.window import SlidingWindow
from psdbatch.errors import AcquisitionFileError

LOCATED = np.dtype(
    [
        ("position", np.int32),  # of the record, in the window
        ("size", np.int32),  # bytes of the record
        ("entry", np.int32),  # position where reading may start to get this signal: the outermost record's
        ("samples", np.int32),
        ("kind", np.uint8),  # which record layout
        ("fault", np.uint8),  # 0: none; otherwise an index into the format's reasons
    ],
    align=True,
)
"""One signal found in a window."""

GAP = np.dtype([(name, np.int64) for name in ("offset", "bytes", "first", "reason")])
"""A region of the file that belongs to no record, between two signals or at the end."""

STATE = np.dtype(
    [
        ("position", np.int64),  # next byte to judge, in the window
        ("base", np.int64),  # file offset of the window
        ("signals", np.int64),  # number of the next signal
        ("lost", np.int64),  # file offset where the gap being searched through began, or -1
        ("truncated", np.int64),  # whether that gap began with a record that the end of the file cuts
    ]
)
"""What a locating kernel carries from window to window; the window's ``needed`` bytes are its return value."""

CUT_SIGNALS = 8192
"""About this many signals lie between two cuts of the index."""


class Records(ABC):
    """The records of one stream, located window by window.

    ``reasons`` are the clauses that faults and gaps point to; ``smallest`` is the size in bytes of the smallest
    record that holds a signal.
    """

    reasons: ClassVar[tuple[str, ...]]
    smallest: int

    def __init__(self, stream: ByteStream, offset: int, first: int = 0) -> None:
        self.window = SlidingWindow(stream, offset)
        self.gaps: list[Damage] = []
        self._state = np.zeros(1, STATE)
        self._state["base"], self._state["signals"], self._state["lost"] = offset, first, -1
        self._needed = 1
        self._located, self._gaps = np.empty(0, LOCATED), np.empty(0, GAP)
        self._make_room()

    @abstractmethod
    def locate(self, state: NDArray[Any], located: NDArray[Any], gaps: NDArray[Any]) -> tuple[int, int, int]:
        """Locate the signals of the window from ``state.position`` on.

        Returns how many entries of ``located`` and of ``gaps`` were filled, and how many bytes from the new
        ``state.position`` on the window must hold to go on.
        """

    @abstractmethod
    def decode(self, located: NDArray[Any], out: Signals) -> None:
        """Decode the ``located`` signals into ``out`` (same number); mark in ``located.fault`` what is damaged."""

    @property
    def signals(self) -> int:
        """Number of the next signal to be located."""
        return int(self._state["signals"][0])

    def next_window(self) -> NDArray[Any] | None:
        """Signals of the next window (valid until the next call), or None at the end of the file."""
        state = self._state
        if self.window.ended:
            return None
        consumed = int(state["position"][0])
        self.window.advance(consumed, self._needed)
        state["position"], state["base"] = 0, self.window.base
        self._make_room()
        count, gaps, self._needed = self.locate(state, self._located, self._gaps)
        self.gaps += [
            Damage(int(gap["offset"]), int(gap["bytes"]), int(gap["first"]), 0, self.reasons[gap["reason"]])
            for gap in self._gaps[:gaps]
        ]
        return self._located[:count]

    def faults(self, located: NDArray[Any], first: int) -> Iterator[Damage]:
        """Damage of the signals in ``located`` (numbers from ``first``): one entry for neighbours with the same fault."""
        fault, position = located["fault"], located["position"].astype(np.int64)
        end = position + located["size"]
        apart = (fault[1:] != fault[:-1]) | (position[1:] != end[:-1])
        edges = np.concatenate([[0], np.flatnonzero(apart) + 1, [len(fault)]])
        starts = edges[:-1][fault[edges[:-1]] > 0] if fault.any() else edges[:0]
        for start in starts:
            stop = edges[np.searchsorted(edges, start, side="right")]
            offset, size = self.window.base + int(position[start]), int(end[stop - 1] - position[start])
            yield Damage(offset, size, first + int(start), int(stop - start), self.reasons[fault[start]])

    def close(self) -> None:
        """Release the stream."""
        self.window.close()

    def _make_room(self) -> None:
        most = len(self.window.data) // self.smallest + 2
        if len(self._located) < most:
            self._located, self._gaps = np.empty(most, LOCATED), np.empty(most, GAP)


def tell(damage: list[Damage], more: Iterable[Damage]) -> None:
    """Append ``more``; what goes on where the last entry ends is joined to it, wherever a window ended."""
    for new in more:
        last = damage[-1] if damage else None
        if (
            last
            and last.reason == new.reason
            and last.offset + last.bytes == new.offset
            and last.first + last.signals == new.first
        ):
            damage[-1] = replace(last, bytes=last.bytes + new.bytes, signals=last.signals + new.signals)
        else:
            damage.append(new)


@dataclass
class Findings:
    """What :func:`survey` found: the format-independent part of a :class:`~psdbatch.acquisition.format.Scan`."""

    signals: int = 0
    shortest: int = np.iinfo(np.int32).max
    longest: int = 0
    cuts: list[tuple[int, int]] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    kinds: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))


def survey(records: Records) -> Findings:
    """Walk over all ``records``: counts, sample counts of the faultless, cuts about every ``CUT_SIGNALS`` signals, damage in order."""
    found = Findings()
    while (located := records.next_window()) is not None:
        if len(located):
            samples = located["samples"][located["fault"] == 0]
            found.shortest = min(found.shortest, int(samples.min(initial=found.shortest)))
            found.longest = max(found.longest, int(samples.max(initial=0)))
            found.kinds += np.bincount(located["kind"], minlength=256)
            tell(found.damage, records.faults(located, found.signals))
            _cut(found, located["entry"], records.window.base)
        found.signals += len(located)
    found.shortest = min(found.shortest, found.longest)
    found.damage = sorted(found.damage + records.gaps, key=lambda damage: damage.offset)
    return found


def _cut(found: Findings, entry: NDArray[Any], base: int) -> None:
    """Add the cuts in one window: reading may start only where an outermost record begins."""
    starts = np.flatnonzero(np.diff(entry, prepend=-1))
    while True:
        wanted = found.cuts[-1][0] + CUT_SIGNALS - found.signals if found.cuts else 0
        index = int(np.searchsorted(starts, wanted))
        if index == len(starts):
            return
        start = int(starts[index])
        found.cuts.append((found.signals + start, base + int(entry[start])))


class RecordReader(SignalReader):
    """Reader of any format made of records."""

    def __init__(self, source: ByteSource, records: Records, scan: Scan, first: int) -> None:
        super().__init__(records.signals)
        self._path = source.path
        self._records = records
        self._scan = scan
        self._located = np.empty(0, LOCATED)
        if first > self.position:
            self.skip(first - self.position)

    def read(self, out: Signals) -> int:
        """See :meth:`psdbatch.acquisition.format.SignalReader.read`."""
        filled = 0
        wanted = min(len(out), self._scan.signals - self.position)
        while filled < wanted:
            part = self._take(wanted - filled)
            self._records.decode(part, out[filled : filled + len(part)])
            tell(self.damage, self._records.faults(part, self.position))
            filled += len(part)
            self._pass(len(part))
        return filled

    def skip(self, count: int) -> None:
        """Pass over ``count`` signals, looking at their headers only."""
        end = min(self.position + count, self._scan.signals)
        before = len(self.damage)
        while self.position < end:
            self._pass(len(self._take(end - self.position)))
        del self.damage[before:]

    def close(self) -> None:
        """Release the file."""
        self._records.close()

    def _take(self, most: int) -> NDArray[Any]:
        while not len(self._located):
            located = self._records.next_window()
            if located is None:
                raise AcquisitionFileError(
                    f"{self._path}: ends after {self.position:,} signals, its index counted {self._scan.signals:,}; "
                    "the file changed: index it again"
                )
            self._located = located
        part, self._located = self._located[:most], self._located[most:]
        return part

    def _pass(self, count: int) -> None:
        """Go on by ``count`` signals; a gap is told together with the signal that follows it."""
        self.position += count
        if self.position == self._scan.signals:
            while not len(self._located) and self._records.next_window() is not None:
                pass
        gaps = self._records.gaps
        told = len(gaps) if self.position == self._scan.signals else sum(gap.first < self.position for gap in gaps)
        self.damage += gaps[:told]
        del gaps[:told]


def nearest_cut(scan: Scan, first: int) -> tuple[int, int]:
    """Last cut ``(signal, offset)`` at or before signal ``first``."""
    return scan.cuts[int(np.searchsorted([signal for signal, _ in scan.cuts], first, side="right")) - 1]
