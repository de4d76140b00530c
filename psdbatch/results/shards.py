"""One shard of a Zarr v3 array as bytes, made in the thread that calls.

A block is exactly one shard, so a shard is encoded once, whole, and never modified.  Doing it here rather than through
an array library keeps the block task straight-line code: the compression runs in the block's own thread without the
interpreter lock, and what is committed is a list of bytes with a checksum.

The layout is the ``sharding_indexed`` codec of the Zarr v3 specification
(https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/): inner chunks one after another, then for each
of them ``offset`` and ``nbytes`` as little-endian uint64 (both 2**64 - 1 where there is none), then the CRC-32C of that
table.  An inner chunk is encoded with the codecs ``bytes`` (little endian), ``blosc`` and ``crc32c`` of the same
specification.  Blosc is Zstandard behind a bit shuffle: on columns of answers twice as fast as bare Zstandard, and
smaller (``benchmarks/README.md``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

ABSENT = 2**64 - 1

COMPRESSION_BLOCK = 262_144
"""Bytes that Blosc shuffles and compresses at a time; larger than its own choice, which is made for caches of cores
that decompress a little, and faster here."""


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
        Blosc's compression level, 1 to 9, which chooses the level of Zstandard.
    fill_value
        Pads the last, incomplete inner chunk.
    """
    parts = [_compress(rows, level) for rows in _inner_chunks(values, chunk, fill_value)]
    index = np.full((shard // chunk, 2), ABSENT, "<u8")
    sizes = np.fromiter(map(len, parts), np.uint64, len(parts))
    index[: len(parts), 1] = sizes
    index[: len(parts), 0] = np.cumsum(sizes) - sizes
    table = index.tobytes()
    parts.append(_with_checksum(table))
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return Shard(tuple(parts), sum(map(len, parts)), digest.hexdigest())


def _inner_chunks(values: NDArray[Any], chunk: int, fill_value: Any) -> Iterator[NDArray[Any]]:
    little_endian = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    for start in range(0, len(values), chunk):
        rows = little_endian[start : start + chunk]
        if len(rows) < chunk:
            padded = np.full((chunk, *values.shape[1:]), fill_value, little_endian.dtype)
            padded[: len(rows)] = rows
            rows = padded
        yield rows.reshape(-1)


def _compress(rows: NDArray[Any], level: int) -> bytes:
    return _with_checksum(blosc.compress(rows, b"zstd", level, blosc.BITSHUFFLE, COMPRESSION_BLOCK))


def _with_checksum(content: bytes) -> bytes:
    return content + int(google_crc32c.value(content)).to_bytes(4, "little")
