"""Signals of a run in order, across its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Self

from psdbatch.acquisition.format import Damage, SignalReader
from psdbatch.acquisition.index import FileIndex, open_signals, read_index
from psdbatch.acquisition.signals import Signals
from psdbatch.campaign.plan import Block, Segment
from psdbatch.errors import AcquisitionFileError, ChangedError, ReadError


class RunReader:
    """Reads the signals of a run's blocks; keeps the last file open, so that reading on costs nothing.

    Parameters
    ----------
    indexes
        Path of the index of each file that will be read, by the file's number in the run.
    """

    def __init__(self, indexes: Mapping[int, Path]) -> None:
        self._indexes = indexes
        self._file: int | None = None
        self._reader: SignalReader | None = None

    def read(self, block: Block, first: int, out: Signals) -> list[Damage]:
        """Fill ``out`` with the signals of ``block`` from its signal number ``first`` on.

        Returns
        -------
        list of Damage
            Damaged signals among them, numbered within the block; reasons name the file.

        Raises
        ------
        ReadError
            The file system failed; another attempt may succeed.
        ChangedError, AcquisitionFileError
            A file is not what the plan was made with.
        """
        damage: list[Damage] = []
        filled = before = 0
        for segment in block.segments:
            start = max(first + filled - before, 0)
            if start < segment.signals and filled < len(out):
                count = min(segment.signals - start, len(out) - filled)
                found = self._read_file(segment.file, segment.first + start, out[filled : filled + count])
                damage += _within_block(found, segment, before)
                filled += count
            before += segment.signals
        return damage

    def _read_file(self, file: int, position: int, out: Signals) -> list[Damage]:
        index = _cached_index(self._indexes[file])
        held = {column.name for column in index.scan.columns}
        for name, values in out.extra.items():
            if name not in held:
                values[:] = 0
        wanted = replace(out, extra={name: values for name, values in out.extra.items() if name in held})
        try:
            reader = self._open(file, index, position)
            filled = reader.read(wanted)
        except OSError as error:
            raise ReadError(
                f"{index.path}: cannot be read from signal {position:,} on: {error.strerror or error}"
            ) from error
        if filled < len(out):
            raise AcquisitionFileError(
                f"{index.path}: ends at signal {position + filled:,}, the index says {index.scan.signals:,}; "
                "the file changed after it was indexed"
            )
        found, reader.damage = reader.damage, []
        return [replace(entry, reason=f"{index.path}: {entry.reason}") for entry in found]

    def _open(self, file: int, index: FileIndex, position: int) -> SignalReader:
        if self._reader is not None and self._file == file:
            if self._reader.position == position:
                return self._reader
            if not index.seekable and self._reader.position < position:
                self._reader.skip(position - self._reader.position)  # never decompress from the start again
                return self._reader
        self.close()
        changed = index.changed()
        if changed:
            raise ChangedError(f"{index.path}: {changed}; the campaign was planned with the file as it was")
        self._file, self._reader = file, open_signals(index, position)
        return self._reader

    def close(self) -> None:
        """Close the open file, if any."""
        if self._reader is not None:
            self._reader.close()
        self._file = self._reader = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _within_block(found: list[Damage], segment: Segment, before: int) -> list[Damage]:
    shift = before - segment.first
    return [replace(entry, first=entry.first + shift) for entry in found]


@lru_cache(maxsize=64)
def _cached_index(path: Path) -> FileIndex:
    return read_index(path)
