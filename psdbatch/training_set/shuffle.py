"""Global shuffle without holding everything: rows are scattered over buckets by a random key, and each bucket is sorted.

The key is the number of the part and 62 random bits, so its order is a random order within each part, and the buckets one after
another are the whole in that order.
Memory is one buffer of rows and one bucket, whatever the number of signals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.columns import Column

Array = NDArray[Any]

KEY = "key"
RANDOM_BITS = 62
"""Bits of the key below the number of the part."""

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
    sizes
        Rows of each part that will come.
    memory
        Bytes of the buffer, and about those of a bucket.
    """

    def __init__(self, folder: Path, dtype: np.dtype[Any], sizes: Sequence[int], memory: int = BUFFER_BYTES) -> None:
        self._folder, self._dtype = folder, dtype
        of_part = [-(-size * dtype.itemsize // memory) for size in sizes]
        self._first = np.concatenate([[0], np.cumsum(of_part)]).astype(np.uint64)
        self._parts, self._scattered = len(sizes), sum(sizes) * dtype.itemsize > memory
        self._buffer = np.empty(max(1, min(sum(sizes), memory // dtype.itemsize)), dtype)
        self._filled = 0

    @property
    def count(self) -> int:
        """Number of buckets; one if nothing needs to be scattered."""
        return int(self._first[-1]) if self._scattered else 1

    def add(self, rows: Array) -> None:
        """Take rows, in any order."""
        while len(rows):
            step = min(len(rows), len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + step] = rows[:step]
            self._filled += step
            rows = rows[step:]
            if self._filled == len(self._buffer) and self._scattered:
                self._scatter()

    def __iter__(self) -> Iterator[tuple[int, Array]]:
        """All rows in the order of their keys, in pieces of one part each: its number and its rows."""
        if not self._scattered:
            yield from self._in_order(self._buffer[: self._filled])
            return
        self._scatter()
        self._buffer = np.empty(0, self._dtype)
        for number in range(self.count):
            path = self._path(number)
            if path.exists():
                yield from self._in_order(np.fromfile(path, self._dtype))
                path.unlink()

    def _scatter(self) -> None:
        held = self._buffer[: self._filled]
        bucket = self._bucket(held[KEY])
        order = np.argsort(bucket, kind="stable")
        ends = np.cumsum(np.bincount(bucket, minlength=self.count))
        start = 0
        for number, end in enumerate(ends):
            if end > start:
                with self._path(number).open("ab") as file:
                    file.write(held[order[start:end]].data)
            start = int(end)
        self._filled = 0

    def _bucket(self, key: Array) -> Array:
        part = (key >> np.uint64(RANDOM_BITS)).astype(np.int64)
        random = (key >> np.uint64(RANDOM_BITS - 32)) & np.uint64(2**32 - 1)  # exact for up to 2**32 buckets
        count = self._first[1:] - self._first[:-1]
        return np.asarray((self._first[part] + ((random * count[part]) >> np.uint64(32))).astype(np.int64))

    def _in_order(self, rows: Array) -> Iterator[tuple[int, Array]]:
        key = rows[KEY].copy()
        order = np.argsort(key)
        key = key[order]
        if (key[1:] == key[:-1]).any():  # one pair in the largest sets
            order = np.lexsort((rows["number"], rows["file"], rows[KEY]))
        ends = np.searchsorted(key, np.arange(1, self._parts, dtype=np.uint64) << np.uint64(RANDOM_BITS))
        for part, piece in enumerate(np.split(order, ends)):
            if len(piece):
                yield part, rows[piece]

    def _path(self, number: int) -> Path:
        return self._folder / f"bucket-{number:06d}"
