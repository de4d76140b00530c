"""Global shuffle without holding everything: rows are scattered over buckets by a random key, and each bucket is sorted.

The key is 64 random bits, so its order is a random order, and the buckets one after another are the whole in that order.
Memory is one buffer of rows and one bucket, whatever the number of signals.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.columns import Column

Array = NDArray[Any]

KEY = "key"
BUFFER_BYTES = 64 << 20
"""Rows waiting to be scattered; also the size that a bucket has on average, at most."""


def row_dtype(columns: tuple[Column, ...]) -> np.dtype[Any]:
    """One signal with all its columns and its random key."""
    fields = [(column.name, np.dtype(column.dtype), column.shape) for column in columns]
    return np.dtype([*fields, (KEY, np.uint64, ())])


class Buckets:
    """Rows on their way from the order of the files to a random one.

    Parameters
    ----------
    folder
        Where bucket files may be written; nothing is, if all rows fit into the buffer.
    dtype
        From :func:`row_dtype`.
    rows
        Rows that will come, all together.
    memory
        Bytes of the buffer, and about those of a bucket.
    """

    def __init__(self, folder: Path, dtype: np.dtype[Any], rows: int, memory: int = BUFFER_BYTES) -> None:
        self._folder, self._dtype = folder, dtype
        self._count = -(-rows * dtype.itemsize // memory) or 1
        self._buffer = np.empty(max(1, min(rows, memory // dtype.itemsize)), dtype)
        self._filled = 0

    @property
    def count(self) -> int:
        """Number of buckets."""
        return self._count

    def add(self, rows: Array) -> None:
        """Take rows, in any order."""
        while len(rows):
            step = min(len(rows), len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + step] = rows[:step]
            self._filled += step
            rows = rows[step:]
            if self._filled == len(self._buffer) and self._count > 1:
                self._scatter()

    def __iter__(self) -> Iterator[Array]:
        """All rows in the order of their keys, bucket by bucket."""
        if self._count == 1:
            if self._filled:
                yield self._sorted(self._buffer[: self._filled])
            return
        self._scatter()
        self._buffer = np.empty(0, self._dtype)
        for number in range(self._count):
            path = self._path(number)
            if path.exists():
                yield self._sorted(np.fromfile(path, self._dtype))
                path.unlink()

    def _scatter(self) -> None:
        held = self._buffer[: self._filled]
        # by the high 32 bits: exact in 64-bit integers for up to 2**32 buckets
        bucket = ((held[KEY] >> np.uint64(32)) * np.uint64(self._count)) >> np.uint64(32)
        order = np.argsort(bucket, kind="stable")
        ends = np.cumsum(np.bincount(bucket.astype(np.int64), minlength=self._count))
        start = 0
        for number, end in enumerate(ends):
            if end > start:
                with self._path(number).open("ab") as file:
                    file.write(held[order[start:end]].data)
            start = int(end)
        self._filled = 0

    def _sorted(self, rows: Array) -> Array:
        return rows[np.lexsort((rows["number"], rows["file"], rows[KEY]))]

    def _path(self, number: int) -> Path:
        return self._folder / f"bucket-{number:06d}"
