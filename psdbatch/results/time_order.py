"""Signals in order of time across the files of a run, that is across boards, in bounded memory.

A run's files lie one after another in the store, each nearly in order of time.  Every file is a stream that is put in
order locally and merged with the others:

* *Within a file* a signal may be late: at most ``window`` signals of greater timestamp come before it.  So of ``n``
  signals read, the ``n - window`` smallest are final, whatever follows.
* *Across files* the streams offer some of their final signals each; all that lie below the least offer are given in
  order.  A stream reads on when its final signals are used up.
* A file is opened when the others have come to its beginning: files that follow one another are never open together.

Equal timestamps stay in the order of the store, so the result is what a stable sort of the whole run would give.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.columns import FLAGS, TIMESTAMP, without_identity
from psdbatch.errors import CampaignError, ConfigurationError
from psdbatch.results.contents import Contents, Quantity, StoredRun
from psdbatch.results.extract import PIECE, Counts, Extract, Piece, RunExtract, Span, reading_threads

Array = NDArray[Any]
Columns = dict[str, Array]

WINDOW = 65_536
"""Signals that one may be late by, unless users say otherwise: an inner chunk of the store."""
READ = 65_536
"""Signals that a stream reads at a time."""

_TIME, _FLAGS = "(timestamp)", "(flags)"
"""Names of the columns that the order needs, beside those that were asked for."""


@dataclass
class OrderedStream:
    """Pieces of an extract, each run in order of time, and what was counted so far.

    Raises
    ------
    ConfigurationError
        ``window`` is negative, or the store holds no timestamps.
    CampaignError
        While iterating: a signal is later than ``window`` allows.
    """

    extract: Extract
    window: int = WINDOW
    size: int = PIECE
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        if self.window < 0:
            raise ConfigurationError(f"a window of {self.window} signals: it must be 0 or more")
        order = _order_columns(self.extract.contents)
        self._timed = replace(self.extract, quantities=(*self.extract.quantities, *order))
        self._times = Extract(self.extract.contents, order)

    def __iter__(self) -> Iterator[Piece]:
        pool = ThreadPoolExecutor(reading_threads(), "reading")
        try:
            for run in self.extract.contents.runs:
                for columns in _merge(self._streams(run, pool), self.size):
                    time = columns.pop(_TIME)
                    columns.pop(_FLAGS, None)
                    yield Piece(run.name, len(time), columns)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _streams(self, run: StoredRun, pool: ThreadPoolExecutor) -> list[_FileStream]:
        timed, times = self._timed.open(run), self._times.open(run)
        files = _files(run)
        streams = [
            _FileStream(number, path, timed, timed.spans(first, signals, READ), self.window, pool, self.counts)
            for number, (path, first, signals) in enumerate(files)
        ]
        if len(files) > 1:
            beginnings = pool.map(lambda file: _beginning(times, file[1], file[2], self.window), files)
            for stream, beginning in zip(streams, beginnings, strict=True):
                stream.beginning = beginning
        return streams


def _order_columns(contents: Contents) -> tuple[Quantity, ...]:
    found = [(_TIME, contents.quantity(TIMESTAMP.name))]
    if FLAGS.name in contents.columns:
        found.append((_FLAGS, contents.quantity(FLAGS.name)))
    return tuple(replace(quantity, column=replace(quantity.column, name=name)) for name, quantity in found)


def _files(run: StoredRun) -> list[tuple[str, int, int]]:
    """Path, first signal and number of signals of each file of a run; its attributes say where they lie."""
    found, first = [], 0
    for file in run.attributes.get("files", ()):
        found.append((str(file["path"]), first, int(file["signals"])))
        first += int(file["signals"])
    return found if first == run.signals else [(f"run {run.name}", 0, run.signals)]


def _timed_part(columns: Columns) -> NDArray[np.intp] | None:
    """Signals that have a time, or None for all: where bytes are so damaged that the time is lost too, it is 0."""
    if _FLAGS not in columns:
        return None
    lost = without_identity(columns[_FLAGS], columns[_TIME])
    return np.flatnonzero(~lost) if lost.any() else None


def _beginning(times: RunExtract, first: int, signals: int, window: int) -> int:
    """A timestamp that none of the file's signals is below: the least of its first ``window + 1``."""
    least, found = None, 0
    for span in times.spans(first, signals, READ):
        piece, _ = times.read(span)
        columns = dict(piece)
        part = _timed_part(columns)
        time = columns[_TIME] if part is None else columns[_TIME][part]
        if len(time):
            least = int(time.min()) if least is None else min(least, int(time.min()))
        found += len(time)
        if found > window:
            break
    return 0 if least is None else least


