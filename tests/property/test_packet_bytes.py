"""Packets under arbitrary damage: never a crash, never a wrong signal, never a signal unaccounted for."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from psdbatch.acquisition.bytesource import open_source
from psdbatch.acquisition.format import WriterSettings
from psdbatch.acquisition.packet_codec import ENCODINGS, PacketSamples, decode, encode
from psdbatch.acquisition.packets import Packets
from psdbatch.acquisition.signals import Signals
from psdbatch.columns import Flag
from psdbatch.errors import AcquisitionFileError

N = 60


def _file() -> tuple[bytes, Signals]:
    random = np.random.default_rng(5)
    signals = Signals.allocate(N, 7)
    signals.samples[:] = random.integers(-9, 9, signals.samples.shape)
    signals.timestamp[:] = np.arange(N) * 1000 + 17
    signals.channel[:] = random.integers(0, 8, N)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.psdz"
        with Packets.writer(path, WriterSettings(7, "int16", "1 ns", options={"packet": 7})) as writer:
            writer.write(signals)
        return path.read_bytes(), signals


DATA, SIGNALS = _file()

edits = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), st.integers(0, len(DATA) - 1), st.integers(1, 255)),
        st.tuples(st.just("cut"), st.integers(0, len(DATA) - 1), st.integers(1, 600)),
        st.tuples(st.just("insert"), st.integers(0, len(DATA) - 1), st.integers(1, 60)),
        st.tuples(st.just("repeat"), st.integers(0, len(DATA) - 1), st.integers(1, 900)),
    ),
    min_size=1,
    max_size=4,
)


def damaged(changes: list[tuple[str, int, int]]) -> bytes:
    data = bytearray(DATA)
    for kind, at, amount in changes:
        at = min(at, max(0, len(data) - 1))
        if kind == "flip" and data:
            data[at] ^= amount
        elif kind == "cut":
            del data[at : at + amount]
        elif kind == "insert":
            data[at:at] = bytes(range(amount))
        else:
            data[at:at] = data[at : at + amount]
    return bytes(data)


@settings(max_examples=200, deadline=None)
@given(changes=edits, batch=st.integers(1, 70), first=st.integers(0, N))
def test_a_damaged_file_gives_right_signals_or_says_which_are_not(
    changes: list[tuple[str, int, int]], batch: int, first: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.psdz"
        path.write_bytes(damaged(changes))
        try:
            scan = Packets().scan(open_source(path))
        except AcquisitionFileError:
            return
        assert scan.signals <= N
        first = min(first, scan.signals)
        out, done = Signals.allocate(batch, 7), first
        with Packets().reader(open_source(path), scan, first) as reader:
            while count := reader.read(out):
                good = out.flags[:count] == 0
                expected = SIGNALS[done : done + count]
                np.testing.assert_array_equal(out.samples[:count][good], expected.samples[good])
                np.testing.assert_array_equal(out.timestamp[:count][good], expected.timestamp[good])
                assert (out.flags[:count][~good] == Flag.DAMAGED).all()
                bad = np.flatnonzero(~good) + done
                said = [range(entry.first, entry.first + entry.signals) for entry in reader.damage]
                assert all(any(i in places for places in said) for i in bad)
                done += count
        assert done == scan.signals
        if scan.signals < N:
            assert scan.damage


@given(
    values=hnp.arrays(
        st.sampled_from(["i1", "u1", "<i2", "<u2", "<i4", "<u4", "<u8", "<f4"]),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=70),
    ),
    encoding=st.sampled_from(ENCODINGS),
    parts=st.lists(st.tuples(st.booleans(), st.integers(1, 30)), max_size=9),
)
@settings(deadline=None, max_examples=200)
def test_encodings_are_undone_in_any_portions(values: np.ndarray, encoding: str, parts: list[tuple[bool, int]]) -> None:
    raw = np.frombuffer(encode(values, encoding), np.uint8).copy()
    assert len(raw) == values.nbytes
    whole = decode(raw.copy(), encoding, values.dtype, values.shape)
    assert whole.tobytes() == values.tobytes()
    samples, at = PacketSamples(raw, encoding, values.dtype, values.shape), 0
    for skipped, count in parts:
        count = min(count, len(values) - at)
        if skipped:
            samples.skip(count)
        else:
            out = np.empty((count, values.shape[1]), values.dtype)
            samples.take(out)
            assert out.tobytes() == values[at : at + count].tobytes()
        at += count
