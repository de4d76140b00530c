"""One shard of a Zarr v3 array as bytes, made in the thread that calls.

A block is exactly one shard, so a shard is encoded once, whole, and never modified.  Doing it here rather than through
an array library keeps the block task straight-line code: the compression runs in the block's own thread without the
interpreter lock, and what is committed is a list of bytes with a checksum.  The layout is the ``sharding_indexed``
codec of the Zarr v3 specification (https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/) with
inner codecs ``bytes`` (little endian) and ``zstd``, and the index with ``crc32c`` at the end: inner chunks one after
another, then for each of them ``offset`` and ``nbytes`` as little-endian uint64 (both 2**64 - 1 where there is none).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
import zstandard
from numpy.typing import NDArray

ABSENT = 2**64 - 1

_thread = threading.local()


@dataclass(frozen=True)
class Shard:
    """An encoded shard: its ``parts`` in order, total ``bytes`` and ``sha256``."""

    parts: tuple[bytes, ...]
    bytes: int
    sha256: str


def encode_shard(values: NDArray[Any], *, chunk: int, shard: int, level: int, fill_value: Any) -> Shard:
    """Encode the values of one block.

    Parameters
    ----------
    values
        Shape ``(n, ...)`` with ``n <= shard``.
    chunk
        Signals in an inner chunk; divides ``shard``.
    shard
        Signals in a full shard.
    level
        Zstandard level.
    fill_value
        Pads the last, incomplete inner chunk.
    """
    compressor = _compressor(level)
    parts = [compressor.compress(rows) for rows in _inner_chunks(values, chunk, fill_value)]
    index = np.full((shard // chunk, 2), ABSENT, "<u8")
    sizes = np.fromiter(map(len, parts), np.uint64, len(parts))
    index[: len(parts), 1] = sizes
    index[: len(parts), 0] = np.cumsum(sizes) - sizes
    table = index.tobytes()
    parts.append(table + int(google_crc32c.value(table)).to_bytes(4, "little"))
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return Shard(tuple(parts), sum(map(len, parts)), digest.hexdigest())


def _inner_chunks(values: NDArray[Any], chunk: int, fill_value: Any) -> Iterator[memoryview]:
    little_endian = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    for start in range(0, len(values), chunk):
        rows = little_endian[start : start + chunk]
        if len(rows) < chunk:
            padded = np.full((chunk, *values.shape[1:]), fill_value, little_endian.dtype)
            padded[: len(rows)] = rows
            rows = padded
        yield rows.reshape(-1).view(np.uint8).data


def _compressor(level: int) -> zstandard.ZstdCompressor:
    known: dict[int, zstandard.ZstdCompressor] = _thread.__dict__.setdefault("compressors", {})
    if level not in known:  # a compressor may serve only one thread at a time
        known[level] = zstandard.ZstdCompressor(level=level, write_checksum=True)
    return known[level]
