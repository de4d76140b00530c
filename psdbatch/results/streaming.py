"""Results piece by piece: chosen columns of chosen signals of a store of any size, in the memory of a few pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from psdbatch.results.contents import Contents
from psdbatch.results.extract import PIECE, Counts, Extract, Piece, ahead, make_extract
from psdbatch.results.time_order import WINDOW, OrderedStream


@dataclass
class Stream:
    """Pieces of an extract in the order of the store, and what was counted so far."""

    extract: Extract
    size: int = PIECE
    counts: Counts = field(default_factory=Counts)

    def __iter__(self) -> Iterator[Piece]:
        opened = (self.extract.open(run) for run in self.extract.contents.runs)
        places = ((run, span) for run in opened for span in run.spans(size=self.size))
        for piece, counts in ahead(lambda place: place[0].read(place[1]), places):
            self.counts.add(counts)
            if piece.signals:
                yield piece


def iterate(
    path: str | Path,
    columns: Iterable[str] | None = None,
    select: str | None = None,
    run: str | Iterable[str] | None = None,
    *,
    time_order: bool = False,
    window: int | None = None,
    size: int = PIECE,
) -> Iterator[Piece]:
    """Results piece by piece, for stores larger than memory.

    Parameters
    ----------
    path
        The campaign directory or its ``results.zarr``.
    columns
        Names of columns; also ``charge_ratio``, ``signal`` (its number in the run) and single numbers such as
        ``probability_neutron``.  Default: all stored columns.
    select
        Condition on the signals, for example ``"label == neutron and amplitude > 500 and not saturated"``.
    run
        Name of a run, or several.  Default: all.
    time_order
        Merge the files of each run by ``timestamp``, across boards; runs follow one another.
    window
        Signals by which one may be late within its file, for ``time_order``; see
        :class:`psdbatch.results.time_order.OrderedStream`.
    size
        Signals read at a time.

    Yields
    ------
    Piece
        Mapping of column to array, at most about ``size`` signals of one run, never empty.  Signals of blocks that are not
        in the store, because they are not done yet, are left out.

    Raises
    ------
    CampaignError, ConfigurationError
        No results, no such column, a wrong condition; a shard is damaged; signals are later than ``window`` allows.

    Examples
    --------
    >>> for piece in iterate("my-campaign", ["amplitude", "charge_ratio"], "label == neutron"):  # doctest: +SKIP
    ...     histogram += np.histogram2d(piece["amplitude"], piece["charge_ratio"], bins)[0]
    """
    return iter(open_stream(Contents(path, run), columns, select, time_order=time_order, window=window, size=size))


def open_stream(
    contents: Contents,
    columns: Iterable[str] | None = None,
    select: str | None = None,
    *,
    numbers: bool = False,
    time_order: bool = False,
    window: int | None = None,
    size: int = PIECE,
) -> Stream | OrderedStream:
    """The same with counts; ``numbers`` as in :func:`psdbatch.results.extract.make_extract`."""
    extract = make_extract(contents, columns, select, numbers)
    if not time_order:
        return Stream(extract, size)
    return OrderedStream(extract, WINDOW if window is None else window, size)
