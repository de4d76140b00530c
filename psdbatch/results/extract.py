"""Columns of chosen signals, read span by span: what tables, exports and streams are made of."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from psdbatch.errors import ConfigurationError
from psdbatch.results.contents import NUMBER, Contents, Quantity, StoredRun
from psdbatch.results.decoding import StoredColumn
from psdbatch.results.selection import Selection, parse_selection

Array = NDArray[Any]
Item = TypeVar("Item")
Result = TypeVar("Result")

PIECE = 262_144
"""Signals read at a time: some MB per piece, and the work per piece does not count."""


@dataclass
class Counts:
    """What became of the signals that were looked at.

    Attributes
    ----------
    signals
        Signals of the runs, as far as they were read: ``selected + rejected + unfinished + untimed``.
    selected
        Signals given.
    rejected
        Signals that the selection left out.
    unfinished
        Signals of blocks that are not in the store: not done yet, or given up.
    untimed
        Signals so damaged that they have no time, left out where signals are put in order of time.
    """

    signals: int = 0
    selected: int = 0
    rejected: int = 0
    unfinished: int = 0
    untimed: int = 0

    def add(self, other: Counts) -> None:
        """Add the counts of another piece."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True)
class Piece(Mapping[str, Array]):
    """Columns of some signals of one ``run``: a mapping of name to array, first dimension ``signals``."""

    run: str
    signals: int
    columns: Mapping[str, Array]

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)


@dataclass(frozen=True)
class Span:
    """``count`` consecutive signals of a run from number ``first`` on, inside one block."""

    first: int
    count: int


@dataclass(frozen=True)
class Extract:
    """What is to be read: quantities of the signals that a selection chooses."""

    contents: Contents
    quantities: tuple[Quantity, ...]
    selection: Selection | None = None

    def open(self, run: StoredRun) -> RunExtract:
        """The same for one run."""
        return RunExtract(run, self)


def make_extract(
    contents: Contents, columns: Iterable[str] | None = None, select: str | None = None, numbers: bool = False
) -> Extract:
    """What users ask for, checked.

    Parameters
    ----------
    columns
        Names; default: all stored columns.
    select
        A condition, see :func:`psdbatch.results.selection.parse_selection`.
    numbers
        Have one quantity per number, for tables: ``probability_neutron`` in place of ``probability``.

    Raises
    ------
    ConfigurationError
        A name or the condition does not fit the store.
    """
    names = contents.columns if columns is None else [columns] if isinstance(columns, str) else [*columns]
    if not names:
        raise ConfigurationError("no columns were chosen")
    found: dict[str, Quantity] = {}
    for name in names:
        for quantity in contents.numbers(name) if numbers else [contents.quantity(name)]:
            found[quantity.name] = quantity
    return Extract(contents, tuple(found.values()), None if select is None else parse_selection(select, contents))


class RunExtract:
    """Reads an extract of one run, span by span, from any thread."""

    def __init__(self, run: StoredRun, extract: Extract) -> None:
        self.run = run
        self._quantities = extract.quantities
        self._selection = extract.selection
        self._selecting = extract.selection.needs if extract.selection else ()
        self._needed = {name for quantity in extract.quantities for name in quantity.needs}
        self._declared = extract.contents.columns
        wanted = (self._needed | {*self._selecting}) - {NUMBER.name}
        opened = {name: run.open(name) for name in wanted or [*run.arrays][:1]}
        self._columns: dict[str, StoredColumn] = {name: column for name, column in opened.items() if column is not None}

    def spans(self, first: int = 0, signals: int | None = None, size: int = PIECE) -> Iterator[Span]:
        """Spans of at most ``size`` signals that cover ``signals`` signals from number ``first`` on."""
        last = self.run.signals if signals is None else first + signals
        array = next(iter(self.run.arrays.values()))
        block, chunk = (array.shards or array.chunks)[0], array.chunks[0]
        step = max(1, size // chunk) * chunk
        while first < last:
            start = first // block * block
            end = min(start + ((first - start) // step + 1) * step, start + block, last)
            yield Span(first, end - first)
            first = end

    def read(self, span: Span) -> tuple[Piece, Counts]:
        """The chosen signals of a span.  Columns that the selection does not need are read where it chooses something."""
        counts = Counts(signals=span.count)
        if not all(column.has(span.first // column.block) for column in self._columns.values()):
            counts.unfinished = span.count
            return self._piece({name: self._absent(name, 0) for name in self._needed}, 0), counts
        values: dict[str, Array] = {}
        chosen = None
        if self._selection is not None:
            values = {name: self._column(name, span) for name in self._selecting}
            chosen = self._selection.choose(values)
            counts.rejected = span.count - int(np.count_nonzero(chosen))
        counts.selected = span.count - counts.rejected
        if not counts.selected:
            return self._piece({name: self._absent(name, 0) for name in self._needed}, 0), counts
        mask = chosen if counts.rejected else None
        for name in self._needed:
            if name not in values:
                values[name] = self._column(name, span, mask)
        if mask is not None:
            kept = np.flatnonzero(mask)
            values = {name: values[name].take(kept, axis=0) for name in self._needed}
        return self._piece(values, counts.selected), counts

    def _piece(self, values: Mapping[str, Array], signals: int) -> Piece:
        return Piece(self.run.name, signals, {quantity.name: quantity.compute(values) for quantity in self._quantities})

    def _column(self, name: str, span: Span, wanted: NDArray[np.bool_] | None = None) -> Array:
        if name == NUMBER.name and name not in self._declared:
            return np.arange(span.first, span.first + span.count, dtype=np.uint64)
        column = self._columns.get(name)
        return self._absent(name, span.count) if column is None else column.read(span.first, span.count, wanted)

    def _absent(self, name: str, signals: int) -> Array:
        """A column that only other runs have."""
        column = self._declared.get(name, NUMBER)
        return np.full((signals, *column.shape), column.fill_value(), column.dtype)


def ahead(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int | None = None,
    pool: ThreadPoolExecutor | None = None,
) -> Iterator[Result]:
    """``map`` with some threads that work ahead of whoever takes the results, in order; ``pool`` if there are some already.

    Threads are dear beside a run of some thousand signals: give all runs to one call, or to one pool.
    """
    threads = threads or reading_threads()
    waiting: deque[Future[Result]] = deque()
    with nullcontext(pool) if pool else ThreadPoolExecutor(threads, "reading") as working:
        try:
            for item in items:
                waiting.append(working.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def reading_threads() -> int:
    """Threads that decompress at the same time."""
    return max(2, min(8, len(os.sched_getaffinity(0))))
