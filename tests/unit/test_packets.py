"""Packets: what is written comes back, and what is damaged is said and keeps its places."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import zstandard

from psdbatch.acquisition.bytesource import open_source
from psdbatch.acquisition.compressed import compress_file
from psdbatch.acquisition.format import Damage, Scan, WriterSettings
from psdbatch.acquisition.packets import Packets
from psdbatch.acquisition.signals import Signals
from psdbatch.columns import Column, Flag, scalar
from psdbatch.errors import AcquisitionFileError, ConfigurationError

EXTRA = (
    scalar("energy", "float32", "energy of the online processing", "keV"),
    Column("answer", "int16", "answer of the online network", "", (2,), ("class",)),
)
HEADER_BYTES = 40 + 8 * 8 + 4  # eight columns


def some_signals(n: int, samples: int = 33, dtype: str = "int16", seed: int = 0) -> Signals:
    random = np.random.default_rng(seed)
    signals = Signals.allocate(n, samples, dtype, EXTRA)
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else None
    values = random.normal(50, 8, signals.samples.shape).cumsum(1) if info else random.random(signals.samples.shape)
    signals.samples[:] = np.clip(values, info.min, info.max).astype(dtype) if info else values
    if info and n:
        signals.samples[0, :2] = info.min, info.max  # the largest difference there is
    signals.timestamp[:] = np.cumsum(random.integers(0, 2**40, n)).astype(np.uint64)
    signals.timestamp[n // 2 :] -= np.uint64(12345)  # not sorted
    signals.board[:] = random.integers(0, 2**16, n)
    signals.channel[:] = random.integers(0, 64, n)
    signals.extra["energy"][:] = random.normal(0, 1, n)
    signals.extra["answer"][:] = random.integers(-99, 99, (n, 2))
    return signals


def write(path: Path, signals: Signals, pieces: int = 1, **options: object) -> Path:
    settings = WriterSettings(
        signals.samples.shape[1], signals.samples.dtype.name, "10 ns", 5.0, EXTRA, {"packet": 100, **options}
    )
    with Packets.writer(path, settings) as writer:
        for i in range(pieces):
            writer.write(signals[i * len(signals) // pieces : (i + 1) * len(signals) // pieces])
    return path


def scan(path: Path) -> Scan:
    return Packets().scan(open_source(path))


def read(path: Path, batch: int = 64, first: int = 0, known: Scan | None = None) -> tuple[Signals, list[Damage]]:
    """Everything from ``first`` on, read in batches into reused, dirty memory."""
    found = known or scan(path)
    out = Signals.allocate(found.signals - first, found.longest, found.sample_dtype, found.columns)
    dirty = Signals.allocate(batch, found.longest, found.sample_dtype, found.columns)
    done = 0
    with Packets().reader(open_source(path), found, first) as reader:
        while True:
            for array in arrays(dirty).values():
                array.view(np.uint8)[:] = 0xA5
            count = reader.read(dirty)
            if not count:
                break
            for name, array in arrays(out).items():
                array[done : done + count] = arrays(dirty)[name][:count]
            done += count
            assert reader.position == first + done
        assert done == len(out)
        return out, reader.damage


def arrays(signals: Signals) -> dict[str, np.ndarray]:
    names = ("samples", "length", "timestamp", "board", "channel", "flags")
    return {name: getattr(signals, name) for name in names} | signals.extra


def assert_equal(a: Signals, b: Signals) -> None:
    for name, values in arrays(a).items():
        np.testing.assert_array_equal(values, arrays(b)[name], err_msg=name)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32"])
@pytest.mark.parametrize("batch", [1, 64, 100, 1000])
def test_what_is_written_comes_back(tmp_path: Path, dtype: str, batch: int) -> None:
    signals = some_signals(437, dtype=dtype)
    path = write(tmp_path / "a.psdz", signals, pieces=3)
    found = scan(path)
    assert (found.signals, found.shortest, found.longest, found.sample_dtype) == (437, 33, 33, dtype)
    assert (found.timestamp_unit, found.sampling_period_ns, found.columns) == ("10 ns", 5.0, EXTRA)
    assert found.damage == ()
    assert [cut[0] for cut in found.cuts] == [0, 100, 200, 300, 400]
    assert_equal(read(path, batch)[0], signals)


def test_an_independent_decoding_of_the_specification_agrees(tmp_path: Path) -> None:
    signals = some_signals(250)
    data = write(tmp_path / "a.psdz", signals).read_bytes()
    magic, version, _, size = struct.unpack_from("<8sHHI", data)
    assert (magic, version) == (b"\x89PSDZ\r\n\x1a", 1)
    at = 16 + size
    assert struct.unpack_from("<I", data, at)[0] == zlib.crc32(data[:at])
    at += 4
    rows: list[list[int]] = []
    stamps: list[int] = []
    while True:
        _, header, n, first, samples, _, payload, crc = struct.unpack_from("<8sIIQIIII", data, at)
        assert first == len(rows)
        if n == 0:
            break
        table = [struct.unpack_from("<II", data, at + 40 + 8 * i) for i in range(8)]
        body = data[at + header : at + header + payload]
        assert zlib.crc32(body) == crc
        raw = zstandard.decompress(body[: table[0][0]])
        last = 0
        for i in range(n):
            row = []
            for j in range(samples):
                k = i * samples + j
                last = (last + raw[k] + 256 * raw[n * samples + k] - 128) % 65536
                row.append(last - 65536 if last >= 32768 else last)
            rows.append(row)
        begin = table[0][0] + table[1][0]
        raw = zstandard.decompress(body[begin : begin + table[2][0]])
        last = 0
        for i in range(n):
            last = (last + sum(raw[b * n + i] << 8 * b for b in range(8)) - 128) % 2**64
            stamps.append(last)
        at += header + payload
    np.testing.assert_array_equal(rows, signals.samples)
    np.testing.assert_array_equal(np.array(stamps, np.uint64), signals.timestamp)


@pytest.mark.parametrize("first", [0, 1, 99, 100, 101, 250, 436, 437])
def test_reading_starts_at_any_signal(tmp_path: Path, first: int) -> None:
    signals = some_signals(437)
    path = write(tmp_path / "a.psdz", signals)
    assert_equal(read(path, 50, first)[0], signals[first:])


def test_skip_jumps_inside_and_across_packets(tmp_path: Path) -> None:
    signals = some_signals(437)
    path = write(tmp_path / "a.psdz", signals)
    with Packets().reader(open_source(path), scan(path)) as reader:
        out = Signals.allocate(5, 33, "int16", EXTRA)
        for hop in (3, 20, 150, 101):
            reader.skip(hop)
            here = reader.position
            assert reader.read(out) == 5
            assert_equal(out, signals[here : here + 5])


def test_a_column_asked_for_in_the_middle_of_a_packet_is_not_zero(tmp_path: Path) -> None:
    signals = some_signals(100)
    path = write(tmp_path / "a.psdz", signals)
    with Packets().reader(open_source(path), scan(path)) as reader:
        assert reader.read(Signals.allocate(30, 33)) == 30
        out = Signals.allocate(70, 33, "int16", EXTRA)
        assert reader.read(out) == 70
        assert_equal(out, signals[30:])


@pytest.mark.parametrize("width", [1, 20, 33, 50])
def test_samples_are_cropped_or_padded_to_what_the_caller_wants(tmp_path: Path, width: int) -> None:
    signals = some_signals(250)
    path = write(tmp_path / "a.psdz", signals)
    out = Signals.allocate(250, width)
    with Packets().reader(open_source(path), scan(path)) as reader:
        assert reader.read(out) == 250
    columns = np.minimum(np.arange(width), 32)
    np.testing.assert_array_equal(out.samples, signals.samples[:, columns])


def test_lengths_and_flags_that_vary_are_kept(tmp_path: Path) -> None:
    signals = some_signals(250)
    signals.length[:] = np.arange(250) % 33 + 1
    for i, length in enumerate(signals.length):
        signals.samples[i, length:] = signals.samples[i, length - 1]
    signals.flags[40] = Flag.DAMAGED | Flag.SATURATED
    path = write(tmp_path / "a.psdz", signals)
    assert (scan(path).shortest, scan(path).longest) == (1, 33)
    assert_equal(read(path)[0], signals)


def test_a_compressed_packet_file_reads_the_same(tmp_path: Path) -> None:
    signals = some_signals(437)
    path = write(tmp_path / "a.psdz", signals)
    compress_file(path, tmp_path / "a.psdz.zst", frame_bytes=3000)
    for first in (0, 250):
        assert_equal(read(tmp_path / "a.psdz.zst", 64, first)[0], signals[first:])


def test_every_flipped_bit_of_a_payload_is_found(tmp_path: Path) -> None:
    signals = some_signals(12, samples=5)
    path = write(tmp_path / "a.psdz", signals, packet=4)
    data = path.read_bytes()
    found = scan(path)
    begin, end = found.cuts[1][1] + HEADER_BYTES, found.cuts[2][1]
    for bit in range((end - begin) * 8):
        broken = bytearray(data)
        broken[begin + bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        back, damage = read(path, 12)
        assert [(entry.first, entry.signals) for entry in damage] == [(4, 4)]
        assert (back.flags[4:8] == Flag.DAMAGED).all()
        assert not back.samples[4:8].any()
        assert_equal(back[:4], signals[:4])
        assert_equal(back[8:], signals[8:])


def test_every_flipped_bit_of_a_packet_header_costs_that_packet_alone(tmp_path: Path) -> None:
    signals = some_signals(12, samples=5)
    path = write(tmp_path / "a.psdz", signals, packet=4)
    data = path.read_bytes()
    begin = scan(path).cuts[1][1]
    for bit in range(HEADER_BYTES * 8):
        broken = bytearray(data)
        broken[begin + bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        found = scan(path)
        assert found.signals == 12
        assert [(entry.offset, entry.first, entry.signals) for entry in found.damage] == [(begin, 4, 4)]
        back, damage = read(path, 5, known=found)
        assert damage == list(found.damage)
        assert (back.flags[4:8] == Flag.DAMAGED).all()
        assert_equal(back[8:], signals[8:])


def test_every_cut_leaves_the_whole_packets_before_it(tmp_path: Path) -> None:
    signals = some_signals(12, samples=5)
    path = write(tmp_path / "a.psdz", signals, packet=4)
    data = path.read_bytes()
    cuts = [offset for _, offset in scan(path).cuts] + [len(data) - HEADER_BYTES]
    for kept in range(len(data)):
        path.write_bytes(data[:kept])
        whole = sum(kept >= end for end in cuts[1:])
        if not whole:
            with pytest.raises(AcquisitionFileError):
                scan(path)
            continue
        found = scan(path)
        assert found.signals == 4 * whole
        assert [entry.signals for entry in found.damage] == [0]
        assert_equal(read(path, 5)[0], signals[: 4 * whole])


def test_a_missing_first_packet_keeps_its_places(tmp_path: Path) -> None:
    signals = some_signals(300)
    path = write(tmp_path / "a.psdz", signals)
    data, cuts = path.read_bytes(), scan(path).cuts
    path.write_bytes(data[: cuts[0][1]] + data[cuts[1][1] :])
    found = scan(path)
    assert (found.signals, found.damage[0].first, found.damage[0].signals) == (300, 0, 100)
    assert_equal(read(path, 70, 120)[0], signals[120:])
    assert (read(path)[0].flags[:100] == Flag.DAMAGED).all()


def test_a_packet_that_comes_twice_is_read_once(tmp_path: Path) -> None:
    signals = some_signals(300)
    path = write(tmp_path / "a.psdz", signals)
    data, cuts = path.read_bytes(), scan(path).cuts
    path.write_bytes(data[: cuts[1][1]] + data[cuts[0][1] :])
    found = scan(path)
    assert (found.signals, [entry.reason for entry in found.damage]) == (300, ["packet repeats signals"])
    assert_equal(read(path)[0], signals)


def test_bytes_after_the_end_are_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "a.psdz", some_signals(50))
    path.write_bytes(path.read_bytes() * 2)
    assert scan(path).signals == 50
    assert "after the end" in scan(path).damage[0].reason


def test_a_writer_that_died_leaves_its_whole_packets(tmp_path: Path) -> None:
    signals = some_signals(350)
    settings = WriterSettings(33, "int16", "10 ns", None, EXTRA, {"packet": 100, "sync": True})
    writer = Packets.writer(tmp_path / "a.psdz", settings)
    writer.write(signals)
    writer.__exit__(RuntimeError, RuntimeError("died"), None)
    found = scan(tmp_path / "a.psdz")
    assert found.signals == 300
    assert "not closed" in found.damage[0].reason
    assert_equal(read(tmp_path / "a.psdz")[0], signals[:300])


def test_a_file_that_shrank_after_indexing_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.psdz", some_signals(300))
    found = scan(path)
    path.write_bytes(path.read_bytes()[: found.cuts[2][1]])
    with pytest.raises(AcquisitionFileError, match="ends after signal 200 of 300"):
        read(path, known=found)


def test_a_damaged_file_header_and_a_later_version_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.psdz", some_signals(5))
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)
    with pytest.raises(AcquisitionFileError, match="checksum"):
        scan(path)
    data[30] ^= 1
    data[8] = 2
    size = struct.unpack_from("<I", data, 12)[0]
    struct.pack_into("<I", data, 16 + size, zlib.crc32(data[: 16 + size]))
    path.write_bytes(data)
    with pytest.raises(AcquisitionFileError, match="version 2"):
        scan(path)


def test_unknown_writer_options_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'packets'.*did you mean 'packet'"):
        Packets.writer(tmp_path / "a.psdz", WriterSettings(5, "int16", "1 ns", options={"packets": 3}))
