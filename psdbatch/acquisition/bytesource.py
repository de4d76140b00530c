"""Bytes of an acquisition file, whether it is compressed as a whole or not.

Formats ask for a stream that starts at a byte of the *decompressed* file and never learn what lies on disk.
"""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

DROP_BYTES = 1 << 20
"""How much is read at a time where bytes are passed over by reading them."""


class ByteStream(ABC):
    """Bytes in order from some offset on.

    Attributes
    ----------
    damage
        What is wrong with the compressed file, and where in it, once the stream has ended early because of it.
    """

    damage: str | None = None

    @abstractmethod
    def readinto(self, buffer: memoryview) -> int:
        """Fill ``buffer`` from its start; return how many bytes were filled, fewer only at the end of the file."""

    @abstractmethod
    def close(self) -> None:
        """Release the file."""

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer only at the end of the file."""
        buffer = bytearray(count)
        filled = self.readinto(memoryview(buffer))
        return bytes(buffer[:filled]) if filled < count else bytes(buffer)

    def skip(self, count: int) -> int:
        """Pass over ``count`` bytes; return how many there were, fewer only at the end of the file."""
        buffer = memoryview(bytearray(min(count, DROP_BYTES)))
        skipped = 0
        while skipped < count:
            filled = self.readinto(buffer[: count - skipped])
            if not filled:
                break
            skipped += filled
        return skipped

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class ByteSource(ABC):
    """A file whose (decompressed) bytes can be streamed from an offset.

    Attributes
    ----------
    path
        Where the file lies.
    compression
        ``"none"``, ``"zstd"`` or ``"gzip"``.
    seekable
        Whether a stream may start in the middle without decompressing everything before it.
    damage, damage_offset
        The damage that ended a stream of this source early, else None, and how many decompressed bytes lie before it.
        Known only after reading.
    """

    path: Path
    compression: str = "none"
    damage: str | None = None
    damage_offset: int = 0

    @property
    def seekable(self) -> bool:
        """True for a file as it lies on disk."""
        return True

    @abstractmethod
    def open(self, offset: int = 0) -> ByteStream:
        """Stream from byte ``offset`` of the decompressed file.

        Raises
        ------
        OSError
            The file cannot be opened or read.
        """


def fill(file: io.RawIOBase, buffer: memoryview) -> int:
    """Read from ``file`` until ``buffer`` is full or the file ends; return the bytes filled."""
    filled = 0
    while filled < len(buffer):
        count = file.readinto(buffer[filled:])
        if not count:
            break
        filled += count
    return filled


class _FileStream(ByteStream):
    def __init__(self, path: Path, offset: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._file.seek(offset)

    def readinto(self, buffer: memoryview) -> int:
        return fill(self._file, buffer)

    def skip(self, count: int) -> int:
        here = self._file.tell()
        left = max(0, os.fstat(self._file.fileno()).st_size - here)
        self._file.seek(here + min(count, left))
        return min(count, left)

    def close(self) -> None:
        self._file.close()


class PlainFile(ByteSource):
    """A file as it lies on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, offset: int = 0) -> ByteStream:
        return _FileStream(self.path, offset)


def open_source(path: Path) -> ByteSource:
    """Byte source for ``path``; the compression is recognised by its first bytes.

    Raises
    ------
    OSError
        The file cannot be opened or read.
    """
    from psdbatch.acquisition.compressed import GzipFile, ZstdFile  # they derive from the classes above

    if path.is_dir():
        return PlainFile(path)  # a Zarr group: its format opens what is inside
    with path.open("rb") as file:
        head = file.read(4)
    if GzipFile.recognises(head):
        return GzipFile(path)
    if ZstdFile.recognises(head):
        return ZstdFile(path)
    return PlainFile(path)
