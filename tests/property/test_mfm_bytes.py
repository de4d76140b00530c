"""Format ``mfm`` on any bytes: nothing crashes, hangs or is lost without a word."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psdbatch.acquisition.format import Scan
from psdbatch.acquisition.mfm import MFM
from psdbatch.acquisition.signals import Signals
from psdbatch.acquisition.window import SlidingWindow
from psdbatch.columns import Flag
from psdbatch.errors import AcquisitionFileError
from tests.mfm_reference import (
    MemorySource,
    Style,
    compressed_frame,
    foreign_frame,
    merge_frame,
    raw_frame,
    read_all,
    signals_of,
)

styles = st.builds(Style, st.sampled_from("<>"), st.sampled_from([0, 1, 2, 6]), st.sampled_from([0, 1, 2]))
times = st.integers(0, (1 << 48) - 1)
places = st.integers(0, 0xFFFF)
raw = st.builds(raw_frame, styles, st.lists(st.integers(0, 0x3FFF), max_size=20), times, places, st.integers(0, 99))
compressed = st.builds(compressed_frame, styles, times, places, st.integers(0, 99))
foreign = st.builds(foreign_frame, styles, st.sampled_from([0x01, 0x10, 0x24, 0xFF00, 0xFF10]), st.binary(max_size=30))
frames = st.recursive(
    raw | compressed | foreign,
    lambda inner: st.builds(merge_frame, styles, st.lists(inner, max_size=4), st.booleans()),
    max_leaves=8,
)
files = st.lists(frames, min_size=1, max_size=12).map(b"".join).filter(lambda data: len(signals_of(data)) > 0)
windows = st.sampled_from([64, 100, 257, 4096])


def scan_through(data: bytes, window: int) -> Scan | None:
    """Scan with a window of so many bytes; None if there is not one signal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("psdbatch.acquisition.records.SlidingWindow", partial(SlidingWindow, size=window))
        try:
            return MFM().scan(MemorySource(data))
        except AcquisitionFileError:
            return None


def read_through(data: bytes, scan: Scan, window: int, first: int, chunk: int) -> Signals:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("psdbatch.acquisition.records.SlidingWindow", partial(SlidingWindow, size=window))
        return read_all(MFM(), MemorySource(data), scan, first, chunk)


def assert_same(one: Signals, other: Signals) -> None:
    for name in ("samples", "length", "timestamp", "board", "channel", "flags"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    for name, values in one.extra.items():
        assert np.array_equal(values, other.extra[name]), name


def headers_between(data: bytes, start: int, end: int) -> bool:
    """Whether frames, by the sizes in their headers alone, fill ``data[start:end]`` exactly."""
    while start < end:
        little, block = data[start] & 0x80, 1 << (data[start] & 15)
        start += int.from_bytes(data[start + 1 : start + 4], "little" if little else "big") * block
    return start == end


def assert_every_byte_is_accounted_for(data: bytes, scan: Scan) -> None:
    """Outside the regions told as damage, frames follow one another without a hole."""
    torn = [damage for damage in scan.damage if "missing" in damage.reason]
    regions = sorted((d.offset, d.offset + d.bytes) for d in (*(d for d in scan.damage if not d.signals), *torn))
    edges = [0, *(edge for region in regions for edge in region), len(data)]
    assert edges == sorted(edges)
    for start, end in list(pairwise(edges))[::2]:
        assert headers_between(data, start, end), (start, end)


@settings(max_examples=100, deadline=None)
@given(files, windows, st.data())
def test_any_sequence_of_frames_reads_as_the_slow_decoding_says(data: bytes, window: int, draw: st.DataObject) -> None:
    expected = signals_of(data)
    scan = scan_through(data, window)
    assert scan is not None
    assert scan.signals == len(expected)
    assert scan.damage == ()
    first = draw.draw(st.integers(0, scan.signals - 1))
    signals = read_through(data, scan, window, first, draw.draw(st.integers(1, 9)))
    for i, one in enumerate(expected[first:]):
        count = len(one["samples"])
        assert signals.samples[i, :count].tolist() == one["samples"]
        assert signals.length[i] == count
        assert signals.timestamp[i] == one["timestamp"]
        for name, values in signals.extra.items():
            assert values[i] == one.get(name, 0)


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """Files with flipped bits, bytes lost, bytes put in, ends cut off."""
    data = bytearray(draw(files))
    for _ in range(draw(st.integers(1, 4))):
        where = draw(st.integers(0, max(len(data) - 1, 0)))
        what = draw(st.sampled_from(["flip", "lose", "insert", "cut"]))
        if what == "flip" and data:
            data[where] ^= 1 << draw(st.integers(0, 7))
        elif what == "lose":
            del data[where : where + draw(st.integers(1, 60))]
        elif what == "insert":
            data[where:where] = draw(st.binary(min_size=1, max_size=90) | st.integers(1, 90).map(bytes))
        elif what == "cut":
            del data[where:]
    return bytes(data)


@settings(max_examples=200, deadline=None)
@given(damaged_files(), windows, st.data())
def test_damaged_files_are_accounted_for_to_the_last_byte(data: bytes, window: int, draw: st.DataObject) -> None:
    scan = scan_through(data, 1 << 20)
    assert scan == scan_through(data, window)
    if scan is None:
        return
    assert_every_byte_is_accounted_for(data, scan)
    everything = read_all(MFM(), MemorySource(data), scan)
    first = draw.draw(st.integers(0, scan.signals - 1))
    part = read_through(data, scan, window, first, draw.draw(st.integers(1, 9)))
    assert_same(part, everything_from(everything, first))
    damaged = (everything.flags & Flag.DAMAGED) != 0
    assert not everything.samples[damaged].any()
    assert not everything.length[damaged].any()
    for damage in scan.damage:
        assert damaged[damage.first : damage.first + damage.signals].all()


def everything_from(signals: Signals, first: int) -> Signals:
    return signals[first:]


@settings(max_examples=100, deadline=None)
@given(damaged_files(), windows)
def test_a_reader_tells_the_damage_of_every_signal_it_refuses(data: bytes, window: int) -> None:
    scan = scan_through(data, window)
    if scan is None:
        return
    with MFM().reader(MemorySource(data), scan) as reader:
        out = Signals.allocate(scan.signals, max(scan.longest, 1))
        assert reader.read(out) == scan.signals
        told = sorted(reader.damage, key=lambda damage: damage.offset)
    refused = {i for damage in told for i in range(damage.first, damage.first + damage.signals)}
    assert refused == set(np.flatnonzero(out.flags & Flag.DAMAGED).tolist())
    before_first = [damage for damage in scan.damage if damage.offset < scan.cuts[0][1]]
    assert [d for d in told if "parity" not in d.reason] == [d for d in scan.damage if d not in before_first]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=600), windows)
def test_any_bytes_are_refused_or_accounted_for(data: bytes, window: int) -> None:
    scan = scan_through(data, window)
    if scan is not None:
        assert_every_byte_is_accounted_for(data, scan)
    MFM.recognises(data, MemorySource(data).path)


@settings(max_examples=100, deadline=None)
@given(st.lists(raw, min_size=3, max_size=8), st.binary(min_size=1, max_size=300), st.data())
def test_garbage_between_frames_never_costs_a_good_signal(
    good: list[bytes], garbage: bytes, draw: st.DataObject
) -> None:
    where = draw.draw(st.integers(1, len(good)))
    scan = scan_through(b"".join([*good[:where], garbage, *good[where:]]), 4096)
    assert scan is not None
    assert scan.signals == len(good)
