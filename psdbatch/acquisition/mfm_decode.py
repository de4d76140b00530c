"""Kernels that read and write the contents of NEDA frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.acquisition.mfm_frames import (
    LITTLE_ORDER,
    PARITY_BIT,
    RAW,
    REVISION_ORDER,
    SAMPLE_MASK,
    Field,
    Location,
)
from psdbatch.acquisition.mfm_walk import PARITY_WRONG, Bytes, number
from psdbatch.columns import Flag
from psdbatch.compiled import compiled

DAMAGED, NO_SAMPLES = int(Flag.DAMAGED), int(Flag.NO_SAMPLES)


@compiled
def little_contents(data: Bytes, position: int) -> bool:
    """Byte order of a raw frame's contents: that of the header, but always little endian in revision 0."""
    return data[position] >= 0x80 or data[position + 7] == 0


@compiled
def raw_time(data: Bytes, position: int) -> int:
    """48-bit time of a raw frame; big-endian frames of revision 0 hold three little-endian words, highest first."""
    if data[position] >= 0x80:
        return number(data, position + 22, 6, True)
    if data[position + 7] != 0:
        return number(data, position + 22, 6, False)
    high = number(data, position + 22, 2, True)
    return high << 32 | number(data, position + 26, 2, True) << 16 | number(data, position + 24, 2, True)


@compiled
def copy_samples(words: NDArray[np.uint16], start: int, swap: bool, count: int, row: NDArray[Any]) -> int:
    """Fill ``row`` with samples; returns the wrong parity bits among all ``count`` words (0 if all are right)."""
    wrong = np.uint16(0)
    stored = min(count, len(row))
    words = words[start : start + count]
    if swap:  # two loops without a decision inside, so that they become vector instructions
        for i in range(stored):
            word = np.uint16(words[i] >> 8 | words[i] << 8)
            wrong |= word ^ np.uint16((i & 1) << 14)
            row[i] = word & SAMPLE_MASK
    else:
        for i in range(stored):
            wrong |= words[i] ^ np.uint16((i & 1) << 14)
            row[i] = words[i] & SAMPLE_MASK
    for i in range(stored, count):
        word = np.uint16(words[i] >> 8 | words[i] << 8) if swap else words[i]
        wrong |= word ^ np.uint16((i & 1) << 14)
    if stored:
        row[stored:] = row[stored - 1]
    return np.int64(wrong) & PARITY_BIT


@compiled
def decode(
    data: Bytes,
    even: NDArray[np.uint16],
    odd: NDArray[np.uint16],
    located: NDArray[Any],
    raw_location: Location,
    compressed_location: Location,
    check_parity: bool,
    samples: NDArray[Any],
    length: NDArray[np.uint32],
    timestamp: NDArray[np.uint64],
    board: NDArray[np.uint16],
    channel: NDArray[np.uint16],
    flags: NDArray[np.uint16],
) -> None:
    """Decode located frames into the arrays of :class:`psdbatch.acquisition.signals.Signals`.

    ``even`` and ``odd`` show the 16-bit words of ``data`` that begin at even and at odd bytes.
    """
    for i in range(len(located)):
        one = located[i]
        p = np.int64(one.position)
        little = data[p] >= 0x80
        count = 0
        if one.kind == RAW:
            location, convention = number(data, p + 16, 2, little), raw_location
            timestamp[i] = raw_time(data, p)
            count = one.samples
        else:
            location, convention = number(data, p + 18, 2, little), compressed_location
            timestamp[i] = number(data, p + 12, 6, little)
        channel[i] = location & convention.channel_mask
        board[i] = (location >> convention.board_shift) & convention.board_mask
        if one.fault == 0 and count > 0:
            first = p + (number(data, p + 8, 2, little) << (data[p] & 0x0F))
            swap = not little_contents(data, p)
            if first & 1:
                wrong = copy_samples(odd, first >> 1, swap, count, samples[i])
            else:
                wrong = copy_samples(even, first >> 1, swap, count, samples[i])
            if wrong and check_parity:
                one.fault = PARITY_WRONG
        length[i] = min(count, samples.shape[1])
        flags[i] = 0
        if count == 0:
            flags[i] = NO_SAMPLES
        if one.fault:
            flags[i] |= DAMAGED
            length[i] = 0
        if flags[i]:
            samples[i] = 0


@compiled
def read_field(data: Bytes, located: NDArray[Any], raw: Field, compressed: Field, out: NDArray[Any]) -> None:
    """Decode one extra column; frames without it give 0."""
    for i in range(len(located)):
        p = np.int64(located[i].position)
        place = raw if located[i].kind == RAW else compressed
        out[i] = 0
        if place.width == 0:
            continue
        little = data[p] >= 0x80
        if place.order == LITTLE_ORDER:
            little = True
        elif place.order == REVISION_ORDER:
            little = little_contents(data, p)
        value = number(data, p + place.offset, place.width, little)
        if place.order == REVISION_ORDER and place.offset == 30 and data[p + 7] == 0:
            value &= 0xFF  # revision 0 knew only 8 bits of the TDC value
        out[i] = (value >> place.shift) & place.mask
