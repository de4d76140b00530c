"""A table as one file for other programs: which formats there are, what a table says of itself, and how its file appears."""

from __future__ import annotations

import fcntl
import importlib
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from psdbatch.columns import Column
from psdbatch.errors import ConfigurationError, PsdbatchError, StorageError
from psdbatch.results.runs import belongings
from psdbatch.wording import nearest

Array = NDArray[Any]

MODULES = {"parquet": "parquet_file", "root": "root_file", "csv": "csv_file"}
"""Formats, and the module that writes each: its ``open_table(path, table)`` is a context that gives a ``write``."""


class Write(Protocol):
    """Writes some rows: a column of the table by name."""

    def __call__(self, columns: Mapping[str, Array]) -> None: ...


@dataclass(frozen=True)
class Table:
    """What a file is to hold.

    Attributes
    ----------
    columns
        In their order.
    provenance
        Where the values come from, for JSON.
    words
        Of columns whose values are places in a list of words: the list.  Text has the words, Parquet a dictionary of
        them, ROOT the places, with the list in its description.
    """

    columns: tuple[Column, ...]
    provenance: Mapping[str, Any]
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def description(self) -> dict[str, Any]:
        """Provenance, and meaning, unit and words of every column."""
        columns: dict[str, dict[str, Any]] = {
            column.name: {"meaning": column.meaning, "unit": column.unit} for column in self.columns
        }
        for name, words in self.words.items():
            columns[name]["words"] = list(words)
        return {**self.provenance, "columns": columns}


@dataclass(frozen=True)
class TableFile:
    """A file that a table is to be written to: ``path`` as users name it, ``target`` without links, its ``format``."""

    path: Path
    target: Path
    format: str

    @contextmanager
    def open(self, table: Table) -> Iterator[Write]:
        """Write rows; the file appears, in place of an earlier one, when the context is left without an error.

        Raises
        ------
        ConfigurationError
            A library is missing; the message says how to install it.
        StorageError
            The file cannot be written.
        """
        module: _Module = importlib.import_module(f"psdbatch.results.{MODULES[self.format]}")
        try:
            with _partial(self.target) as partial:
                with module.open_table(partial, table) as write:
                    yield write
                partial.replace(self.target)
        except OSError as error:
            if isinstance(error, PsdbatchError):  # of what is read
                raise
            reason = os.strerror(error.errno) if error.errno else error  # that of libraries names the unfinished file
            raise StorageError(f"{self.path}: cannot be written: {reason}", lasting=True) from error


def table_file(path: Path, *stores: Path, format: str | None = None) -> TableFile:
    """The file at ``path``, checked before anything is read.  A link is followed: what it names is written.

    Parameters
    ----------
    stores
        Stores that are read; neither they nor their campaigns may be written to.
    format
        One of :data:`MODULES`; default: what the name says.

    Raises
    ------
    ConfigurationError
        No such format or directory, a part of a campaign, or something that is no regular file.
    """
    kind = path.suffix.lstrip(".").lower() if format is None else format
    if kind not in MODULES:
        raise ConfigurationError(
            f"{path}: '{kind}' is no format to export to{nearest(kind, MODULES)}; formats: {', '.join(MODULES)}"
        )
    try:
        target = path.resolve()
    except (OSError, RuntimeError) as error:  # links that lead in a circle
        raise ConfigurationError(f"{path}: cannot be followed: {error}") from None
    if not target.parent.is_dir():
        raise ConfigurationError(f"{path}: its directory does not exist; make it first")
    if target.exists() and not target.is_file():
        what = "a directory" if target.is_dir() else "no regular file, but a device, pipe or socket"
        raise ConfigurationError(f"{path}: is {what}; name a file to write")
    for store in stores:
        if any(target.is_relative_to(place.resolve()) for place in (store, belongings(store))):
            raise ConfigurationError(f"{path}: lies inside the campaign {belongings(store)}; name a file outside of it")
    return TableFile(path, target, kind)


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


@contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """An unfinished file beside ``target``, gone at the end; those that killed processes left behind go too.

    It is locked before it has its name, so that another process can tell whether somebody writes it.
    """
    new = target.with_name(f".{target.name}.{uuid.uuid4().hex}.new")
    path = new.with_suffix(".partial")
    with new.open("xb") as held:
        try:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
            new.rename(path)
            _remove_abandoned(target, path)
            yield path
        finally:
            path.unlink(missing_ok=True)


def _remove_abandoned(target: Path, own: Path) -> None:
    for left in target.parent.glob(f".{escape(target.name)}.{'[0-9a-f]' * 32}.partial"):
        if left != own:
            with suppress(OSError), left.open("rb+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()


class _Module(Protocol):
    def open_table(self, path: Path, table: Table) -> AbstractContextManager[Write]: ...
