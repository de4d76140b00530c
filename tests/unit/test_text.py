"""Text files of signals: what is read, what is recognised, what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psdbatch.acquisition.convert import convert
from psdbatch.acquisition.index import index_file, open_signals
from psdbatch.acquisition.registry import recognise
from psdbatch.acquisition.signals import Signals
from psdbatch.columns import Flag
from psdbatch.errors import AcquisitionFileError, UnknownFormatError

Array = np.ndarray[Any, Any]


def read(path: Path, **options: Any) -> Signals:
    """All signals of a text file."""
    index = index_file(path, "text", options)
    out = Signals.allocate(index.scan.signals, index.scan.longest, index.scan.sample_dtype, index.scan.columns)
    with open_signals(index) as reader:
        assert reader.read(out) == index.scan.signals
    return out


def matrix(n: int = 50, samples: int = 20, seed: int = 1) -> Array:
    """Whole numbers as an ADC gives them."""
    return np.random.default_rng(seed).integers(0, 4096, (n, samples))


@pytest.mark.parametrize("delimiter", [" ", "\t", ",", ";", "   "])
@pytest.mark.parametrize("number", ["%d", "%.18e"])
def test_a_matrix_of_numbers_is_read_as_it_is(tmp_path: Path, delimiter: str, number: str) -> None:
    path, values = tmp_path / "neutron_train.txt", matrix()
    np.savetxt(path, values, fmt=number, delimiter=delimiter)
    assert recognise(path) == "text"
    found = read(path)
    assert found.samples.dtype == np.int16
    np.testing.assert_array_equal(found.samples, values)
    np.testing.assert_array_equal(found.timestamp, np.arange(50))


def test_a_table_with_a_header_keeps_its_other_columns(tmp_path: Path) -> None:
    """The layout of the set PSDwithML: samples, then number, height, ratio and class."""
    path, values = tmp_path / "neutrons.csv", matrix(30, 20) / 1000
    names = [*map(str, range(20)), "event index", "Pulse Height", "tail/total", "label"]
    others = np.stack([np.arange(30), values.max(axis=1), np.full(30, 0.2), np.ones(30)], axis=1)
    with path.open("w") as file:
        file.write(",".join(names) + "\r\n")
        for row in np.hstack([values, others]):
            file.write(",".join(f"{value:.6g}" for value in row) + "\r\n")
    assert recognise(path) == "text"
    found = read(path, samples=20)
    assert found.samples.dtype == np.float32
    np.testing.assert_allclose(found.samples, values, rtol=1e-6)
    assert set(found.extra) == {"event_index", "pulse_height", "tail_total", "label"}
    assert (found.extra["label"] == 1).all()
    np.testing.assert_array_equal(found.extra["event_index"], np.arange(30))
    scaled = read(path, samples=20, scale=1000.0, dtype="int16", sampling_period="2 ns")
    np.testing.assert_array_equal(scaled.samples, np.rint(values * 1000))
    named = read(path, samples=20, columns=["timestamp", "height", "ratio", "label"])
    np.testing.assert_array_equal(named.timestamp, np.arange(30))
    assert set(named.extra) == {"height", "ratio", "label"}


def test_numbers_before_the_samples_are_columns_too(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    np.savetxt(path, np.hstack([np.arange(5)[:, None] + 7, matrix(5)]), fmt="%d")
    found = read(path, first=1, columns=["channel"])
    assert found.samples.shape == (5, 20)
    np.testing.assert_array_equal(found.channel, np.arange(5) + 7)


def test_a_damaged_line_keeps_its_place(tmp_path: Path) -> None:
    path, values = tmp_path / "a.txt", matrix(6)
    text = [" ".join(map(str, row)) for row in values]
    text[2] = text[2][:30]
    text[4] = text[4].replace(str(values[4, 3]), "nan")
    path.write_text("\n".join(text))  # and no end after the last one
    index = index_file(path, "text", {})
    assert [(entry.first, entry.signals) for entry in index.scan.damage] == [(2, 1), (4, 1)]
    found = read(path)
    assert ((found.flags & Flag.DAMAGED) != 0).tolist() == [False, False, True, False, True, False]
    assert (found.samples[2] == 0).all()
    np.testing.assert_array_equal(found.samples[[0, 1, 3, 5]], values[[0, 1, 3, 5]])


def test_reading_may_start_anywhere_and_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psdbatch.acquisition.text_lines.READ", 700)
    monkeypatch.setattr("psdbatch.acquisition.text.CUT_EVERY", 10)
    path, values = tmp_path / "a.txt.gz", matrix(200)
    with gzip.open(path, "wt") as file:
        np.savetxt(file, values, fmt="%d")
    index = index_file(path, "text", {})
    assert len(index.scan.cuts) > 5
    for first in (0, 1, 57, 199):
        with open_signals(index, first) as reader:
            out = Signals.allocate(200, 20, "int16")
            total = reader.read(out[:30])
            assert reader.position == first + total
            reader.skip(3)
            total += reader.read(out[total:200])
        expected = np.concatenate([values[first : first + 30], values[first + 33 :]])
        np.testing.assert_array_equal(out.samples[:total], expected)


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(0, 100, "int16"), (0, 60_000, "uint16"), (-5, 60_000, "int32"), (-1e-3, 0.5, "float32")],
)
def test_samples_get_the_narrowest_dtype_that_holds_them(tmp_path: Path, low: float, high: float, dtype: str) -> None:
    path, values = tmp_path / "a.txt", np.full((3, 20), low)
    values[1, 4] = high
    np.savetxt(path, values, fmt="%.6g")
    assert index_file(path, "text", {}).scan.sample_dtype == dtype


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    np.savetxt(path, matrix() * 100, fmt="%d")
    with pytest.raises(AcquisitionFileError, match="do not fit into int16; choose another 'dtype' or 'scale'"):
        index_file(path, "text", {"dtype": "int16"})
    with pytest.raises(AcquisitionFileError, match="lines have 20 numbers, too few for 30 samples"):
        index_file(path, "text", {"samples": 30})
    with pytest.raises(AcquisitionFileError, match="4 numbers besides the samples, the option 'columns' names 1"):
        index_file(path, "text", {"samples": 16, "columns": ["label"]})
    path.write_text("a,b,c\n")
    with pytest.raises(AcquisitionFileError, match="a header line and no signal"):
        index_file(path, "text", {})


def test_prose_and_short_lines_are_not_taken_for_signals(tmp_path: Path) -> None:
    path = tmp_path / "readme.txt"
    for content in ("Each row is a datapoint.\nAnd so on.\n", "1 2 3\n4 5 6\n", "x" * 70_000):
        path.write_text(content)
        with pytest.raises(UnknownFormatError):
            recognise(path)


def test_a_text_file_converts_to_arrays(tmp_path: Path) -> None:
    path, values = tmp_path / "a.csv", matrix()
    np.savetxt(path, values, fmt="%d", delimiter=",")
    convert(path, tmp_path / "a.npz", "numpy")
    with np.load(tmp_path / "a.npz") as arrays:
        np.testing.assert_array_equal(arrays["samples"], values)
