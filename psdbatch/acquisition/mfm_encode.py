"""Kernels that write NEDA frames; the inverse of :mod:`psdbatch.acquisition.mfm_decode`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.acquisition.mfm_frames import (
    END_WORD,
    LITTLE_ORDER,
    RAW_HEADER,
    REVISION_ORDER,
    SAMPLE_MASK,
    Field,
    FrameType,
    Location,
)
from psdbatch.acquisition.mfm_walk import Bytes
from psdbatch.compiled import compiled

NEDA, NEDA_COMPRESSED = int(FrameType.NEDA), int(FrameType.NEDA_COMPRESSED)


@compiled
def put_number(data: Bytes, position: int, width: int, value: int, little: bool) -> None:
    """Write an unsigned integer of ``width`` bytes."""
    for i in range(width):
        data[position + (i if little else width - 1 - i)] = (value >> (8 * i)) & 0xFF


@compiled
def put_header(data: Bytes, position: int, size: int, frame_type: int, revision: int, little: bool, shift: int) -> None:
    """Write the common header."""
    data[position] = (0x80 if little else 0) | shift
    put_number(data, position + 1, 3, size >> shift, little)
    put_number(data, position + 5, 2, frame_type, little)
    data[position + 7] = revision


@compiled
def put_samples(words: NDArray[np.uint16], samples: NDArray[Any], count: int, little: bool) -> None:
    """Write samples with their parity bits."""
    if little:
        for j in range(count):
            words[j] = np.uint16(samples[j] & SAMPLE_MASK) | np.uint16((j & 1) << 14)
    else:
        for j in range(count):
            word = np.uint16(samples[j] & SAMPLE_MASK) | np.uint16((j & 1) << 14)
            words[j] = np.uint16(word >> 8 | word << 8)


@compiled
def encode_raw(
    data: Bytes,
    starts: NDArray[np.int64],
    samples: NDArray[Any],
    length: NDArray[np.uint32],
    timestamp: NDArray[np.uint64],
    board: NDArray[np.uint16],
    channel: NDArray[np.uint16],
    location: Location,
    revision: int,
    little: bool,
    shift: int,
) -> None:
    """Write NEDA raw frames into zeroed ``data``; frame ``i`` fills ``data[starts[i]:starts[i + 1]]``."""
    header = -(-RAW_HEADER >> shift) << shift
    contents = little or revision == 0
    words = data.view(np.uint16)  # frames and headers have an even number of bytes, whatever the block size
    for i in range(len(length)):
        p = starts[i]
        put_header(data, p, starts[i + 1] - p, NEDA, revision, little, shift)
        put_number(data, p + 8, 2, header >> shift, little)
        put_number(data, p + 10, 2, 2, little)
        put_number(data, p + 12, 4, length[i], little)
        where = np.int64(board[i]) << location.board_shift | np.int64(channel[i])
        put_number(data, p + 16, 2, where, little)
        time = np.int64(timestamp[i])
        if revision == 0 and not little:
            put_number(data, p + 22, 2, time >> 32, True)
            put_number(data, p + 24, 2, time & 0xFFFF, True)
            put_number(data, p + 26, 2, time >> 16 & 0xFFFF, True)
        else:
            put_number(data, p + 22, 6, time, little)
        put_samples(words[(p + header) >> 1 :], samples[i], length[i], contents)
        put_number(data, p + header + 2 * np.int64(length[i]), 4, END_WORD, True)


@compiled
def encode_compressed(
    data: Bytes,
    starts: NDArray[np.int64],
    timestamp: NDArray[np.uint64],
    board: NDArray[np.uint16],
    channel: NDArray[np.uint16],
    location: Location,
    revision: int,
    little: bool,
    shift: int,
) -> None:
    """Write NEDA compressed frames into zeroed ``data``, as :func:`encode_raw` does."""
    for i in range(len(timestamp)):
        p = starts[i]
        put_header(data, p, starts[i + 1] - p, NEDA_COMPRESSED, revision, little, shift)
        data[p] |= 0x40  # compressed frames are blobs: no header of items
        put_number(data, p + 12, 6, np.int64(timestamp[i]), little)
        where = np.int64(board[i]) << location.board_shift | np.int64(channel[i])
        put_number(data, p + 18, 2, where, little)


@compiled
def put_field(
    data: Bytes, starts: NDArray[np.int64], place: Field, revision: int, little: bool, values: NDArray[Any]
) -> None:
    """Write one extra column into frames; bits of the same bytes that belong to other columns stay."""
    order = little or place.order == LITTLE_ORDER or (place.order == REVISION_ORDER and revision == 0)
    for i in range(len(values)):
        value = (np.int64(values[i]) & place.mask) << place.shift
        for k in range(place.width):
            byte = k if order else place.width - 1 - k
            data[starts[i] + place.offset + byte] |= (value >> (8 * k)) & 0xFF
