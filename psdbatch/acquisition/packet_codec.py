"""How a column of a packet becomes few bytes and comes back: ``plain``, ``shuffle`` or ``delta``, then zstd.

``shuffle`` puts all first bytes of the values in front of all second bytes and so on.  ``delta`` stores each value
minus the one before it plus 128, modulo 2**bits, shuffled: across the borders of signals too, since the first sample of
a signal is usually near the last one of the signal before.  Both were chosen by measuring, see ``docs/formats/psdz.md``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from psdbatch.acquisition.packet_kernels import BIAS, running_sum, sum_of_planes

Array = NDArray[Any]

ENCODINGS = ("plain", "shuffle", "delta")


class CorruptColumnError(Exception):
    """The bytes of a column are not what the packet's header says."""


def best_encoding(dtype: np.dtype[Any]) -> str:
    """Encoding that pays for values of ``dtype``."""
    if dtype.itemsize == 1:
        return "plain"
    return "delta" if dtype.kind in "iu" else "shuffle"


def encode(values: Array, encoding: str) -> bytes:
    """Bytes of ``values`` (C order, little endian) before compression; their number is ``values.nbytes``."""
    flat = np.ascontiguousarray(values).reshape(-1)
    if encoding == "delta":
        words = flat.view(_word(flat.dtype))
        flat = np.empty_like(words)
        flat[:1] = words[:1]
        np.subtract(words[1:], words[:-1], out=flat[1:])
        flat += flat.dtype.type(BIAS)
    if encoding == "plain":
        return flat.tobytes()
    return flat.view(np.uint8).reshape(-1, flat.itemsize).T.tobytes()


def decode(raw: Array, encoding: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """Values of a whole column from its decompressed bytes ``raw`` (uint8)."""
    if encoding == "plain":
        return raw.view(dtype).reshape(shape)
    if encoding == "delta":
        words = np.empty(math.prod(shape), _word(dtype))
        sum_of_planes(raw, words)
        return words.view(dtype).reshape(shape)
    return np.ascontiguousarray(raw.reshape(dtype.itemsize, -1).T).view(dtype).reshape(shape)


def decompress(decompressor: zstandard.ZstdDecompressor, stored: memoryview, out: Array) -> None:
    """Decompress one zstd frame so that it fills ``out`` (uint8) exactly.

    Raises
    ------
    CorruptColumnError
        It is no zstd frame or of another size.
    """
    try:
        with decompressor.stream_reader(stored) as stream:
            filled = stream.readinto(out)
            if filled != len(out) or stream.read(1):
                raise CorruptColumnError(f"a column does not decompress to {len(out):,} bytes")
    except zstandard.ZstdError as error:
        raise CorruptColumnError(f"a column cannot be decompressed: {error}") from error


class PacketSamples:
    """Samples of one packet, handed out signal by signal group, decoded straight into the caller's array.

    Parameters
    ----------
    raw
        Decompressed bytes, uint8.
    dtype, shape
        Of the decoded samples, ``shape = (signals, samples)``.
    """

    def __init__(self, raw: Array, encoding: str, dtype: np.dtype[Any], shape: tuple[int, int]) -> None:
        self._dtype, self._shape = dtype, shape
        self._next = 0
        self._fast = encoding == "delta" and dtype.itemsize == 2
        if self._fast:
            self._low, self._high = raw[: len(raw) // 2], raw[len(raw) // 2 :]
            self._before = np.uint16(0)
        else:
            self._values = decode(raw, encoding, dtype, shape)

    def take(self, out: Array) -> None:
        """Fill ``out``, shape ``(k, any)``, with the next ``k`` signals: cropped, or padded with the last sample."""
        samples = self._shape[1]
        if self._fast and out.dtype == self._dtype and out.shape[1] == samples and out.flags.c_contiguous:
            self._sum_into(out.view(np.uint16).reshape(-1))
            return
        fit(self._rows(len(out)), out)

    def skip(self, count: int) -> None:
        """Pass over ``count`` signals."""
        if self._fast and count:
            here = slice(self._next * self._shape[1], (self._next + count) * self._shape[1])
            total = int(self._low[here].sum(dtype=np.uint64)) + 256 * int(self._high[here].sum(dtype=np.uint64))
            total += int(self._before) - int(BIAS) * (here.stop - here.start)
            self._before = np.uint16(total & 0xFFFF)
        self._next += count

    def _rows(self, count: int) -> Array:
        if not self._fast:
            self._next += count
            return self._values[self._next - count : self._next]
        rows = np.empty((count, self._shape[1]), self._dtype)
        self._sum_into(rows.view(np.uint16).reshape(-1))
        return rows

    def _sum_into(self, flat: Array) -> None:
        start = self._next * self._shape[1]
        here = slice(start, start + len(flat))
        if len(flat):
            running_sum(self._low[here], self._high[here], self._before, flat)
            self._before = flat[-1]
        self._next += len(flat) // self._shape[1]


def fit(rows: Array, out: Array) -> None:
    """Copy ``rows`` into ``out`` of as many rows: cropped, or padded with the last sample of each row."""
    width = min(rows.shape[1], out.shape[1])
    out[:, :width] = rows[:, :width]
    out[:, width:] = rows[:, -1:]


def _word(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"<u{dtype.itemsize}")
