"""NumPy files and Zarr stores as acquisition files."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
import zarr

from psdbatch.acquisition.array_columns import ArrayOptions
from psdbatch.acquisition.arrays import NumPyArrays, ZarrArrays
from psdbatch.acquisition.bytesource import open_source
from psdbatch.acquisition.format import AcquisitionFormat, Scan, WriterSettings
from psdbatch.acquisition.index import index_file, open_signals
from psdbatch.acquisition.registry import recognise
from psdbatch.acquisition.signals import Signals
from psdbatch.columns import Column, Flag, scalar
from psdbatch.errors import AcquisitionFileError, ConfigurationError

N = 500
SAMPLES = np.random.default_rng(1).integers(-3000, 3000, (N, 20)).astype(np.int16)
COLUMNS = {
    "timestamp": np.cumsum(np.random.default_rng(2).integers(0, 2**50, N)).astype(np.uint64),
    "board": np.arange(N, dtype=np.int64) % 7,
    "channel": np.arange(N, dtype=np.uint8) % 64,
    "energy": np.random.default_rng(3).normal(0, 1, N),
    "answer": np.random.default_rng(3).normal(0, 1, (N, 3)).astype(np.float32),
}


def read(path: Path, batch: int = 64, first: int = 0, width: int | None = None, **options: object) -> Signals:
    index = index_file(path, options=options)
    out = Signals.allocate(
        index.scan.signals - first, width or index.scan.longest, index.scan.sample_dtype, index.scan.columns
    )
    done = 0
    with open_signals(index, first) as reader:
        while count := reader.read(out[done : done + batch]):
            done += count
    assert done == len(out)
    return out


def scan(kind: type[AcquisitionFormat], path: Path, **options: object) -> Scan:
    return kind(ArrayOptions(**options)).scan(open_source(path))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", ">i2", ">f4"])
def test_npy_of_every_dtype_is_read_value_by_value(tmp_path: Path, dtype: str) -> None:
    values = SAMPLES.astype(dtype)
    np.save(tmp_path / "a.npy", values)
    assert recognise(tmp_path / "a.npy") == "numpy"
    found = index_file(tmp_path / "a.npy").scan
    assert (found.signals, found.shortest, found.longest, found.sample_dtype) == (N, 20, 20, np.dtype(dtype).name)
    for first in (0, 77):
        back = read(tmp_path / "a.npy", 64, first)
        np.testing.assert_array_equal(back.samples, values[first:])
        np.testing.assert_array_equal(back.length, 20)


def test_without_timestamps_signals_are_numbered_and_the_unit_says_so(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", SAMPLES)
    back = read(tmp_path / "a.npy", 64, 100)
    np.testing.assert_array_equal(back.timestamp, np.arange(100, N))
    assert index_file(tmp_path / "a.npy").scan.timestamp_unit == "signal number"


@pytest.mark.parametrize("width", [5, 20, 31])
def test_samples_are_cropped_or_padded(tmp_path: Path, width: int) -> None:
    np.save(tmp_path / "a.npy", SAMPLES)
    back = read(tmp_path / "a.npy", width=width)
    np.testing.assert_array_equal(back.samples, SAMPLES[:, np.minimum(np.arange(width), 19)])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (SAMPLES.astype(np.float64), "float64.*astype"),
        (SAMPLES[0], r"shape \(20,\)"),
        (np.asfortranarray(SAMPLES), "Fortran"),
        (SAMPLES[:0], "no signals"),
        (SAMPLES.astype(object), "object"),
    ],
)
def test_what_is_no_table_of_signals_is_refused_with_the_remedy(
    tmp_path: Path, array: np.ndarray, message: str
) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(AcquisitionFileError, match=message):
        index_file(tmp_path / "a.npy")


def test_a_cut_off_npy_gives_its_whole_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", SAMPLES)
    data = (tmp_path / "a.npy").read_bytes()
    for lost in (1, 39, 40, 41, 40 * (N - 1)):
        (tmp_path / "b.npy").write_bytes(data[:-lost])
        found = scan(NumPyArrays, tmp_path / "b.npy")
        assert found.signals == N - -(-lost // 40)
        assert "cut off" in found.damage[0].reason
        np.testing.assert_array_equal(read(tmp_path / "b.npy").samples, SAMPLES[: found.signals])
    for kept in (3, 8, 30, 128, 167):
        (tmp_path / "b.npy").write_bytes(data[:kept])
        with pytest.raises(AcquisitionFileError):
            index_file(tmp_path / "b.npy")


def test_a_cut_off_compressed_npy_gives_its_whole_rows_and_says_what_is_wrong(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, SAMPLES)
    packed = gzip.compress(buffer.getvalue())
    (tmp_path / "a.npy.gz").write_bytes(packed)
    np.testing.assert_array_equal(read(tmp_path / "a.npy.gz", 64, 50).samples, SAMPLES[50:])
    (tmp_path / "b.npy.gz").write_bytes(packed[: len(packed) // 2])
    found = index_file(tmp_path / "b.npy.gz").scan
    assert 100 < found.signals < N
    assert any("gzip data is cut off at byte" in entry.reason for entry in found.damage)
    np.testing.assert_array_equal(read(tmp_path / "b.npy.gz").samples, SAMPLES[: found.signals])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_columns_are_read_side_by_side(tmp_path: Path, save: object) -> None:
    save(tmp_path / "a.npz", samples=SAMPLES, notes=np.array(["text"]), **COLUMNS)  # type: ignore[operator]
    assert recognise(tmp_path / "a.npz") == "numpy"
    assert [column.name for column in index_file(tmp_path / "a.npz").scan.columns] == ["energy", "answer"]
    for first in (0, 130):
        back = read(tmp_path / "a.npz", 64, first)
        np.testing.assert_array_equal(back.samples, SAMPLES[first:])
        for name, values in COLUMNS.items():
            got = back.extra[name] if name in back.extra else getattr(back, name)
            np.testing.assert_array_equal(got, values[first:], err_msg=name)


def test_options_name_the_samples_and_choose_the_columns(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=SAMPLES, **COLUMNS)
    with pytest.raises(AcquisitionFileError, match=r"no array 'samples'.*X"):
        index_file(tmp_path / "a.npz")
    back = read(tmp_path / "a.npz", samples="X", columns=("energy",), timestamp_unit="10 ns")
    assert list(back.extra) == ["energy"]
    np.testing.assert_array_equal(back.samples, SAMPLES)
    with pytest.raises(AcquisitionFileError, match="no array 'energies'"):
        scan(NumPyArrays, tmp_path / "a.npz", samples="X", columns=("energies",))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("timestamp", np.arange(N) - 1),
        ("timestamp", np.arange(N) / 2),
        ("board", np.arange(N) + 65_500),
        ("channel", np.arange(N - 1)),
        ("length", np.zeros(N, np.uint32)),
    ],
)
def test_identity_columns_that_would_change_are_refused(tmp_path: Path, name: str, values: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", samples=SAMPLES, **{name: values})
    with pytest.raises(AcquisitionFileError, match=f"array '{name}'"):
        index_file(tmp_path / "a.npz")


def test_damaged_npz_files_are_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", samples=SAMPLES)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    (tmp_path / "b.npz").write_bytes(data[:-40])
    with pytest.raises(AcquisitionFileError, match="whole"):
        index_file(tmp_path / "b.npz")
    data[len(data) // 2 : len(data) // 2 + 50] = bytes(50)
    (tmp_path / "c.npz").write_bytes(data)
    with pytest.raises(AcquisitionFileError, match="cannot be decompressed"):
        read(tmp_path / "c.npz")


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_groups_of_both_versions_are_read(tmp_path: Path, version: int) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    for name, values in {"samples": SAMPLES, **COLUMNS}.items():
        group.create_array(name, data=values, chunks=(70, *values.shape[1:]))
    assert recognise(tmp_path / "a.zarr") == "zarr"
    for first in (0, 130):
        back = read(tmp_path / "a.zarr", 64, first)
        np.testing.assert_array_equal(back.samples, SAMPLES[first:])
        for name, values in COLUMNS.items():
            got = back.extra[name] if name in back.extra else getattr(back, name)
            np.testing.assert_array_equal(got, values[first:], err_msg=name)


def test_a_bare_zarr_array_is_read_slab_by_slab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psdbatch.acquisition.zarr_arrays.SLAB_BYTES", 5000)
    zarr.create_array(tmp_path / "a.zarr", data=SAMPLES, chunks=(70, 20))
    back = read(tmp_path / "a.zarr", 64)
    np.testing.assert_array_equal(back.samples, SAMPLES)
    np.testing.assert_array_equal(back.timestamp, np.arange(N))


def test_a_damaged_zarr_chunk_costs_its_signals_alone(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=SAMPLES, chunks=(70, 20))
    chunk = tmp_path / "a.zarr" / "c" / "2" / "0"
    chunk.write_bytes(b"no zstd at all")
    index = index_file(tmp_path / "a.zarr")
    out = Signals.allocate(N, 20)
    with open_signals(index) as reader:
        assert reader.read(out) == N
        assert [(entry.first, entry.signals) for entry in reader.damage] == [(140, 70)]
    assert (out.flags[140:210] == Flag.DAMAGED).all()
    keep = np.r_[0:140, 210:N]
    assert not out.flags[keep].any()
    np.testing.assert_array_equal(out.samples[keep], SAMPLES[keep])


@pytest.mark.parametrize(("kind", "name"), [(NumPyArrays, "a.npz"), (ZarrArrays, "a.zarr")])
def test_what_is_written_comes_back_with_units(tmp_path: Path, kind: type[AcquisitionFormat], name: str) -> None:
    columns = (
        scalar("energy", "float64", "energy", "keV"),
        Column("answer", "float32", "answer", "", (3,), ("class",)),
    )
    signals = Signals.allocate(N, 20, "int16", columns)
    signals.samples[:] = SAMPLES
    signals.length[:] = np.arange(N) % 20 + 1
    signals.flags[7] = Flag.PILE_UP
    for column in ("timestamp", "board", "channel"):
        getattr(signals, column)[:] = COLUMNS[column]
    for column in ("energy", "answer"):
        signals.extra[column][:] = COLUMNS[column]
    with kind.writer(tmp_path / name, WriterSettings(20, "int16", "8 ns", 2.0, columns)) as writer:
        for i in range(0, N, 130):
            writer.write(signals[i : i + 130])
    found = index_file(tmp_path / name).scan
    assert (found.timestamp_unit, found.sampling_period_ns, found.shortest, found.longest) == ("8 ns", 2.0, 1, 20)
    assert sorted(found.columns, key=lambda column: column.name, reverse=True) == list(columns)
    back = read(tmp_path / name)
    for column in ("samples", "length", "timestamp", "board", "channel", "flags"):
        np.testing.assert_array_equal(getattr(back, column), getattr(signals, column), err_msg=column)
    for column, values in signals.extra.items():
        np.testing.assert_array_equal(back.extra[column], values)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_npy_file_cannot_hold_all_columns_and_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"\.npz"):
        NumPyArrays.writer(tmp_path / "a.npy", WriterSettings(20, "int16", "8 ns"))
