"""Format ``compass`` on any bytes: nothing crashes, hangs or is lost without a word."""

from __future__ import annotations

import struct
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psdbatch.acquisition.compass import CoMPASS, CoMPASSOptions
from psdbatch.acquisition.compass_layout import layout_of
from psdbatch.acquisition.format import Scan
from psdbatch.acquisition.signals import Signals
from psdbatch.acquisition.window import SlidingWindow
from psdbatch.columns import Flag
from psdbatch.errors import AcquisitionFileError
from tests.compass_reference import record, records_of
from tests.mfm_reference import MemorySource, read_all

kinds = st.one_of(
    st.tuples(st.integers(0, 15), st.just(2)), st.tuples(st.sampled_from([9, 13]), st.just(1))
)  # fields of the records, version
windows = st.sampled_from([64, 100, 257, 4096])
events = st.fixed_dictionaries(
    {
        "board": st.integers(0, 255),
        "channel": st.integers(0, 63),
        "timestamp": st.integers(1, (1 << 60) - 1),
        "energy": st.integers(0, 0xFFFF),
        "calibrated": st.floats(0, 1e5),
        "short": st.integers(0, 0xFFFF),
        "daq_flags": st.integers(0, (1 << 20) - 1),
        "samples": st.lists(st.integers(0, 0xFFFF), max_size=20),
    }
)
bodies = st.lists(events, min_size=1, max_size=15)


def compass(flags: int, version: int) -> CoMPASS:
    return CoMPASS(CoMPASSOptions(header=0xCAE0 | flags, version=version))


def head_of(flags: int, version: int) -> bytes:
    return struct.pack("<H", 0xCAE0 | flags) if version == 2 else b""


def scan_through(kind: CoMPASS, data: bytes, window: int) -> Scan | None:
    """Scan with a window of so many bytes; None if there is not one signal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("psdbatch.acquisition.records.SlidingWindow", partial(SlidingWindow, size=window))
        try:
            return kind.scan(MemorySource(data))
        except AcquisitionFileError:
            return None


def read_through(kind: CoMPASS, data: bytes, scan: Scan, window: int, first: int, chunk: int) -> Signals:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("psdbatch.acquisition.records.SlidingWindow", partial(SlidingWindow, size=window))
        return read_all(kind, MemorySource(data), scan, first, chunk)


@settings(max_examples=100, deadline=None)
@given(kinds, bodies, windows, st.data())
def test_any_records_read_as_the_slow_decoding_says(
    fields: tuple[int, int], body: list[dict[str, Any]], window: int, draw: st.DataObject
) -> None:
    parts = b"".join(record(*fields, values) for values in body)
    data, kind = head_of(*fields) + parts, compass(*fields)
    scan = scan_through(kind, data, window)
    assert scan is not None
    assert (scan.signals, scan.damage) == (len(body), ())
    first = draw.draw(st.integers(0, scan.signals - 1))
    signals = read_through(kind, data, scan, window, first, draw.draw(st.integers(1, 9)))
    for i, one in enumerate(records_of(parts, *fields)[first:]):
        count = len(one["samples"])
        assert signals.samples[i, :count].tolist() == one["samples"]
        assert signals.length[i] == count
        assert (signals.board[i], signals.channel[i], signals.timestamp[i]) == (
            one["board"],
            one["channel"],
            one["timestamp"],
        )
        for name, values in signals.extra.items():
            assert values[i] == one[name]


def assert_every_byte_is_accounted_for(data: bytes, fields: tuple[int, int], scan: Scan) -> None:
    """Outside the regions told as damage, records follow one another without a hole; their number is the signals'."""
    layout, start = layout_of(*fields), len(head_of(*fields))
    regions = sorted((d.offset, d.offset + d.bytes) for d in scan.damage)
    edges = [start, *(edge for region in regions for edge in region), len(data)]
    assert edges == sorted(edges)
    records = sum(damage.signals for damage in scan.damage)
    for position, end in list(pairwise(edges))[::2]:
        while position < end:
            samples = struct.unpack_from("<I", data, position + layout.samples)[0] if layout.samples >= 0 else 0
            position += layout.head + 2 * samples
            records += 1
        assert position == end
    assert records == scan.signals


@settings(max_examples=200, deadline=None)
@given(kinds, bodies, windows, st.data())
def test_damaged_files_are_accounted_for_to_the_last_byte(
    fields: tuple[int, int], body: list[dict[str, Any]], window: int, draw: st.DataObject
) -> None:
    data = bytearray(b"".join(record(*fields, values) for values in body))
    for _ in range(draw.draw(st.integers(1, 4))):
        where = draw.draw(st.integers(0, max(len(data) - 1, 0)))
        what = draw.draw(st.sampled_from(["flip", "lose", "insert", "cut"]))
        if what == "flip" and data:
            data[where] ^= 1 << draw.draw(st.integers(0, 7))
        elif what == "lose":
            del data[where : where + draw.draw(st.integers(1, 60))]
        elif what == "insert":
            data[where:where] = draw.draw(st.binary(min_size=1, max_size=90) | st.integers(1, 90).map(bytes))
        elif what == "cut":
            del data[where:]
    damaged, kind = head_of(*fields) + bytes(data), compass(*fields)
    scan = scan_through(kind, damaged, 1 << 20)
    assert scan == scan_through(kind, damaged, window)
    if scan is None:
        return
    assert_every_byte_is_accounted_for(damaged, fields, scan)
    whole = read_all(kind, MemorySource(damaged), scan)
    refused = {i for one in scan.damage for i in range(one.first, one.first + one.signals)}
    assert refused == set(np.flatnonzero(whole.flags & Flag.DAMAGED).tolist())
    assert not whole.samples[sorted(refused)].any()
    first = draw.draw(st.integers(0, scan.signals - 1))
    part = read_through(kind, damaged, scan, window, first, draw.draw(st.integers(1, 9)))
    for name in ("samples", "length", "timestamp", "board", "channel", "flags"):
        assert np.array_equal(getattr(part, name), getattr(whole, name)[first:]), name
    for name, values in part.extra.items():
        assert np.array_equal(values, whole.extra[name][first:], equal_nan=True), name


@settings(max_examples=200, deadline=None)
@given(kinds, st.binary(max_size=500), windows)
def test_any_bytes_are_refused_or_accounted_for(fields: tuple[int, int], body: bytes, window: int) -> None:
    data = head_of(*fields) + body
    scan = scan_through(compass(*fields), data, window)
    if scan is not None and (fields[1] == 2 or body[1:2] != b"\xca"):
        assert_every_byte_is_accounted_for(data, fields, scan)
    CoMPASS.recognises(body, MemorySource(body).path)
    scan_through(CoMPASS(), body, window)
