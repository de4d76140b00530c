"""What NumPy and Zarr arrays must be to count as signals, and which array is which column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from psdbatch.acquisition.format import Damage, FormatOptions, Scan
from psdbatch.acquisition.packet_codec import fit
from psdbatch.acquisition.signals import Signals
from psdbatch.columns import Column
from psdbatch.errors import AcquisitionFileError

Array = NDArray[Any]

SAMPLE_DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32")

OWN_DTYPES = {"length": "uint32", "timestamp": "uint64", "board": "uint16", "channel": "uint16", "flags": "uint16"}
"""The columns that every signal has, beside its samples."""

NUMBERED = "signal number"
"""Unit of ``timestamp`` where the file has none: the signals are counted from 0."""


class ArrayOptions(FormatOptions):
    """Options of the formats ``numpy`` and ``zarr``."""

    samples: str = Field("samples", description="name of the array that holds the samples, one signal per row")
    columns: tuple[str, ...] | None = Field(
        None, description="arrays to keep as extra columns; default: all with one row per signal"
    )
    timestamp_unit: str | None = Field(
        None, description="unit of 'timestamp', for example '1 ns'; default: what the file says"
    )


@dataclass(frozen=True)
class StoredArray:
    """dtype and shape of an array, and how to find its smallest and largest value."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    limits: Callable[[], tuple[int, int]]


def scan_arrays(
    path: Path,
    arrays: Mapping[str, StoredArray],
    description: Mapping[str, Any],
    options: ArrayOptions,
    offset: int = 0,
    damage: tuple[Damage, ...] = (),
) -> Scan:
    """Scan of a file that holds ``arrays``; ``description`` is what a psdbatch writer left beside them.

    Raises
    ------
    AcquisitionFileError
        The arrays are not signals: wrong dimensions, dtype, or values that a column cannot hold.
    """
    if options.samples not in arrays:
        raise AcquisitionFileError(
            f"{path}: has no array '{options.samples}' (it has {', '.join(sorted(arrays)) or 'none'}); name the one with the samples with the option 'samples'"
        )
    samples = arrays[options.samples]
    check_samples(path, options.samples, samples.dtype, samples.shape)
    signals, longest = samples.shape
    shortest = longest
    for name, dtype in OWN_DTYPES.items():
        if name in arrays:
            low, high = _check_own(path, name, arrays[name], dtype, signals)
            if name == "length":
                shortest, longest = low, min(high, longest)
    unit = description.get("timestamp_unit", "unknown") if "timestamp" in arrays else NUMBERED
    return Scan(
        signals=signals,
        sample_dtype=samples.dtype.name,
        shortest=shortest,
        longest=longest,
        timestamp_unit=options.timestamp_unit or unit,
        sampling_period_ns=description.get("sampling_period_ns"),
        columns=_extra_columns(path, arrays, description, options, signals),
        cuts=((0, offset),),
        damage=damage,
    )


def check_samples(path: Path, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Refuse what is not a table of signals, saying how to make it one."""
    if len(shape) != 2 or not shape[1]:
        raise AcquisitionFileError(
            f"{path}: array '{name}' has shape {shape}; it must be (signals, samples): reshape it before saving"
        )
    if not shape[0]:
        raise AcquisitionFileError(f"{path}: array '{name}' has no signals; remove the file from the input")
    if dtype.name not in SAMPLE_DTYPES:
        raise AcquisitionFileError(
            f"{path}: array '{name}' is {dtype}; samples must be one of {', '.join(SAMPLE_DTYPES)}: save it with .astype(...)"
        )


def assign(values: Array, out: Array) -> None:
    """Copy rows of a column into ``out``; rows of samples (two dimensions on both sides) are cropped or padded."""
    if values.ndim == 2 and values.shape[1:] != out.shape[1:]:
        fit(values, out)
    else:
        out[:] = values


def fill_absent(out: Signals, present: set[str], first: int) -> None:
    """Columns that the file does not hold: ``timestamp`` counts the signals from ``first``, the others are 0."""
    if "timestamp" not in present:
        out.timestamp[:] = np.arange(first, first + len(out), dtype=np.uint64)
    for name in ("board", "channel", "flags"):
        if name not in present:
            getattr(out, name)[:] = 0
    for name, values in out.extra.items():
        if name not in present:
            values[:] = 0


def _check_own(path: Path, name: str, array: StoredArray, dtype: str, signals: int) -> tuple[int, int]:
    if array.shape != (signals,):
        raise AcquisitionFileError(f"{path}: array '{name}' has shape {array.shape}, expected ({signals},)")
    if array.dtype.kind not in "iu":
        raise AcquisitionFileError(
            f"{path}: array '{name}' is {array.dtype}; it must hold integers (nothing is rounded)"
        )
    largest = int(np.iinfo(dtype).max)
    if name != "length" and np.can_cast(array.dtype, dtype, "safe"):
        return 0, largest
    low, high = array.limits()
    if low < (name == "length") or high > largest:
        raise AcquisitionFileError(
            f"{path}: array '{name}' has values from {low} to {high}; they must fit into {dtype}"
        )
    return low, high


def _extra_columns(
    path: Path,
    arrays: Mapping[str, StoredArray],
    description: Mapping[str, Any],
    options: ArrayOptions,
    signals: int,
) -> tuple[Column, ...]:
    missing = set(options.columns or ()) - set(arrays)
    if missing:
        raise AcquisitionFileError(
            f"{path}: has no array {', '.join(map(repr, sorted(missing)))}; see the option 'columns'"
        )
    known = {record["name"]: Column.from_json(record) for record in description.get("columns", ())}
    found = []
    for name, array in arrays.items():
        fits = array.shape[:1] == (signals,) and array.dtype.kind in "biuf"
        if name == options.samples or name in OWN_DTYPES or name not in (options.columns or arrays):
            continue
        if options.columns and not fits:
            raise AcquisitionFileError(
                f"{path}: array '{name}' ({array.dtype}, {array.shape}) has not one number or more per signal"
            )
        if fits:
            shape = array.shape[1:]
            dimensions = tuple(f"{name}_{i}" for i in range(len(shape)))
            own = Column(name, array.dtype.name, f"array '{name}' of the acquisition file", "", shape, dimensions)
            found.append(known.get(name, own))
    return tuple(found)
