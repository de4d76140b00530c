"""Bytes of an acquisition file, whether it is compressed as a whole or not.

Formats ask for a stream that starts at a byte of the *decompressed* file and never learn what lies on disk.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self


class ByteStream(ABC):
    """Bytes in order from some offset on."""

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
    """

    path: Path
    compression: str = "none"
    seekable: bool = True

    @abstractmethod
    def open(self, offset: int = 0) -> ByteStream:
        """Stream from byte ``offset`` of the decompressed file.

        Raises
        ------
        OSError
            The file cannot be opened or read.
        """


class _FileStream(ByteStream):
    def __init__(self, path: Path, offset: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._file.seek(offset)

    def readinto(self, buffer: memoryview) -> int:
        filled = 0
        while filled < len(buffer):
            count = self._file.readinto(buffer[filled:])
            if not count:
                break
            filled += count
        return filled

    def close(self) -> None:
        self._file.close()


class PlainFile(ByteSource):
    """A file as it lies on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, offset: int = 0) -> ByteStream:
        return _FileStream(self.path, offset)


def open_source(path: Path) -> ByteSource:
    """Byte source for ``path``; the compression is recognised by its first bytes."""
    return PlainFile(path)
