"""A window that slides over a byte stream, so that memory does not grow with the file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from psdbatch.acquisition.bytesource import ByteStream

WINDOW_BYTES = 1 << 20
"""Small enough that the bytes are still in the processor's cache when they are decoded."""


class SlidingWindow:
    """Consecutive bytes of a stream in one array.

    Attributes
    ----------
    data
        uint8 buffer; ``data[:filled]`` is valid.
    base
        Offset of ``data[0]`` in the file.
    ended
        Whether the file ends at ``base + filled``.
    """

    def __init__(self, stream: ByteStream, offset: int, size: int = WINDOW_BYTES) -> None:
        self._stream = stream
        self.data = np.empty(size, np.uint8)
        self.base = offset
        self.filled = 0
        self.ended = False

    def advance(self, consumed: int, needed: int) -> None:
        """Give up the first ``consumed`` bytes and fill up.

        Afterwards the window holds ``needed`` bytes at least, or the file has ended; it grows only for that.
        """
        rest = self.data[consumed : self.filled]
        data = self.data if needed <= len(self.data) else np.empty(needed + len(self.data), np.uint8)
        data[: len(rest)] = rest
        self.data, self.base, self.filled = data, self.base + consumed, len(rest)
        free = memoryview(data)[self.filled :]  # type: ignore[arg-type]
        count = self._stream.readinto(free)
        self.filled += count
        self.ended = count < len(free)

    def close(self) -> None:
        """Release the stream."""
        self._stream.close()


def words_of(data: NDArray[np.uint8]) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Little-endian 16-bit words of ``data`` that begin at even and at odd bytes, as views."""
    even, odd = data[: len(data) // 2 * 2], data[1 : 1 + (len(data) - 1) // 2 * 2]
    return even.view("<u2"), odd.view("<u2")
