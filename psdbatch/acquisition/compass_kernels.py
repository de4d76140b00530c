"""Kernels that walk over CoMPASS records, read and write them.

Records carry no mark of their own, so a record is trusted when its head is plausible *and* what its length leads to is
the end of the file or the plausible head of another record.  If that fails the record keeps its place, damaged, and
the search goes on behind its head: only a chain of plausible records is taken up again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.acquisition.compass_layout import Layout
from psdbatch.columns import Flag
from psdbatch.compiled import compiled

Bytes = NDArray[np.uint8]

DAMAGED, NO_SAMPLES = int(Flag.DAMAGED), int(Flag.NO_SAMPLES)

MOST_BOARDS, MOST_CHANNELS = 256, 64
MOST_SAMPLES = 1 << 22  # more than the memory of any CAEN digitiser gives to one record
LATEST = 1 << 60  # ps: two weeks
MOST_FLAGS = 1 << 20
CHAIN_WITH_WAVEFORM, CHAIN_WITHOUT = 3, 6  # plausible records in a row that end a gap

REASONS = (
    "",
    "the record's length is damaged: no record follows it",
    "these bytes belong to no readable record",
    "the file ends inside a record",
)
TORN, LOST, TRUNCATED = 1, 2, 3
GOOD, BROKEN, CUT, IMPLAUSIBLE = 0, 1, 2, 3


@compiled
def number(data: Bytes, position: int, width: int) -> int:
    """Little-endian unsigned integer of ``width`` bytes."""
    value = 0
    for i in range(width):
        value |= np.int64(data[position + i]) << (8 * i)
    return value


@compiled
def samples_at(data: Bytes, position: int, layout: Layout) -> int:
    """Number of samples of the record at ``position``."""
    return number(data, position + layout.samples, 4) if layout.samples >= 0 else 0


@compiled
def is_zero(data: Bytes, position: int, count: int) -> bool:
    """Whether ``count`` bytes are all 0."""
    bits = 0
    for i in range(count):
        bits |= data[position + i]
    return bits == 0


@compiled
def plausible(data: Bytes, position: int, filled: int, layout: Layout, code: int) -> bool:
    """Whether a record's head may be at ``position`` (all of it is in the window)."""
    time = number(data, position + 4, 8)
    if number(data, position, 2) >= MOST_BOARDS or number(data, position + 2, 2) >= MOST_CHANNELS:
        return False
    if time < 0 or time >= LATEST or number(data, position + layout.daq_flags, 4) >= MOST_FLAGS:
        return False
    if samples_at(data, position, layout) > MOST_SAMPLES:
        return False
    if layout.code >= 0:
        return data[position + layout.code] == code
    # Without a waveform code a region of zeros looks like records; one such record may be real, two in a row are not.
    if time > 0:
        return True
    behind = position + layout.head
    return not (
        behind + layout.head <= filled and is_zero(data, position, layout.head) and is_zero(data, behind, layout.head)
    )


@compiled
def reach_of(data: Bytes, position: int, filled: int, layout: Layout) -> int:
    """How far the window must reach to judge the record at ``position`` and the head (two, for zeros) behind it."""
    if position + layout.head > filled:
        return position + 2 * layout.head
    samples = min(samples_at(data, position, layout), MOST_SAMPLES)
    return position + 3 * layout.head + 2 * samples


@compiled
def judge(data: Bytes, position: int, filled: int, layout: Layout, code: int) -> int:
    """Verdict on the record at ``position``; the window reaches far enough, or the file ends in it."""
    if position + layout.head > filled:
        return CUT
    if not plausible(data, position, filled, layout, code):
        return IMPLAUSIBLE
    behind = position + layout.head + 2 * samples_at(data, position, layout)
    if behind > filled:
        return CUT
    if behind + layout.head > filled or plausible(data, behind, filled, layout, code):
        return GOOD
    return BROKEN


@compiled
def begins_chain(data: Bytes, position: int, filled: int, ended: bool, layout: Layout, code: int) -> tuple[bool, int]:
    """Whether a chain of plausible records begins at ``position``, and how far the window must reach to know."""
    links = CHAIN_WITH_WAVEFORM if layout.samples >= 0 else CHAIN_WITHOUT
    enough_at_the_end = 1 if layout.samples >= 0 else 3  # whole records, if the last one is cut by the end of the file
    here = position
    for whole in range(links):
        head_end = here + layout.head * (1 if layout.code >= 0 else 2)
        if head_end > filled and not ended:
            return False, head_end
        if here + layout.head > filled:
            return whole >= enough_at_the_end, 0
        if not plausible(data, here, filled, layout, code):
            return False, 0
        here += layout.head + 2 * samples_at(data, here, layout)
        if here > filled:
            return ended and whole >= enough_at_the_end, 0 if ended else here
        if ended and here == filled:
            return True, 0
    return True, 0


