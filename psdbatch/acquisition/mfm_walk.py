"""Kernel that walks over MFM frames and decides what is a frame.

The decision about a frame depends only on its own bytes and those directly behind it, never on how the file is cut into
windows, so a scan and a reader that starts anywhere agree.  Trust, from strong to weak:

* a NEDA frame proves itself: type, item size, item count and size must agree (a chance of 2**-40 in random bytes);
* a merge frame proves itself if frames fill it exactly, to any depth; if not, its header is a gap and its children are
  searched one by one;
* any other frame says nothing but its size, so what follows must prove it: a NEDA frame or the end of the file, or
  (twice in a row) a type known to MFMlib.

Behind a gap only frames that prove themselves are taken up again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.acquisition.mfm_frames import (
    COMMON_HEADER,
    COMPRESSED,
    COMPRESSED_SIZE,
    END_WORD,
    ITEM_HEADER,
    LARGEST_FRAME,
    RAW,
    RAW_HEADER,
    FrameType,
)
from psdbatch.compiled import compiled

Bytes = NDArray[np.uint8]

BAD, MERGE, FOREIGN, UNDECIDED = 0, 3, 4, 5
"""Further kinds of frames; ``RAW`` and ``COMPRESSED`` are those that hold signals."""

DEEPEST = 16  # merge frames inside one another
LONGEST_CHAIN = 8  # frames of unknown type in a row that are followed to a proof
KNOWN = tuple(int(frame_type) for frame_type in FrameType)
NEDA, NEDA_COMPRESSED = int(FrameType.NEDA), int(FrameType.NEDA_COMPRESSED)
MERGE_EN, MERGE_TS = int(FrameType.MERGE_EN), int(FrameType.MERGE_TS)

REASONS = (
    "",
    "the end word of the frame is wrong",
    "bytes of the frame are missing: its end word is wrong and no frame follows it",
    "a sample's parity bit is wrong",
    "these bytes belong to no readable frame",
    "the file ends inside a frame",
)
END_WORD_WRONG, TORN, PARITY_WRONG, LOST, TRUNCATED = range(1, 6)


@compiled
def number(data: Bytes, position: int, width: int, little: bool) -> int:
    """Unsigned integer of ``width`` bytes."""
    value = 0
    for i in range(width):
        value |= np.int64(data[position + (i if little else width - 1 - i)]) << (8 * i)
    return value


@compiled
def frame_at(data: Bytes, position: int, filled: int) -> tuple[int, int, int]:
    """Kind, bytes and samples of the frame at ``position``, by its header alone; ``BAD`` if that contradicts itself."""
    if filled - position < COMMON_HEADER or data[position] & 0x30:
        return BAD, 0, 0
    little = data[position] >= 0x80
    shift = data[position] & 0x0F
    size = number(data, position + 1, 3, little) << shift
    frame_type = number(data, position + 5, 2, little)
    if size < COMMON_HEADER or size > LARGEST_FRAME:
        return BAD, 0, 0
    if frame_type == NEDA_COMPRESSED:
        return (COMPRESSED if 0 <= size - COMPRESSED_SIZE < 1 << shift else BAD), size, 0
    if frame_type not in (NEDA, MERGE_EN, MERGE_TS):
        return FOREIGN, size, 0
    if filled - position < ITEM_HEADER:
        return BAD, size, 0
    header = number(data, position + 8, 2, little) << shift
    items = number(data, position + 12, 4, little)
    if frame_type == NEDA:
        rest = size - header - 2 * items - 4
        whole = header >= RAW_HEADER and number(data, position + 10, 2, little) == 2 and 0 <= rest < 1 << shift
        return (RAW if whole else BAD), size, items
    least = 20 if frame_type == MERGE_EN else 24
    return (MERGE if least <= header <= min(size, 64 + (1 << shift)) else BAD), size, 0


@compiled
def frame_type_at(data: Bytes, position: int) -> int:
    """Field ``frameType``."""
    return number(data, position + 5, 2, data[position] >= 0x80)


@compiled
def end_word_right(data: Bytes, position: int, samples: int) -> bool:
    """Whether the word behind the samples of a NEDA raw frame is the end word (a palindrome: no byte order)."""
    header = number(data, position + 8, 2, data[position] >= 0x80) << (data[position] & 0x0F)
    return number(data, position + header + 2 * samples, 4, True) == END_WORD


@compiled
def inside_merge(
    data: Bytes, start: int, wanted: int, check_end: bool, located: NDArray[Any], count: int, emit: bool
) -> tuple[int, int]:
    """Walk over the children of the merge frame at ``start``, to any depth.

    Returns the number of NEDA frames, or -1 unless frames fill every merge exactly (up to padding to its block), and
    the new ``count`` of ``located``, which is written with ``emit``.
    """
    ends = np.empty(DEEPEST, np.int64)
    paddings = np.empty(DEEPEST, np.int64)  # most padding behind the last child
    missing = np.empty(DEEPEST, np.int64)  # children still to come, by the merge's own count
    depth, position, neda = -1, start, 0
    while True:
        while depth >= 0 and (
            position == ends[depth] or (missing[depth] == 0 and ends[depth] - position < paddings[depth])
        ):
            position = ends[depth]
            depth -= 1
        if depth < 0 and position > start:
            return neda, count
        limit = ends[depth] if depth >= 0 else np.int64(len(data))
        kind, size, samples = frame_at(data, position, limit)
        if kind == BAD or position + size > limit or (kind == MERGE and depth + 1 == DEEPEST):
            return -1, count
        if depth >= 0:
            missing[depth] -= 1
        if kind == MERGE:
            depth += 1
            little = data[position] >= 0x80
            ends[depth] = position + size
            paddings[depth] = 1 << (data[position] & 0x0F)
            missing[depth] = number(data, position + 12, 4, little)
            position += number(data, position + 8, 2, little) << (data[position] & 0x0F)
            continue
        if kind in (RAW, COMPRESSED):
            neda += 1
            if emit and kind & wanted:
                wrong = kind == RAW and check_end and not end_word_right(data, position, samples)
                put(located, count, position, size, start, samples, kind, END_WORD_WRONG if wrong else 0)
                count += 1
        position += size


@compiled
def put(
    located: NDArray[Any], index: int, position: int, size: int, entry: int, samples: int, kind: int, fault: int
) -> None:
    """Write one entry of ``located``."""
    one = located[index]
    one.position, one.size, one.entry = position, size, entry
    one.samples, one.kind, one.fault = samples, kind, fault


@compiled
def follows(data: Bytes, position: int, filled: int, ended: bool) -> tuple[bool, int]:
    """Whether what follows the frame at ``position`` proves it; otherwise how far the window would have to reach."""
    here = position
    for _ in range(LONGEST_CHAIN):
        kind, size, _ = frame_at(data, here, filled)
        behind = here + size
        if kind == BAD or behind - position > LARGEST_FRAME:
            return False, 0
        if ended and behind == filled:
            return True, 0
        if behind + ITEM_HEADER > filled and not ended:
            return False, behind + ITEM_HEADER
        successor, _, _ = frame_at(data, behind, filled)
        if successor in (RAW, COMPRESSED):
            return True, 0
        if successor != BAD and frame_type_at(data, here) in KNOWN and frame_type_at(data, behind) in KNOWN:
            return True, 0
        here = behind
    return False, 0


@compiled
def judge(
    data: Bytes, position: int, filled: int, ended: bool, searching: bool, check_end: bool, located: NDArray[Any]
) -> tuple[int, int, int, int, int]:
    """Kind, bytes, samples and fault of the frame at ``position``, and how far the window must reach to decide."""
    if position + ITEM_HEADER > filled and not ended:
        return UNDECIDED, 0, 0, 0, position + ITEM_HEADER
    kind, size, samples = frame_at(data, position, filled)
    behind = position + size
    if kind == BAD or (searching and kind == FOREIGN):
        return BAD, 0, 0, 0, 0
    if behind + ITEM_HEADER > filled and not ended:
        return UNDECIDED, 0, 0, 0, behind + ITEM_HEADER
    if behind > filled:
        return BAD, 0, 0, TRUNCATED, 0
    if kind == COMPRESSED or (kind == RAW and (not check_end or end_word_right(data, position, samples))):
        return kind, size, samples, 0, 0
    neda = 0
    if kind == MERGE:
        neda, _ = inside_merge(data, position, 0, False, located, 0, False)
        if neda > 0:
            return MERGE, size, 0, 0, 0
        if neda < 0 or searching:
            return BAD, 0, 0, 0, 0
    proven, reach = follows(data, position, filled, ended)
    if reach:
        return UNDECIDED, 0, 0, 0, reach
    if kind == RAW:
        return RAW, size, samples, (END_WORD_WRONG if proven else TORN), 0
    return (kind if proven else BAD), size, 0, 0, 0


@compiled
def next_candidate(data: Bytes, position: int, filled: int) -> int:
    """First byte from ``position`` on that the header of a NEDA or merge frame may begin with.

    That is only a quick sieve on the two bytes of ``frameType``; the last bytes of the window are left to :func:`judge`.
    """
    while position + ITEM_HEADER <= filled:
        first, second = data[position + 5], data[position + 6]
        low, high = (first, second) if data[position] >= 0x80 else (second, first)
        if (high == 0 and low in (NEDA, NEDA_COMPRESSED)) or (high == 0xFF and low in (1, 2)):
            break
        position += 1
    return position


@compiled
def locate(
    data: Bytes,
    filled: int,
    ended: bool,
    state: NDArray[Any],
    located: NDArray[Any],
    gaps: NDArray[Any],
    wanted: int,
    check_end: bool,
    types: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Locate the NEDA frames of a window; see :meth:`psdbatch.acquisition.records.Records.locate`.

    ``wanted`` is ``RAW``, ``COMPRESSED`` or both; ``types`` counts outermost frames by type (65536 entries).
    """
    now = state[0]
    position, count, gap_count, reach = now.position, 0, 0, 0
    while position < filled or not ended:
        kind, size, samples, fault, reach = judge(data, position, filled, ended, now.lost >= 0, check_end, located)
        if kind == UNDECIDED:
            break
        if kind == BAD:
            if now.lost < 0:
                now.lost = now.base + position
                now.truncated = fault == TRUNCATED or filled - position < ITEM_HEADER
            position = next_candidate(data, position + 1, filled)
            continue
        if now.lost >= 0:
            end_gap(gaps, gap_count, now, now.base + position, now.signals + count, LOST)
            gap_count += 1
        types[frame_type_at(data, position)] += 1
        if kind == MERGE:
            _, count = inside_merge(data, position, wanted, check_end, located, count, True)
        elif kind & wanted and kind != FOREIGN:
            if fault == TORN:  # its place is kept, but only its header is trusted: a frame may begin inside it
                size = RAW_HEADER
                now.lost = now.base + position + size
                now.truncated = 0
            put(located, count, position, size, position, samples, kind, fault)
            count += 1
        position += size
    if ended and now.lost >= 0:
        end_gap(gaps, gap_count, now, now.base + filled, now.signals + count, TRUNCATED if now.truncated else LOST)
        gap_count += 1
    now.position = position
    now.signals += count
    return count, gap_count, reach - position


@compiled
def end_gap(gaps: NDArray[Any], index: int, now: Any, end: int, first: int, reason: int) -> None:
    """Write the gap that ends at file offset ``end``, and be in none."""
    gap = gaps[index]
    gap.offset, gap.bytes = now.lost, end - now.lost
    gap.first, gap.reason = first, reason
    now.lost = -1
