"""Chosen results as one file for other programs: Parquet, ROOT or comma-separated text, of any size in little memory."""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from psdbatch import __version__
from psdbatch.columns import Column
from psdbatch.errors import ConfigurationError, StorageError
from psdbatch.results.contents import Contents
from psdbatch.results.extract import Counts, Piece
from psdbatch.results.streaming import open_stream
from psdbatch.wording import nearest

Array = NDArray[Any]

ROWS = 1_048_576
"""Signals written at a time: a row group of Parquet, a cluster of baskets of ROOT."""

MODULES = {"parquet": "parquet_file", "root": "root_file", "csv": "csv_file"}
"""Formats, and the module that writes each: its ``open_table(path, table)`` is a context that gives a ``write``."""


class Write(Protocol):
    """Writes some rows of a run."""

    def __call__(self, run: str, columns: Mapping[str, Array]) -> None: ...


@dataclass(frozen=True)
class Table:
    """What a file is to hold: its columns, the runs of its rows, and where the values come from (for JSON)."""

    columns: tuple[Column, ...]
    runs: tuple[str, ...]
    provenance: Mapping[str, Any]

    @property
    def description(self) -> dict[str, Any]:
        """Provenance, runs, and meaning and unit of every column."""
        columns = {column.name: {"meaning": column.meaning, "unit": column.unit} for column in self.columns}
        return {**self.provenance, "runs": list(self.runs), "columns": columns}


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
        ``.parquet``, ``.root`` or ``.csv``; an existing file is replaced.
    format
        ``"parquet"``, ``"root"`` or ``"csv"``; default: what the name says.
    told
        Called with the signals looked at, and how many there are.

    Raises
    ------
    ConfigurationError
        Wrong columns, selection or format, or a library is missing; the message says how to install it.
    CampaignError, StorageError
        The results cannot be read, the file cannot be written.
    """
    path = Path(output)
    kind = _format(path, format)
    module = _writer(kind)
    contents = Contents(campaign, run)
    stream = open_stream(contents, columns, select, numbers=True, time_order=time_order, window=window)
    table = Table(
        tuple(found.column for found in stream.extract.quantities),
        tuple(stored.name for stored in contents.runs),
        {
            "creator": f"psdbatch {__version__}",
            "selection": select,
            "order": "time, run by run" if time_order else "as stored",
            "results": contents.attributes,
        },
    )

    def pieces() -> Iterator[Piece]:
        for piece in stream:
            told(stream.counts.signals, contents.signals)
            yield piece

    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with module.open_table(partial, table) as write:
            for piece in regrouped(pieces(), ROWS):
                write(piece.run, piece.columns)
        size = partial.stat().st_size
        partial.replace(path)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}", lasting=True) from error
    finally:
        partial.unlink(missing_ok=True)
    return Exported(path, kind, tuple(column.name for column in table.columns), stream.counts, size)


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


def library(name: str) -> Any:
    """A library that only exports need.

    Raises
    ------
    ConfigurationError
        It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigurationError(
            f"this export needs {name.partition('.')[0]}, which cannot be imported here ({error}); "
            "install it with: pip install 'psdbatch[export]'"
        ) from None


def _joined(pieces: list[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    columns = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return Piece(pieces[0].run, sum(piece.signals for piece in pieces), columns)


def _format(path: Path, given: str | None) -> str:
    kind = path.suffix.lstrip(".").lower() if given is None else given
    if kind not in MODULES:
        raise ConfigurationError(
            f"{path}: '{kind}' is no format to export to{nearest(kind, MODULES)}; formats: {', '.join(MODULES)}"
        )
    if not path.absolute().parent.is_dir():
        raise ConfigurationError(f"{path}: its directory does not exist; make it first")
    return kind


class _Module(Protocol):
    def open_table(self, path: Path, table: Table) -> AbstractContextManager[Write]: ...


def _writer(kind: str) -> _Module:
    module: Any = importlib.import_module(f"psdbatch.results.{MODULES[kind]}")
    return module  # type: ignore[no-any-return]
