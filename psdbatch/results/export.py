"""Chosen results as one file for other programs: Parquet, ROOT or comma-separated text, of any size in little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch import __version__
from psdbatch.results.contents import RUN, RUN_COLUMN, Contents
from psdbatch.results.extract import Counts, Piece
from psdbatch.results.streaming import open_stream
from psdbatch.results.table_file import Table, table_file

Array = NDArray[Any]

ROWS = 1_048_576
"""Signals written at a time: a row group of Parquet, a cluster of baskets of ROOT."""


@dataclass(frozen=True)
class Exported:
    """What an export has written: ``counts`` of signals, and ``bytes`` of the file at ``path``."""

    path: Path
    format: str
    columns: tuple[str, ...]
    counts: Counts
    bytes: int

    def facts(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return {
            "path": str(self.path),
            "format": self.format,
            "columns": list(self.columns),
            **vars(self.counts),
            "bytes": self.bytes,
        }


def export(
    campaign: str | Path,
    output: str | Path,
    columns: Iterable[str] | None = None,
    select: str | None = None,
    run: str | Iterable[str] | None = None,
    *,
    format: str | None = None,
    time_order: bool = False,
    window: int | None = None,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Exported:
    """Write chosen columns of chosen signals to one file, which appears under its name when it is whole.

    Parameters
    ----------
    campaign, columns, select, run, time_order, window
        As in :func:`psdbatch.iterate`.  A column with several numbers per signal becomes several columns.
    output
        ``.parquet``, ``.root`` or ``.csv``; an existing file is replaced, of a link the file that it names.
    format
        ``"parquet"``, ``"root"`` or ``"csv"``; default: what the name says.
    told
        Called with the signals looked at, and how many there are.

    Raises
    ------
    ConfigurationError
        Wrong columns, selection, format or output, or a library is missing; the message says how to install it.
    CampaignError, StorageError
        The results cannot be read, the file cannot be written.
    """
    contents = Contents(campaign, run)
    file = table_file(Path(output), contents.store, format=format)
    stream = open_stream(contents, columns, select, numbers=True, time_order=time_order, window=window)
    chosen = tuple(found.column for found in stream.extract.quantities)
    names = tuple(stored.name for stored in contents.runs)
    several = len(names) > 1
    provenance = {
        "creator": f"psdbatch {__version__}",
        "selection": select,
        "order": "time, run by run" if time_order else "as stored",
        "results": contents.attributes,
        "runs": list(names),
    }
    table = Table((RUN_COLUMN, *chosen), provenance, {RUN: names}) if several else Table(chosen, provenance)

    def pieces() -> Iterator[Piece]:
        for piece in stream:
            told(stream.counts.signals, contents.signals)
            yield piece

    with file.open(table) as write:
        for piece in regrouped(pieces(), ROWS):
            write(_with_run(piece, names.index(piece.run)) if several else piece.columns)
    size = file.target.stat().st_size
    return Exported(file.path, file.format, tuple(column.name for column in chosen), stream.counts, size)


def regrouped(pieces: Iterable[Piece], signals: int) -> Iterator[Piece]:
    """The same signals in pieces of one run of at least ``signals`` signals, where there are so many."""
    held: list[Piece] = []
    for piece in pieces:
        if held and (held[0].run != piece.run or sum(part.signals for part in held) >= signals):
            yield _joined(held)
            held = []
        held.append(piece)
    if held:
        yield _joined(held)


def _with_run(piece: Piece, number: int) -> Mapping[str, Array]:
    return {RUN: np.full(piece.signals, number, RUN_COLUMN.dtype), **piece.columns}


def _joined(pieces: list[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    columns = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return Piece(pieces[0].run, sum(piece.signals for piece in pieces), columns)
