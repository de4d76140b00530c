"""Global shuffle without holding everything: rows are scattered over buckets by a random key, and each bucket is sorted.

The key is the number of the part and 62 random bits, so its order is a random order within each part, and the buckets one after
another are the whole in that order.
A piece of rows is scattered as it comes, and memory is that of one bucket, whatever the number of signals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from psdbatch.columns import Column

Array = NDArray[Any]

KEY = "key"
RANDOM_BITS = 62
"""Bits of the key below the number of the part."""

MEMORY_BYTES = 64 << 20
"""Sets of up to so many bytes are held in memory and sorted there."""
BUCKET_BYTES = 16 << 20
"""Bytes of a bucket on average: small enough that sorting it moves rows within the processor's cache, mostly."""
MOST_BUCKETS = 240
"""Files open at a time; larger sets have larger buckets."""


def row_dtype(columns: tuple[Column, ...]) -> np.dtype[Any]:
    """One signal with all its columns and its random key."""
    fields = [(column.name, np.dtype(column.dtype), column.shape) for column in columns]
    return np.dtype([*fields, (KEY, np.uint64, ())])


class Buckets:
    """Rows on their way from the order of the files to a random one.

    Parameters
    ----------
    folder
        Where bucket files may be written; nothing is, if all rows fit into memory.
    dtype
        From :func:`row_dtype`.
    sizes
        Rows of each part that will come.
    memory, bucket
        Bytes that are held in memory, and of a bucket.
    """

    def __init__(
        self,
        folder: Path,
        dtype: np.dtype[Any],
        sizes: Sequence[int],
        memory: int = MEMORY_BYTES,
        bucket: int = BUCKET_BYTES,
    ) -> None:
        self._folder, self._dtype = folder, dtype
        total = sum(sizes) * dtype.itemsize
        size = max(bucket, total // MOST_BUCKETS)
        self._first = np.cumsum([0, *(-(-rows * dtype.itemsize // size) for rows in sizes)]).astype(np.uint64)
        self._parts, self._scattered = len(sizes), total > memory
        self._held: list[Array] = []
        self._files: dict[int, IO[bytes]] = {}

    @property
    def count(self) -> int:
        """Number of buckets; one if nothing needs to be scattered."""
        return int(self._first[-1]) if self._scattered else 1

    def add(self, rows: Array) -> None:
        """Take rows, in any order; they are not copied if they stay in memory."""
        if not self._scattered:
            self._held.append(rows)
            return
        bucket = self._bucket(rows[KEY])
        order = np.argsort(bucket, kind="stable")
        ends = np.cumsum(np.bincount(bucket, minlength=self.count))
        for number, piece in enumerate(np.split(order, ends[:-1])):
            if len(piece):
                self._file(number).write(rows[piece].data)

    def __iter__(self) -> Iterator[tuple[int, Array]]:
        """All rows in the order of their keys, in pieces of one part each: its number and its rows."""
        if not self._scattered:
            yield from self._in_order(np.concatenate([np.empty(0, self._dtype), *self._held]))
            return
        self.close()
        for number in range(self.count):
            path = self._path(number)
            if path.exists():
                yield from self._in_order(np.fromfile(path, self._dtype))
                path.unlink()

    def close(self) -> None:
        """Close the files of the buckets."""
        while self._files:
            self._files.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _file(self, number: int) -> IO[bytes]:
        if number not in self._files:
            self._files[number] = self._path(number).open("wb")
        return self._files[number]

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
