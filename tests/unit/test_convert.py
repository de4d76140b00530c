"""Conversion: every signal and every column arrives, or the summary says why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from psdbatch.acquisition.convert import convert
from psdbatch.acquisition.format import WriterSettings
from psdbatch.acquisition.index import index_file, open_signals
from psdbatch.acquisition.packets import Packets
from psdbatch.acquisition.signals import Signals
from psdbatch.columns import Flag, scalar
from psdbatch.errors import AcquisitionFileError, ConfigurationError

COLUMNS = (scalar("energy", "float32", "energy", "keV"),)
N = 1000


@pytest.fixture
def signals() -> Signals:
    random = np.random.default_rng(0)
    signals = Signals.allocate(N, 24, "int16", COLUMNS)
    signals.samples[:] = random.integers(0, 16384, (N, 24))
    signals.timestamp[:] = np.arange(N) * 977
    signals.board[:] = random.integers(0, 4, N)
    signals.channel[:] = random.integers(0, 16, N)
    signals.extra["energy"][:] = random.random(N)
    return signals


@pytest.fixture
def packets(tmp_path: Path, signals: Signals) -> Path:
    path = tmp_path / "a.psdz"
    settings = WriterSettings(24, "int16", "10 ns", 5.0, COLUMNS, {"packet": 100})
    with Packets.writer(path, settings) as writer:
        writer.write(signals)
    return path


def damage(path: Path) -> None:
    """Break the payload of the fourth packet."""
    data = bytearray(path.read_bytes())
    data[index_file(path).scan.cuts[3][1] + 200] ^= 255
    path.write_bytes(data)


def read(path: Path) -> Signals:
    index = index_file(path)
    out = Signals.allocate(index.scan.signals, index.scan.longest, index.scan.sample_dtype, index.scan.columns)
    with open_signals(index) as reader:
        assert reader.read(out) == len(out)
    return out


def assert_equal(a: Signals, b: Signals) -> None:
    for name in ("samples", "length", "timestamp", "board", "channel", "flags"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    for name in a.extra:
        np.testing.assert_array_equal(a.extra[name], b.extra[name], err_msg=name)


def test_a_trip_through_every_array_format_changes_nothing(tmp_path: Path, packets: Path, signals: Signals) -> None:
    trip = [("a.npz", "numpy"), ("b.zarr", "zarr"), ("c.psdz", "packets")]
    source = packets
    for name, kind in trip:
        summary = convert(source, tmp_path / name, kind)
        assert (summary.signals, summary.written, summary.damaged, summary.omitted) == (N, N, 0, 0)
        source = tmp_path / name
        assert_equal(read(source), signals)
        found = index_file(source).scan
        assert (found.timestamp_unit, found.sampling_period_ns) == ("10 ns", 5.0)
        assert [column.to_json() for column in found.columns] == [column.to_json() for column in COLUMNS]


def test_many_batches_are_one_file(
    tmp_path: Path, packets: Path, signals: Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psdbatch.acquisition.convert.BATCH_BYTES", 24 * 2 * 130)
    convert(packets, tmp_path / "b.psdz", options={"packet": 77})
    assert_equal(read(tmp_path / "b.psdz"), signals)


def test_damaged_signals_keep_place_and_flag(tmp_path: Path, packets: Path, signals: Signals) -> None:
    damage(packets)
    summary = convert(packets, tmp_path / "b.psdz")
    assert (summary.signals, summary.written, summary.damaged, summary.omitted) == (N, N, 100, 0)
    assert [(entry.first, entry.signals) for entry in summary.damage] == [(300, 100)]
    back = read(tmp_path / "b.psdz")
    assert (back.flags[300:400] == Flag.DAMAGED).all()
    assert index_file(tmp_path / "b.psdz").scan.shortest == 24
    assert_equal(back[400:], signals[400:])


def test_damaged_signals_are_left_out_only_on_demand_and_counted(
    tmp_path: Path, packets: Path, signals: Signals
) -> None:
    damage(packets)
    summary = convert(packets, tmp_path / "b.psdz", damaged="omit")
    assert (summary.signals, summary.written, summary.damaged, summary.omitted) == (N, N - 100, 100, 100)
    back = read(tmp_path / "b.psdz")
    assert_equal(back[:300], signals[:300])
    assert_equal(back[300:], signals[400:])


def test_a_target_that_exists_is_not_touched(tmp_path: Path, packets: Path) -> None:
    (tmp_path / "b.psdz").write_text("precious")
    with pytest.raises(ConfigurationError, match="exists"):
        convert(packets, tmp_path / "b.psdz")
    assert (tmp_path / "b.psdz").read_text() == "precious"
    convert(packets, tmp_path / "b.psdz", overwrite=True)
    assert index_file(tmp_path / "b.psdz").scan.signals == N


def test_a_failed_conversion_leaves_nothing_behind(tmp_path: Path, packets: Path) -> None:
    with pytest.raises(ConfigurationError):
        convert(packets, tmp_path / "b.psdz", options={"lewel": 3})
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(AcquisitionFileError):
        convert(tmp_path / "empty", tmp_path / "b.psdz")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.psdz", "empty"]


def test_a_real_compass_file_becomes_packets_signal_by_signal(tmp_path: Path, shared_data: Path) -> None:
    source = shared_data / "compass" / "compass_test_data.BIN"
    summary = convert(source, tmp_path / "a.psdz")
    assert (summary.signals, summary.written) == (102, 102)
    assert_equal(read(tmp_path / "a.psdz"), read(source))


def test_the_ending_of_the_target_chooses_its_format(packets: Path, tmp_path: Path) -> None:
    convert(packets, tmp_path / "b.npz")
    convert(packets, tmp_path / "b.other")
    assert [index_file(tmp_path / name).format for name in ("b.npz", "b.other")] == ["numpy", "packets"]
    assert "samples" in np.load(tmp_path / "b.npz")