class _FileStream:
    """Signals of one file, read ahead and put in order locally."""

    def __init__(
        self,
        number: int,
        path: str,
        extract: RunExtract,
        spans: Iterator[Span],
        window: int,
        pool: ThreadPoolExecutor,
        counts: Counts,
    ) -> None:
        self.number, self.beginning = number, 0
        self._path, self._extract, self._spans = path, extract, spans
        self._window, self._pool, self._counts = window, pool, counts
        self._next: Future[tuple[Columns, Counts]] | None = None
        self._reading: Span | None = None
        self._held: Columns = {}
        self._begin = self._end = 0
        self.ended = False

    @property
    def time(self) -> Array:
        """Timestamps of the signals held, in order."""
        return self._held[_TIME][self._begin :] if self._held else np.zeros(0, np.uint64)

    @property
    def final(self) -> int:
        """How many of the signals held nothing can come before."""
        held = self._end - self._begin
        return held if self.ended else max(0, held - self._window)

    def fill(self, given: int) -> None:
        """Read until there are final signals, or the file ends; ``given`` is the greatest timestamp given so far."""
        if self._next is None and not self.ended:
            self._read_ahead()
        while not self.final and self._next is not None:
            (columns, counts), span = self._next.result(), self._reading
            self._read_ahead()
            self._counts.add(counts)
            if len(columns[_TIME]):
                self._check(int(columns[_TIME][0]), given, span)
                self._add(columns)

    def take(self, count: int) -> Columns:
        """Hand over the first ``count`` signals held."""
        begin, self._begin = self._begin, self._begin + count
        return {name: values[begin : self._begin] for name, values in self._held.items()}

    def _read_ahead(self) -> None:
        self._reading = next(self._spans, None)
        self._next = None if self._reading is None else self._pool.submit(_read_sorted, self._extract, self._reading)
        self.ended = self._next is None

    def _add(self, columns: Columns) -> None:
        """Hold the signals of ``columns`` too; only where both overlap has anything to be moved."""
        rest = {name: values[self._begin : self._end] for name, values in self._held.items()}
        self._begin, self._end = 0, self._end - self._begin + len(columns[_TIME])
        if not rest or not len(rest[_TIME]):
            self._held = columns
            return
        low = np.searchsorted(rest[_TIME], columns[_TIME][0], "right")
        high = len(rest[_TIME]) + np.searchsorted(columns[_TIME], rest[_TIME][-1], "left")
        self._held = {name: np.concatenate([rest[name], columns[name]]) for name in rest}
        if low < len(rest[_TIME]):
            order = np.argsort(self._held[_TIME][low:high], kind="stable")
            for values in self._held.values():
                values[low:high] = values[low:high].take(order, axis=0)

    def _check(self, least: int, given: int, span: Span | None) -> None:
        if least < given and span is not None:
            raise CampaignError(
                f"{self._path}: the timestamp {least} of a signal between number {span.first:,} and "
                f"{span.first + span.count:,} of the run is smaller than those of more than {self._window:,} signals before "
                f"it in the file, up to {given}; allow for more with a larger 'window', or, if the clock was set back there, "
                "read without time order"
            )


def _read_sorted(extract: RunExtract, span: Span) -> tuple[Columns, Counts]:
    """The signals of a span that have a time, in order."""
    piece, counts = extract.read(span)
    columns = dict(piece)
    order = _timed_part(columns)
    time = columns[_TIME]
    if order is not None:
        time = time.take(order)
        counts = replace(counts, selected=len(order), untimed=counts.selected - len(order))
    if np.any(time[1:] < time[:-1]):
        sorted_ = np.argsort(time, kind="stable")
        order = sorted_ if order is None else order.take(sorted_)
    return columns if order is None else {name: values.take(order, axis=0) for name, values in columns.items()}, counts


def _merge(streams: list[_FileStream], size: int) -> Iterator[Columns]:
    """Merge streams; each of the pieces holds about ``size`` signals."""
    waiting = sorted(streams, key=lambda stream: (stream.beginning, stream.number), reverse=True)
    opened: list[_FileStream] = []
    given = 0
    while waiting or opened:
        step = max(1, size // max(1, len(opened)))
        offers = [(int(stream.time[min(stream.final, step) - 1]), stream.number, stream) for stream in opened]
        limit, number, first = min(offers, key=lambda offer: offer[:2], default=(0, 0, None))
        if waiting and (first is None or waiting[-1].beginning <= limit):
            stream = waiting.pop()
            stream.fill(given)
            if stream.final:
                opened = sorted([*opened, stream], key=lambda stream: stream.number)
            continue
        assert first is not None
        parts = []
        for stream in opened:
            if stream is first:
                count = min(stream.final, step)
            else:  # of equal timestamps, those of earlier files come first
                side = "right" if stream.number < number else "left"
                count = int(np.searchsorted(stream.time, np.uint64(limit), side))  # type: ignore[call-overload]
            if count:
                parts.append(stream.take(count))
        given = limit
        yield _in_order(parts)
        for stream in opened:
            if not stream.final:
                stream.fill(given)
        opened = [stream for stream in opened if stream.final]


def _in_order(parts: list[Columns]) -> Columns:
    if len(parts) == 1:
        return parts[0]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(columns[_TIME], kind="stable")
    return {name: values.take(order, axis=0) for name, values in columns.items()}
