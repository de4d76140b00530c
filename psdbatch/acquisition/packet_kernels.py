"""Undoing the difference encoding of 16-bit samples, at memory speed.

A running sum is one dependent addition per sample, 2.4 GB/s.  Summing over 2, 4, 8, 16 neighbours first and then adding
the result 16 samples back has no dependency shorter than 16 samples, so that the compiler uses vector instructions
everywhere: 11 GB/s on the same core (``benchmarks/packet_encodings.py``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.compiled import compiled

U16 = NDArray[np.uint16]
U8 = NDArray[np.uint8]

BIAS = np.uint16(128)
"""Added to every difference by the encoder, so that small ones of either sign leave the high byte 0."""

CHUNK = 4096  # samples; two work arrays of it stay in the first cache
LAG = 16
_16, _1, _8 = np.uint64(LAG), np.uint64(1), np.uint16(8)


@compiled
def running_sum(low: U8, high: U8, before: np.uint16, out: U16) -> None:
    """``out[i] = before + sum of (low + 256 high - BIAS)[: i + 1]``, modulo 2**16.

    ``low`` and ``high`` are the byte planes of the differences, ``before`` the last sample in front of them.
    """
    a = np.zeros(CHUNK + LAG, np.uint16)  # the first 16 stay 0: nothing lies in front of a chunk but ``before``
    b = np.zeros(CHUNK + LAG, np.uint16)
    for start in range(0, len(out), CHUNK):
        m = min(CHUNK, len(out) - start)
        part = out[start : start + m]
        _join(a[LAG : LAG + m], low[start : start + m], high[start : start + m])
        _sum_four(b[LAG : LAG + m], a[LAG:], a[LAG - 1 :], a[LAG - 2 :], a[LAG - 3 :])
        _sum_four(part, b[LAG:], b[LAG - 4 :], b[LAG - 8 :], b[LAG - 12 :])
        for i in range(min(LAG, m)):
            part[i] += before
        # Unsigned indices: numba would otherwise test each one for being negative, and nothing be vectorised.
        for k in range(_16, np.uint64(m)):
            part[k] += part[k - _16]
        before = part[m - 1]


@compiled
def _join(out: U16, low: U8, high: U8) -> None:
    for i in range(len(out)):
        out[i] = np.uint16(low[i]) + (np.uint16(high[i]) << _8) - BIAS


@compiled
def _sum_four(out: U16, a: U16, b: U16, c: U16, d: U16) -> None:
    for i in range(len(out)):
        out[i] = a[i] + b[i] + c[i] + d[i]


@compiled
def sum_of_planes(raw: U8, out: NDArray[Any]) -> None:
    """The same for words of any width, with nothing before: ``out`` unsigned, ``raw`` its byte planes, one after another."""
    n = len(out)
    word = out.dtype.type
    for k in range(len(raw) // max(1, n)):
        plane = raw[k * n : (k + 1) * n]
        shift = word(8 * k)
        for i in range(n):
            out[i] = (out[i] if k else word(0)) | (word(plane[i]) << shift)
    last = word(0)
    for i in range(n):
        last += out[i] - word(BIAS)
        out[i] = last
