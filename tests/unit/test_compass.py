"""Format ``compass``: binary files of CAEN CoMPASS."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psdbatch.acquisition.bytesource import PlainFile
from psdbatch.acquisition.compass import CoMPASS, CoMPASSOptions
from psdbatch.acquisition.compass_layout import CALIBRATED, DAQ_FLAGS, ENERGY, SHORT
from psdbatch.acquisition.format import WriterSettings
from psdbatch.acquisition.registry import HEAD_BYTES
from psdbatch.acquisition.signals import Signals
from psdbatch.columns import Flag, scalar
from psdbatch.errors import AcquisitionFileError, ConfigurationError
from tests.compass_reference import ALL_FLAGS, record, records_of
from tests.mfm_reference import MemorySource, read_all

RNG = np.random.default_rng(21)
COLUMNS = {1: ENERGY, 2: CALIBRATED, 4: SHORT}


def event(samples: int = 20, **given: Any) -> dict[str, Any]:
    """Random values of one record."""
    return {
        "board": int(RNG.integers(0, 8)),
        "channel": int(RNG.integers(0, 16)),
        "timestamp": int(RNG.integers(1, 1 << 59)),
        "energy": int(RNG.integers(0, 1 << 16)),
        "calibrated": float(RNG.uniform(0, 3000)),
        "short": int(RNG.integers(0, 1 << 16)),
        "daq_flags": int(RNG.choice([0, 0x80, 0x8000, 0x4000])),
        "samples": RNG.integers(0, 1 << 16, samples).tolist(),
    } | given


def records(flags: int, version: int = 2, count: int = 40, samples: int = 20) -> list[bytes]:
    return [record(flags, version, event(samples)) for _ in range(count)]


def header(flags: int) -> bytes:
    return struct.pack("<H", 0xCAE0 | flags)


def assert_equals_reference(signals: Signals, expected: list[dict[str, Any]]) -> None:
    assert len(signals) == len(expected)
    for i, one in enumerate(expected):
        count = len(one["samples"])
        assert signals.samples[i, :count].tolist() == one["samples"]
        assert (signals.samples[i, count:] == (one["samples"][-1] if count else 0)).all()
        assert signals.length[i] == count
        assert signals.flags[i] == (0 if count else Flag.NO_SAMPLES)
        for name in ("board", "channel", "timestamp"):
            assert getattr(signals, name)[i] == one[name]
        assert signals.extra.keys() == one.keys() - {"board", "channel", "timestamp", "samples"}
        for name, values in signals.extra.items():
            assert values[i] == one[name], name


@pytest.mark.parametrize("flags", ALL_FLAGS)
def test_values_equal_a_slow_decoding_for_every_combination_of_fields(flags: int) -> None:
    body = b"".join(record(flags, 2, event(int(RNG.integers(0, 50)))) for _ in range(40))
    data = header(flags) + body
    scan = CoMPASS().scan(MemorySource(data))
    expected = records_of(body, flags, 2)
    lengths = [len(one["samples"]) for one in expected]
    assert (scan.signals, scan.damage) == (40, ())
    assert (scan.shortest, scan.longest) == (min(lengths), max(lengths))
    assert (scan.timestamp_unit, scan.sampling_period_ns, scan.sample_dtype) == ("1 ps", None, "uint16")
    assert_equals_reference(read_all(CoMPASS(), MemorySource(data), scan, chunk=7), expected)


def test_both_energies_together_do_not_shift_the_record() -> None:
    data = header(0xF) + record(0xF, 2, event(3, energy=11, calibrated=12.5, short=13, daq_flags=14))
    data += record(0xF, 2, event(3))
    signals = read_all(CoMPASS(), MemorySource(data), CoMPASS().scan(MemorySource(data)))
    assert [values[0] for values in signals.extra.values()] == [11, 12.5, 13, 14]


def test_calibrated_energy_alone_is_read_from_its_own_eight_bytes() -> None:
    data = header(2) + record(2, 2, event(calibrated=1332.5)) + record(2, 2, event(calibrated=0.001))
    signals = read_all(CoMPASS(), MemorySource(data), CoMPASS().scan(MemorySource(data)))
    assert signals.extra["energy_calibrated"].tolist() == [1332.5, 0.001]


def test_records_without_waveforms_are_not_read_as_if_they_had_some() -> None:
    data = header(5) + b"".join(records(5, count=9))
    scan = CoMPASS().scan(MemorySource(data))
    assert (scan.signals, scan.longest) == (9, 0)
    assert (read_all(CoMPASS(), MemorySource(data), scan).flags == Flag.NO_SAMPLES).all()


@pytest.mark.parametrize("flags", [9, 13])
def test_version_1_is_recognised_and_read(flags: int) -> None:
    data = b"".join(records(flags, version=1))
    assert CoMPASS.recognises(data[:HEAD_BYTES], Path("DataR_CH0@V1730_123_run_1.BIN"))
    scan = CoMPASS().scan(MemorySource(data))
    assert_equals_reference(read_all(CoMPASS(), MemorySource(data), scan), records_of(data, flags, 1))


@pytest.mark.parametrize("flags", [1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15])
def test_continuation_files_without_header_are_recognised_and_read(flags: int) -> None:
    data = b"".join(records(flags))
    assert CoMPASS.recognises(data[:HEAD_BYTES], Path("run_1_2.BIN"))
    for options in ({}, {"header": 0xCAE0 | flags}, {"header": 0xCAE0 | flags, "version": 2}):
        kind = CoMPASS(CoMPASSOptions(**options))
        scan = kind.scan(MemorySource(data))
        assert_equals_reference(read_all(kind, MemorySource(data), scan), records_of(data, flags, 2))


def test_the_header_option_speaks_only_for_files_without_header() -> None:
    data = header(9) + b"".join(records(9))
    assert CoMPASS(CoMPASSOptions(header=0xCAED)).scan(MemorySource(data)).signals == 40


def test_long_waveforms_are_recognised_where_the_head_holds_not_even_one_record() -> None:
    data = b"".join(records(13, count=4, samples=50_000))
    assert CoMPASS.recognises((header(13) + data)[:HEAD_BYTES], Path("x"))
    assert CoMPASS().scan(MemorySource(data)).signals == 4


@pytest.mark.parametrize(
    "other",
    [b"", b"\0" * 5000, b"\xff" * 5000, b"text " * 1000, RNG.bytes(5000), header(13) + b"\xff" * 99, b"\x01\0" * 4000],
)
def test_other_content_is_not_recognised(other: bytes) -> None:
    assert not CoMPASS.recognises(other, Path("x"))


def test_other_content_is_an_error_that_names_the_options() -> None:
    with pytest.raises(AcquisitionFileError, match="'header'"):
        CoMPASS().scan(MemorySource(b"text " * 1000))
    with pytest.raises(AcquisitionFileError, match="not one record"):
        CoMPASS().scan(MemorySource(header(13)))
    with pytest.raises(AcquisitionFileError, match="not one whole CoMPASS record"):
        CoMPASS().scan(MemorySource(header(13) + records(13)[0][:-1]))


def test_another_trace_than_the_input_is_refused_unless_asked_for() -> None:
    data = header(9) + b"".join(record(9, 2, event(), code=4) for _ in range(5))
    with pytest.raises(AcquisitionFileError, match="trace 4, not 1"):
        CoMPASS().scan(MemorySource(data))
    assert CoMPASS(CoMPASSOptions(waveform_code=4)).scan(MemorySource(data)).signals == 5


def test_a_real_file_equals_a_slow_decoding(shared_data: Path) -> None:
    path = shared_data / "compass" / "compass_test_data.BIN"
    assert CoMPASS.recognises(path.read_bytes()[:HEAD_BYTES], path)
    scan = CoMPASS().scan(PlainFile(path))
    assert (scan.signals, scan.shortest, scan.longest, scan.damage) == (102, 1000, 1000, ())
    assert scan.sampling_period_ns == 2.0  # from compass_test_data_settings.xml: DT5730, 500 MS/s
    signals = read_all(CoMPASS(), PlainFile(path), scan, chunk=10)
    assert_equals_reference(signals, records_of(path.read_bytes()[2:], 13, 2))
    full_scale = signals.extra["energy"] == 4095
    assert full_scale.sum() == 26
    assert (signals.extra["daq_flags"][full_scale] & 0x80).all()


def test_a_real_file_without_its_header_reads_the_same(shared_data: Path) -> None:
    body = (shared_data / "compass" / "compass_test_data.BIN").read_bytes()[2:]
    scan = CoMPASS().scan(MemorySource(body))
    assert_equals_reference(read_all(CoMPASS(), MemorySource(body), scan), records_of(body, 13, 2))


@pytest.mark.parametrize("place", ["run_settings.xml", "settings.xml", "../settings.xml", "elsewhere.xml"])
def test_the_sampling_period_comes_from_the_settings_file(tmp_path: Path, shared_data: Path, place: str) -> None:
    folder = tmp_path / "RAW"
    folder.mkdir()
    path = folder / "run.BIN"
    path.write_bytes(header(9) + b"".join(records(9)))
    assert CoMPASS().scan(PlainFile(path)).sampling_period_ns is None
    shutil.copy(shared_data / "compass" / "compass_test_data_settings.xml", folder / place)
    kind = CoMPASS(CoMPASSOptions(settings="elsewhere.xml" if place == "elsewhere.xml" else None))
    assert kind.scan(PlainFile(path)).sampling_period_ns == 2.0


def settings_with(*periods: float) -> str:
    boards = "".join(
        f"<board><id>{i}</id><sampleTime>{period}</sampleTime></board>" for i, period in enumerate(periods)
    )
    return f"<configuration>{boards}</configuration>"


def test_boards_of_different_speed_leave_the_sampling_period_open(tmp_path: Path) -> None:
    path = tmp_path / "run.BIN"
    path.write_bytes(header(9) + b"".join(records(9)))
    (tmp_path / "settings.xml").write_text(settings_with(4000, 4000))
    assert CoMPASS().scan(PlainFile(path)).sampling_period_ns == 4.0
    (tmp_path / "settings.xml").write_text(settings_with(2000, 4000))
    assert CoMPASS().scan(PlainFile(path)).sampling_period_ns is None


@pytest.mark.parametrize("content", ["not xml", "<configuration/>", settings_with(0), settings_with(1e300), None])
def test_a_bad_settings_file_is_an_error_only_if_it_was_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "run.BIN"
    path.write_bytes(header(9) + b"".join(records(9)))
    if content is not None:
        (tmp_path / "settings.xml").write_text(content)
    assert CoMPASS().scan(PlainFile(path)).sampling_period_ns is None
    with pytest.raises(ConfigurationError, match="option 'settings'"):
        CoMPASS(CoMPASSOptions(settings="settings.xml")).scan(PlainFile(path))


@pytest.mark.parametrize(("flags", "version"), [(13, 2), (9, 1), (5, 2), (15, 2)])
def test_a_file_truncated_at_any_byte_keeps_all_whole_records(flags: int, version: int) -> None:
    start = header(flags) if version == 2 else b""
    parts = [record(flags, version, event(6)) for _ in range(5)]
    data, size = start + b"".join(parts), len(parts[0])
    kind = CoMPASS(CoMPASSOptions(header=0xCAE0 | flags, version=version))
    for length in range(1, len(data)):
        whole = max(length - len(start), 0) // size
        if not whole:
            with pytest.raises(AcquisitionFileError):
                kind.scan(MemorySource(data[:length]))
            continue
        scan = kind.scan(MemorySource(data[:length]))
        rest = length - len(start) - whole * size
        assert scan.signals == whole
        assert [(d.offset, d.bytes, d.first, d.signals) for d in scan.damage] == (
            [(length - rest, rest, whole, 0)] if rest else []
        )
        assert all("ends inside a record" in damage.reason for damage in scan.damage)
        read_all(kind, MemorySource(data[:length]), scan)


def test_a_damaged_length_costs_one_record() -> None:
    parts = records(13, count=10)
    parts[4] = parts[4][:21] + struct.pack("<I", 21) + parts[4][25:]
    data = header(13) + b"".join(parts)
    scan = CoMPASS().scan(MemorySource(data))
    start = 2 + 4 * 65
    assert scan.signals == 10
    assert [(d.offset, d.bytes, d.first, d.signals) for d in scan.damage] == [(start, 25, 4, 1), (start + 25, 40, 5, 0)]
    signals = read_all(CoMPASS(), MemorySource(data), scan)
    assert np.flatnonzero(signals.flags == Flag.DAMAGED).tolist() == [4]
    expected = records_of(b"".join(records(13, count=0)) + parts[9], 13, 2)
    assert signals.timestamp[9] == expected[0]["timestamp"]


@pytest.mark.parametrize("garbage", [b"\0" * 999, b"\xff" * 1000, RNG.bytes(3001)], ids=["zeros", "ones", "random"])
@pytest.mark.parametrize(("flags", "version"), [(13, 2), (13, 1), (5, 2)])
def test_garbage_between_records_costs_at_most_the_one_before_it(flags: int, version: int, garbage: bytes) -> None:
    parts = [record(flags, version, event(30, channel=3)) for _ in range(20)]
    data = (header(flags) if version == 2 else b"") + b"".join([*parts[:9], garbage, *parts[9:]])
    kind = CoMPASS(CoMPASSOptions(header=0xCAE0 | flags, version=version))
    scan = kind.scan(MemorySource(data))
    signals = read_all(kind, MemorySource(data), scan)
    good = signals.timestamp[signals.flags & Flag.DAMAGED == 0].tolist()
    expected = [int.from_bytes(part[4:12], "little") for part in parts]
    assert set(expected) - set(good) <= {expected[8]}
    assert set(good) - set(expected) <= {0}
    assert len(good) <= 21
    assert sum(damage.bytes for damage in scan.damage) >= len(garbage) - 2 * len(parts[0])


def test_cuts_lie_about_every_8192_signals_and_reading_starts_at_each(tmp_path: Path) -> None:
    path = tmp_path / "run.BIN"
    given = Signals.allocate(30_000, 5, "uint16")
    given.timestamp[:] = np.arange(30_000)
    given.length[:] = RNG.integers(0, 6, 30_000)
    with CoMPASS.writer(path, WriterSettings(5, "uint16", "1 ps")) as writer:
        writer.write(given)
    scan = CoMPASS().scan(PlainFile(path))
    assert [signal for signal, _ in scan.cuts] == [0, 8192, 16384, 24576]
    for first in (0, 1, 8191, 8192, 20_000, 29_998):
        out = Signals.allocate(2, 5, "uint16")
        with CoMPASS().reader(PlainFile(path), scan, first) as reader:
            reader.read(out)
        assert out.timestamp.tolist() == [first, first + 1]


@pytest.mark.parametrize("flags", ALL_FLAGS)
@pytest.mark.parametrize("file_header", [True, False])
def test_written_files_come_back(tmp_path: Path, flags: int, file_header: bool) -> None:
    path = tmp_path / "run.BIN"
    columns = (*(column for bit, column in COLUMNS.items() if flags & bit), DAQ_FLAGS)
    given = Signals.allocate(200, 30, "uint16", columns)
    given.samples[:] = RNG.integers(0, 1 << 16, given.samples.shape)
    given.length[:] = RNG.integers(0, 31, 200) if flags & 8 else 0
    given.timestamp[:] = RNG.integers(1, 1 << 60, 200)
    given.board[:], given.channel[:] = RNG.integers(0, 256, 200), RNG.integers(0, 64, 200)
    for name, values in given.extra.items():
        values[:] = RNG.normal(500, 200, 200) if name == CALIBRATED.name else RNG.integers(0, 1 << 16, 200)
    options = {"waveforms": bool(flags & 8), "file_header": file_header}
    with CoMPASS.writer(path, WriterSettings(30, "uint16", "1 ps", None, columns, options)) as writer:
        writer.write(given[:77])
        writer.write(given[77:])
    kind = CoMPASS(CoMPASSOptions(header=0xCAE0 | flags, version=2))
    back = read_all(kind, PlainFile(path), kind.scan(PlainFile(path)))
    real = np.arange(30) < given.length[:, None]
    width = back.samples.shape[1]
    assert (back.samples[real[:, :width]] == given.samples[real]).all()
    for name in ("timestamp", "board", "channel", "length"):
        assert (getattr(back, name) == getattr(given, name)).all(), name
    for name, values in given.extra.items():
        assert (back.extra[name] == values).all(), name


def test_version_1_is_written(tmp_path: Path) -> None:
    path = tmp_path / "run.BIN"
    given = Signals.allocate(9, 4, "uint16", (ENERGY, SHORT))
    given.timestamp[:] = range(1, 10)
    given.extra["energy_short"][:] = range(9)
    with CoMPASS.writer(path, WriterSettings(4, "uint16", "1 ps", None, (ENERGY, SHORT), {"version": 1})) as writer:
        writer.write(given)
    found = records_of(path.read_bytes(), 13, 1)
    assert [one["energy_short"] for one in found] == list(range(9))
    assert [one["timestamp"] for one in found] == list(range(1, 10))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.samples.fill(-1), "sample"),
        (lambda s: s.channel.fill(64), "channel 64"),
        (lambda s: s.board.fill(256), "board 256"),
        (lambda s: s.timestamp.fill(1 << 60), "timestamp"),
    ],
)
def test_the_writer_refuses_what_would_not_come_back(
    tmp_path: Path, change: Callable[[Signals], None], message: str
) -> None:
    signals = Signals.allocate(3, 20)
    change(signals)
    with (
        CoMPASS.writer(tmp_path / "x.BIN", WriterSettings(20, "int16", "1 ps")) as writer,
        pytest.raises(ConfigurationError, match=message),
    ):
        writer.write(signals)


@pytest.mark.parametrize(
    "settings",
    [
        WriterSettings(10, "uint16", "10 ns"),
        WriterSettings(10, "float32", "1 ps"),
        WriterSettings(10, "uint16", "1 ps", columns=(scalar("truth", "uint8", "test"),)),
        WriterSettings(10, "uint16", "1 ps", columns=(ENERGY,), options={"header": 0xCAE8}),
        WriterSettings(10, "uint16", "1 ps", options={"version": 1, "waveforms": False}),
        WriterSettings(10, "uint16", "1 ps", options={"version": 3}),
    ],
)
def test_the_writer_refuses_settings_that_compass_cannot_hold(tmp_path: Path, settings: WriterSettings) -> None:
    with pytest.raises(ConfigurationError):
        CoMPASS.writer(tmp_path / "x.BIN", settings)
    assert not (tmp_path / "x.BIN").exists()
