"""Format ``mfm``: GANIL MFM files with NEDA frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from psdbatch.acquisition.bytesource import PlainFile
from psdbatch.acquisition.format import WriterSettings
from psdbatch.acquisition.mfm import MFM, MFMOptions
from psdbatch.acquisition.mfm_frames import LOCATIONS
from psdbatch.acquisition.mfm_writer import FrameStyle, compressed_frames, raw_frames
from psdbatch.acquisition.mfm_writer import merge_frame as write_merge_frame
from psdbatch.acquisition.registry import HEAD_BYTES
from psdbatch.acquisition.signals import Signals
from psdbatch.columns import Flag, scalar
from psdbatch.config import validated
from psdbatch.errors import AcquisitionFileError, ConfigurationError
from tests.mfm_reference import (
    COMPRESSED_COLUMNS,
    RAW_COLUMNS,
    MemorySource,
    Style,
    compressed_frame,
    foreign_frame,
    merge_frame,
    raw_frame,
    read_all,
    signals_of,
)

STYLES = [Style(order, shift, revision) for order in "<>" for shift in (0, 1, 6) for revision in (0, 1, 3)]
RNG = np.random.default_rng(20)


def mfm(**options: object) -> MFM:
    """The format with options checked as those of a configuration file are."""
    return MFM(validated(MFMOptions, options, "test"))


def frames(style: Style, count: int = 20, samples: int = 232) -> list[bytes]:
    """Raw and compressed frames in turn."""
    made = []
    for i in range(count):
        place = int(RNG.integers(0, 1 << 16))
        time = int(RNG.integers(0, 1 << 48))
        pulse = RNG.integers(0, 1 << 14, samples).tolist()
        made += [raw_frame(style, pulse, time, place, i), compressed_frame(style, time + 1, place, i)]
    return made


def assert_equals_reference(signals: Signals, data: bytes) -> None:
    expected = signals_of(data)
    assert len(signals) == len(expected)
    channel_mask, board_shift, board_mask = LOCATIONS["neda"]
    for i, one in enumerate(expected):
        count = len(one["samples"])
        assert signals.samples[i, :count].tolist() == one["samples"]
        assert (signals.samples[i, count:] == (one["samples"][-1] if count else 0)).all()
        assert signals.length[i] == count
        assert signals.timestamp[i] == one["timestamp"]
        assert signals.channel[i] == one["location"] & channel_mask
        assert signals.board[i] == one["location"] >> board_shift & board_mask
        assert signals.flags[i] == (0 if count else Flag.NO_SAMPLES)
        for name, values in signals.extra.items():
            assert values[i] == one.get(name, 0), name


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_values_equal_a_slow_decoding_for_every_byte_order_block_size_and_revision(style: Style) -> None:
    data = b"".join(frames(style))
    scan = MFM().scan(MemorySource(data))
    assert (scan.signals, scan.shortest, scan.longest, scan.damage) == (40, 0, 232, ())
    assert (scan.timestamp_unit, scan.sampling_period_ns, scan.sample_dtype) == ("10 ns", 5.0, "int16")
    assert {column.name for column in scan.columns} == RAW_COLUMNS | COMPRESSED_COLUMNS
    assert_equals_reference(read_all(MFM(), MemorySource(data), scan), data)


def test_frames_of_every_style_are_mixed_in_one_file_and_in_nested_merges() -> None:
    inner = [merge_frame(style, frames(style, 2, 16 + i), by_time=i % 2 == 0) for i, style in enumerate(STYLES)]
    hello = foreign_frame(Style("<", 0), 0xFF00, b"hello")
    scaler = foreign_frame(Style(">", 3), 0x24, b"123456789")
    outer = merge_frame(Style(">", 6), [*inner, scaler, merge_frame(Style("<", 5), []), *frames(STYLES[0], 1)])
    data = b"".join([hello, outer, scaler, *frames(STYLES[3], 1), outer, hello])
    scan = MFM().scan(MemorySource(data))
    assert scan.damage == ()
    assert scan.signals == 2 * (len(STYLES) * 4 + 2) + 2
    assert_equals_reference(read_all(MFM(), MemorySource(data), scan, chunk=7), data)


def test_small_children_at_the_end_of_a_merge_with_large_blocks_are_not_taken_for_padding() -> None:
    children = [compressed_frame(Style("<", 1), 5 + i, 33, i) for i in range(9)]
    data = merge_frame(Style(">", 6), children)
    assert MFM().scan(MemorySource(data)).signals == 9


def test_more_merges_inside_one_another_than_are_followed_lose_no_signal() -> None:
    data = raw_frame(Style(), [1, 2, 3], 4, 5)
    for _ in range(40):
        data = merge_frame(Style(), [data])
    scan = MFM().scan(MemorySource(data))
    assert scan.signals == 1
    assert [(damage.offset, damage.bytes) for damage in scan.damage] == [(0, (40 - 16) * 26)]


@pytest.mark.parametrize(
    ("kinds", "count", "columns"), [("raw", 20, RAW_COLUMNS), ("compressed", 20, COMPRESSED_COLUMNS)]
)
def test_only_the_wanted_kind_of_frame_counts(kinds: str, count: int, columns: set[str]) -> None:
    data = b"".join(frames(Style(">")))
    kind = mfm(frames=kinds)
    scan = kind.scan(MemorySource(data))
    assert scan.signals == count
    assert {column.name for column in scan.columns} == columns
    signals = read_all(kind, MemorySource(data), scan)
    assert (signals.length == (232 if kinds == "raw" else 0)).all()


def test_extra_columns_not_asked_for_are_not_needed() -> None:
    data = b"".join(frames(Style()))
    scan = MFM().scan(MemorySource(data))
    out = Signals.allocate(40, 232, "int16", [c for c in scan.columns if c.name == "online_network"])
    with MFM().reader(MemorySource(data), scan) as reader:
        assert reader.read(out) == 40
    assert out.extra["online_network"].tolist() == [one.get("online_network", 0) for one in signals_of(data)]


def test_samples_beyond_the_width_of_the_output_are_dropped_and_still_checked() -> None:
    data = bytearray(b"".join(frames(Style(), 2)))
    data[44 + 2 * 200 + 1] ^= 0x40
    scan = MFM().scan(MemorySource(bytes(data)))
    out = Signals.allocate(4, 50, "int16")
    with MFM().reader(MemorySource(bytes(data)), scan) as reader:
        reader.read(out)
    assert out.length.tolist() == [0, 0, 50, 0]
    assert out.flags.tolist() == [Flag.DAMAGED, Flag.NO_SAMPLES, 0, Flag.NO_SAMPLES]


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_wrong_parity_bit_damages_its_signal_and_keeps_the_place(order: str) -> None:
    good = b"".join(raw_frame(Style(order), [100 + i] * 232, i, 16, i) for i in range(5))
    bad = bytearray(good)
    for frame in (1, 2, 4):
        bad[512 * frame + 44 + 2 * 7 + (1 if order == "<" else 0)] ^= 0x40
    scan = MFM().scan(MemorySource(bytes(bad)))
    out = Signals.allocate(5, 232)
    with MFM().reader(MemorySource(bytes(bad)), scan) as reader:
        reader.read(out)
        told = [(damage.offset, damage.bytes, damage.first, damage.signals) for damage in reader.damage]
        assert all("parity" in damage.reason for damage in reader.damage)
    assert told == [(512, 1024, 1, 2), (2048, 512, 4, 1)]
    assert out.flags.tolist() == [0, Flag.DAMAGED, Flag.DAMAGED, 0, Flag.DAMAGED]
    assert out.samples[:, 0].tolist() == [100, 0, 0, 103, 0]
    assert out.timestamp.tolist() == [0, 1, 2, 3, 4]
    without = read_all(MFM(MFMOptions(check_parity=False)), MemorySource(bytes(bad)), scan)
    assert not without.flags.any()
    assert without.samples[:, 7].tolist() == [100, 101, 102, 103, 104]


def test_a_wrong_end_word_is_found_by_the_scan_and_damages_one_signal() -> None:
    data = bytearray(b"".join(raw_frame(Style(), [9] * 232, i, 16) for i in range(4)))
    data[1022] = 0
    scan = MFM().scan(MemorySource(bytes(data)))
    assert scan.signals == 4
    assert [(d.offset, d.bytes, d.first, d.signals) for d in scan.damage] == [(512, 512, 1, 1)]
    assert "end word" in scan.damage[0].reason
    assert read_all(MFM(), MemorySource(bytes(data)), scan).flags.tolist() == [0, Flag.DAMAGED, 0, 0]
    trusting = MFM(MFMOptions(check_end_word=False))
    assert trusting.scan(MemorySource(bytes(data))).damage == ()
    assert not read_all(trusting, MemorySource(bytes(data)), scan).flags.any()


def test_bytes_missing_inside_a_frame_cost_that_frame_only() -> None:
    good = [raw_frame(Style(), [i] * 232, i, 16) for i in range(6)]
    data = b"".join([*good[:2], good[2][:300], *good[3:]])
    scan = MFM().scan(MemorySource(data))
    assert scan.signals == 6
    signals = read_all(MFM(), MemorySource(data), scan)
    assert signals.flags.tolist() == [0, 0, Flag.DAMAGED, 0, 0, 0]
    assert signals.samples[:, 9].tolist() == [0, 1, 0, 3, 4, 5]
    assert [(d.offset, d.bytes, d.first, d.signals) for d in scan.damage] == [(1024, 44, 2, 1), (1068, 256, 3, 0)]


def test_torn_frames_one_after_another_are_told_one_by_one_with_the_gaps_between_them() -> None:
    good = raw_frame(Style(), [7] * 100, 1, 16)
    data = good + good[:100] + good[:120] + good
    scan = MFM().scan(MemorySource(data))
    assert scan.signals == 4
    assert [(d.offset, d.bytes, d.first, d.signals) for d in scan.damage] == [
        (248, 44, 1, 1),
        (292, 56, 2, 0),
        (348, 44, 2, 1),
        (392, 76, 3, 0),
    ]


def test_neighbouring_faults_are_one_entry_wherever_a_window_ends() -> None:
    wrong = raw_frame(Style(), [7] * 100, 1, 16)[:-1] + b"\0"
    count = 10_000  # more than a window holds
    scan = MFM().scan(MemorySource(wrong * count))
    assert [(d.offset, d.bytes, d.first, d.signals) for d in scan.damage] == [(0, 248 * count, 0, count)]


@pytest.mark.parametrize("garbage", [b"\0" * 5000, b"\xff" * 777, b"A text between frames. " * 99, RNG.bytes(3001)])
def test_garbage_between_frames_is_one_region_and_costs_no_signal(garbage: bytes) -> None:
    good = [raw_frame(Style(">"), [i] * 100, i, 16) for i in range(6)]
    data = b"".join([*good[:4], garbage, *good[4:]])
    scan = MFM().scan(MemorySource(data))
    assert scan.signals == 6
    assert [(d.offset, d.bytes, d.first, d.signals) for d in scan.damage] == [(4 * 248, len(garbage), 4, 0)]
    assert read_all(MFM(), MemorySource(data), scan).timestamp.tolist() == list(range(6))
    with MFM().reader(MemorySource(data), scan) as reader:
        reader.read(Signals.allocate(4, 100))
        assert reader.damage == []
        reader.read(Signals.allocate(1, 100))
        assert reader.damage == list(scan.damage)


def test_garbage_is_not_taken_for_foreign_frames_that_hide_signals() -> None:
    """Bytes that look like the header of a huge frame of unknown type lie before many good frames."""
    good = b"".join(raw_frame(Style(), [i] * 100, i, 16) for i in range(50))
    hiding = bytes([0x01]) + (3000).to_bytes(3, "big") + b"\0\x77\x77\0" + b"\1" * 30
    scan = MFM().scan(MemorySource(good + hiding + good))
    assert scan.signals == 100
    assert [(d.offset, d.bytes) for d in scan.damage] == [(len(good), len(hiding))]


def test_a_merge_with_a_damaged_size_loses_its_header_only() -> None:
    children = [raw_frame(Style(), [i] * 100, i, 16) for i in range(6)]
    data = bytearray(merge_frame(Style(), children) + children[0])
    data[2] ^= 0x10
    scan = MFM().scan(MemorySource(bytes(data)))
    assert scan.signals == 7
    assert [(d.offset, d.bytes) for d in scan.damage] == [(0, 26)]
    assert scan.cuts[0] == (0, 26)


@pytest.mark.parametrize("merged", [False, True])
def test_a_file_truncated_at_any_byte_keeps_all_whole_signals(merged: bool) -> None:
    children = [raw_frame(Style(">"), [i] * 8, i, 16) if i % 2 else compressed_frame(Style(), i, 16) for i in range(5)]
    data = merge_frame(Style(), children) if merged else b"".join(children)
    ends = np.cumsum([len(child) for child in children]) + len(data) - sum(map(len, children))
    for length in range(1, len(data)):
        whole = int((ends <= length).sum())
        if not whole:
            with pytest.raises(AcquisitionFileError):
                MFM().scan(MemorySource(data[:length]))
            continue
        scan = MFM().scan(MemorySource(data[:length]))
        assert scan.signals == whole
        signals = read_all(MFM(), MemorySource(data[:length]), scan)
        assert signals.timestamp.tolist() == list(range(whole))
        rest = length - int(ends[whole - 1])
        assert sum(damage.bytes for damage in scan.damage if damage.offset >= ends[whole - 1]) == rest
        if rest and not merged:
            assert "ends inside a frame" in scan.damage[-1].reason


def test_a_file_that_shrank_after_its_index_is_an_error_and_one_that_grew_is_not() -> None:
    data = b"".join(raw_frame(Style(), [i] * 100, i, 16) for i in range(10))
    scan = MFM().scan(MemorySource(data))
    with MFM().reader(MemorySource(data[:-1]), scan) as reader, pytest.raises(AcquisitionFileError, match="9 signals"):
        reader.read(Signals.allocate(10, 100))
    assert len(read_all(MFM(), MemorySource(data + data), scan)) == 10


def test_skipping_equals_reading() -> None:
    data = b"".join(frames(Style(), 30, 20))
    scan = MFM().scan(MemorySource(data))
    out = Signals.allocate(10, 20)
    with MFM().reader(MemorySource(data), scan, 3) as reader:
        reader.skip(17)
        assert reader.read(out) == 10
        reader.skip(1000)
        assert reader.read(out) == 0
    assert out.timestamp.tolist() == [one["timestamp"] for one in signals_of(data)[20:30]]


def test_cuts_lie_about_every_8192_signals_and_reading_starts_at_each() -> None:
    pulses = Signals.allocate(30_000, 4)
    pulses.timestamp[:] = np.arange(30_000)
    plain = raw_frames(pulses).tobytes()
    merged = b"".join(write_merge_frame(raw_frames(pulses[i : i + 100]).tobytes(), 100) for i in range(0, 30_000, 100))
    for data in (plain, merged):
        scan = MFM().scan(MemorySource(data))
        assert [signal // 8192 for signal, _ in scan.cuts] == [0, 1, 2, 3]
        for signal, _ in scan.cuts:
            for first in (signal, signal + 1, max(signal - 1, 0)):
                out = Signals.allocate(2, 4)
                with MFM().reader(MemorySource(data), scan, first) as reader:
                    reader.read(out)
                assert out.timestamp.tolist() == [first, first + 1]


def test_board_and_channel_follow_the_chosen_convention() -> None:
    data = raw_frame(Style(), [1], 1, 0b1010_1101_1011) + compressed_frame(Style(), 1, 0b1010_1101_1011)
    numbers = {"channel_mask": 7, "board_shift": 3, "board_mask": 0xFF}
    kind = mfm(raw_location=numbers, compressed_location="older")
    signals = read_all(kind, MemorySource(data), kind.scan(MemorySource(data)))
    assert signals.channel.tolist() == [0b011, 0b1011]
    assert signals.board.tolist() == [0b1_0101_1011 & 0xFF, 0b1010_1101]
    with pytest.raises(ConfigurationError, match="did you mean 'generic'"):
        mfm(raw_location="genric")


def test_a_real_file_without_neda_frames_says_what_it_holds(shared_data: Path) -> None:
    path = shared_data / "mfm" / "cobo-frame.graw"
    assert MFM.recognises(path.read_bytes()[:HEAD_BYTES], path)
    with pytest.raises(AcquisitionFileError, match=r"not one NEDA frame; found frame types: 0x01 COBO \(1\)"):
        MFM().scan(PlainFile(path))


def test_neda_frames_around_a_real_foreign_frame_are_found(shared_data: Path) -> None:
    cobo = (shared_data / "mfm" / "cobo-frame.graw").read_bytes()
    one = raw_frame(Style(), [5] * 232, 6, 16)
    scan = MFM().scan(MemorySource(cobo + one + cobo + one + one + cobo))
    assert (scan.signals, scan.damage) == (3, ())


def test_errors_say_why_there_is_no_signal() -> None:
    with pytest.raises(AcquisitionFileError, match="another format"):
        MFM().scan(MemorySource(b"not a detector file at all"))
    with pytest.raises(AcquisitionFileError, match=r"option frames = 'raw'.*NEDA_COMPRESSED \(1\)"):
        MFM(MFMOptions(frames="raw")).scan(MemorySource(compressed_frame(Style(), 1, 1)))


def test_content_is_recognised() -> None:
    path = Path("run_1.mfm")
    for style in STYLES:
        assert MFM.recognises(b"".join(frames(style, 1)), path)
        assert MFM.recognises(merge_frame(style, frames(style, 1)), path)
        assert MFM.recognises(foreign_frame(style, 0xFF00, b"hi") + b"".join(frames(style, 1)), path)
    assert MFM.recognises(merge_frame(Style(), frames(Style(), 200))[:HEAD_BYTES], path)
    for other in (b"", b"\0" * 100, b"\xff" * 100, b"\xed\xca" + b"\0" * 98, RNG.bytes(0), b"PK\3\4" + b"x" * 99):
        assert not MFM.recognises(other, path)


@pytest.mark.parametrize("byte_order", ["little", "big"])
@pytest.mark.parametrize("revision", [0, 1])
@pytest.mark.parametrize("block", [1, 2, 64])
def test_written_raw_frames_come_back(tmp_path: Path, byte_order: str, revision: int, block: int) -> None:
    path = tmp_path / "run_1.mfm"
    columns = [c for c in MFM().scan(MemorySource(raw_frame(Style(), [1], 1, 1))).columns if c.name != "tdc"]
    given = random_signals(500, 60, columns)
    options = {"byte_order": byte_order, "revision": revision, "block": block}
    with MFM.writer(path, WriterSettings(60, "int16", "10 ns", 5.0, tuple(columns), options)) as writer:
        writer.write(given[:123])
        writer.write(given[123:])
    scan = MFM().scan(PlainFile(path))
    back = read_all(MFM(), PlainFile(path), scan)
    assert (scan.signals, scan.damage) == (500, ())
    assert_equals_reference(back, path.read_bytes())
    for name in ("timestamp", "board", "channel", "length"):
        assert (getattr(back, name) == getattr(given, name)).all(), name
    real = np.arange(60) < given.length[:, None]
    assert (back.samples[real] == given.samples[real]).all()
    for column in columns:
        assert (back.extra[column.name] == given.extra[column.name]).all(), column.name


def random_signals(count: int, samples: int, columns: list) -> Signals:
    """Signals whose values fill their fields."""
    signals = Signals.allocate(count, samples, "int16", columns)
    signals.samples[:] = RNG.integers(0, 1 << 14, signals.samples.shape)
    signals.length[:] = RNG.integers(0, samples + 1, count)
    signals.timestamp[:] = RNG.integers(0, 1 << 48, count)
    signals.board[:] = RNG.integers(0, 1 << 11, count)
    signals.channel[:] = RNG.integers(0, 16, count)
    for name, values in signals.extra.items():
        bits = {"neutron_trigger": 1, "cfd_parity": 1, "cfd_valid": 1}.get(name, min(8 * values.itemsize, 16))
        values[:] = RNG.integers(0, 1 << bits, count)
    return signals


def test_a_frame_for_512_bytes_is_exactly_that_of_the_detector() -> None:
    assert len(raw_frames(Signals.allocate(3, 232))) == 3 * 512
    assert len(compressed_frames(Signals.allocate(3, 232))) == 3 * 42


@pytest.mark.parametrize("byte_order", ["little", "big"])
def test_written_compressed_frames_and_merges_come_back(byte_order: str) -> None:
    columns = list(MFM().scan(MemorySource(compressed_frame(Style(), 1, 1))).columns)
    given = random_signals(50, 10, columns)
    given.extra["rise_time"][:] = RNG.integers(-(1 << 31), 1 << 31, 50)
    style = FrameStyle(byte_order, 2, 1, LOCATIONS["generic"])
    frames_ = compressed_frames(given, style).tobytes()
    data = write_merge_frame(write_merge_frame(frames_, 50, style, "event", 9), 1, FrameStyle(block=64), key=8)
    kind = mfm(compressed_location="generic")
    back = read_all(kind, MemorySource(data), kind.scan(MemorySource(data)))
    for name in ("timestamp", "board", "channel"):
        assert (getattr(back, name) == getattr(given, name)).all()
    for name, values in given.extra.items():
        assert (back.extra[name] == values).all(), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.samples.fill(1 << 14), "14 bits"),
        (lambda s: s.samples.fill(-1), "14 bits"),
        (lambda s: s.channel.fill(16), "channel 16"),
        (lambda s: s.board.fill(2048), "board 2,048"),
        (lambda s: s.timestamp.fill(1 << 48), "timestamp"),
        (lambda s: s.extra["neutron_trigger"].fill(2), "neutron_trigger"),
    ],
)
def test_the_writer_refuses_what_would_not_come_back(tmp_path: Path, change, message: str) -> None:
    columns = (scalar("neutron_trigger", "uint8", "test"),)
    signals = Signals.allocate(3, 20, "int16", columns)
    change(signals)
    with (
        MFM.writer(tmp_path / "x.mfm", WriterSettings(20, "int16", "10 ns", None, columns)) as writer,
        pytest.raises(ConfigurationError, match=message),
    ):
        writer.write(signals)


@pytest.mark.parametrize(
    "settings",
    [
        WriterSettings(10, "int16", "1 ps"),
        WriterSettings(10, "int16", "10 ns", 2.0),
        WriterSettings(10, "float32", "10 ns"),
        WriterSettings(10, "int16", "10 ns", columns=(scalar("truth", "uint8", "test"),)),
        WriterSettings(10, "int16", "10 ns", options={"location": "nowhere"}),
        WriterSettings(10, "int16", "10 ns", options={"blok": 2}),
    ],
)
def test_the_writer_refuses_settings_that_mfm_cannot_hold(tmp_path: Path, settings: WriterSettings) -> None:
    with pytest.raises(ConfigurationError):
        MFM.writer(tmp_path / "x.mfm", settings)
    assert not (tmp_path / "x.mfm").exists()