@compiled
def follow(
    data: Bytes, position: int, filled: int, layout: Layout, code: int, positions: NDArray[np.int64]
) -> tuple[int, int]:
    """Positions of the whole records from ``position`` on: how many, and where they end; -1 if a head is implausible."""
    count = 0
    while count < len(positions) and position + layout.head <= filled:
        if not plausible(data, position, filled, layout, code):
            return -1, position
        behind = position + layout.head + 2 * samples_at(data, position, layout)
        if behind > filled:
            break
        positions[count] = position
        count, position = count + 1, behind
    return count, position


@compiled
def next_candidate(data: Bytes, position: int, filled: int, layout: Layout, code: int) -> int:
    """First byte from ``position`` on that a record may begin with: a quick sieve on board, channel, waveform code."""
    while position + layout.head <= filled:
        board_and_channel = data[position + 1] == 0 and data[position + 3] == 0 and data[position + 2] < MOST_CHANNELS
        if board_and_channel and (layout.code < 0 or data[position + layout.code] == code):
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
    layout: Layout,
    code: int,
) -> tuple[int, int, int]:
    """Locate the records of a window; see :meth:`psdbatch.acquisition.records.Records.locate`."""
    now = state[0]
    position, count, gap_count, reach = now.position, 0, 0, 0
    while position < filled or not ended:
        if now.lost >= 0:
            found, reach = begins_chain(data, position, filled, ended, layout, code)
            if reach:
                break
            if not found:
                position = next_candidate(data, position + 1, filled, layout, code)
                continue
            end_gap(gaps, gap_count, now, now.base + position, now.signals + count, LOST)
            gap_count += 1
        reach = reach_of(data, position, filled, layout)
        if reach > filled and not ended:
            break
        verdict = judge(data, position, filled, layout, code)
        if verdict in (GOOD, BROKEN):
            samples = samples_at(data, position, layout)
            one = located[count]
            one.position, one.entry, one.samples, one.kind, one.fault = position, position, samples, 1, 0
            one.size = layout.head + 2 * samples
            if verdict == BROKEN:
                one.size, one.samples, one.fault = layout.head, 0, TORN
                now.lost, now.truncated = now.base + position + layout.head, 0
            count += 1
            position += one.size
        else:
            now.lost, now.truncated = now.base + position, verdict == CUT
            position += 1
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


@compiled
def copy_samples(words: NDArray[np.uint16], count: int, row: NDArray[Any]) -> None:
    """Fill ``row`` with ``count`` samples and repetitions of the last one."""
    for j in range(count):
        row[j] = words[j]
    row[count:] = row[count - 1] if count else 0


@compiled
def decode(
    data: Bytes,
    even: NDArray[np.uint16],
    odd: NDArray[np.uint16],
    located: NDArray[Any],
    layout: Layout,
    samples: NDArray[Any],
    length: NDArray[np.uint32],
    timestamp: NDArray[np.uint64],
    board: NDArray[np.uint16],
    channel: NDArray[np.uint16],
    flags: NDArray[np.uint16],
) -> None:
    """Decode located records; ``even`` and ``odd`` show the 16-bit words of ``data`` from even and from odd bytes."""
    for i in range(len(located)):
        one = located[i]
        p = np.int64(one.position)
        board[i] = number(data, p, 2)
        channel[i] = number(data, p + 2, 2)
        timestamp[i] = number(data, p + 4, 8)
        stored = min(one.samples, samples.shape[1])
        length[i] = stored
        first = p + layout.head
        if first & 1:
            copy_samples(odd[first >> 1 :], stored, samples[i])
        else:
            copy_samples(even[first >> 1 :], stored, samples[i])
        flags[i] = (DAMAGED if one.fault else 0) | (0 if one.samples or one.fault else NO_SAMPLES)


@compiled
def read_integers(data: Bytes, located: NDArray[Any], place: int, width: int, out: NDArray[Any]) -> None:
    """Decode an integer column."""
    for i in range(len(located)):
        out[i] = number(data, located[i].position + place, width)


@compiled
def read_bits(data: Bytes, located: NDArray[Any], place: int, out: NDArray[np.uint64]) -> None:
    """The bits of a float64 column."""
    for i in range(len(located)):
        p = located[i].position + place
        out[i] = np.uint64(number(data, p, 4)) | np.uint64(number(data, p + 4, 4)) << np.uint64(32)


@compiled
def encode_heads(data: Bytes, starts: NDArray[np.int64], heads: NDArray[np.uint8]) -> None:
    """Write the heads of records, shape ``(n, head)``, to where each record starts."""
    for i in range(len(heads)):
        data[starts[i] : starts[i] + heads.shape[1]] = heads[i]


@compiled
def encode_samples(
    even: NDArray[np.uint16],
    odd: NDArray[np.uint16],
    starts: NDArray[np.int64],
    length: NDArray[np.uint32],
    samples: NDArray[Any],
) -> None:
    """Write the first ``length`` samples of each signal from byte ``starts`` on, as 16-bit words."""
    for i in range(len(length)):
        words = odd if starts[i] & 1 else even
        put_samples(words[starts[i] >> 1 :], samples[i], length[i])


@compiled
def put_samples(words: NDArray[np.uint16], samples: NDArray[Any], count: int) -> None:
    """Write samples as 16-bit words."""
    for j in range(count):
        words[j] = np.uint16(samples[j])
