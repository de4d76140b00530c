"""Signals in Zarr stores (version 2 or 3): a group of columns, or one array of samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import Field

from psdbatch.acquisition.array_columns import (
    OWN_DTYPES,
    ArrayOptions,
    StoredArray,
    assign,
    fill_absent,
    scan_arrays,
)
from psdbatch.acquisition.bytesource import ByteSource
from psdbatch.acquisition.format import (
    AcquisitionFormat,
    Damage,
    FormatOptions,
    Scan,
    SignalReader,
    SignalWriter,
    WriterSettings,
)
from psdbatch.acquisition.signals import Signals
from psdbatch.columns import Flag
from psdbatch.config import validated
from psdbatch.errors import AcquisitionFileError

Array = NDArray[Any]

SLAB_BYTES = 1 << 23
"""Samples read at a time, rounded up to whole chunks: enough to hide the cost of a Zarr call."""

MARKS = ("zarr.json", ".zgroup", ".zarray")
DESCRIPTION = "psdbatch"
"""Attribute of the group in which the writer keeps units and meanings."""


class ZarrWriterOptions(FormatOptions):
    """How signals are written to Zarr."""

    chunk: int = Field(65_536, gt=0, description="signals in a chunk")


class ZarrArrays(AcquisitionFormat):
    """A directory with a Zarr group or array.

    Chunks absent from a store read as its fill value: that is Zarr's rule, and no damage that could be told.
    """

    name: ClassVar[str] = "zarr"
    stores_flags: ClassVar[bool] = True
    Options: ClassVar[type[FormatOptions]] = ArrayOptions

    @classmethod
    def recognises(cls, head: bytes, path: Path) -> bool:
        return path.is_dir() and any((path / mark).is_file() for mark in MARKS)

    def scan(self, source: ByteSource) -> Scan:
        """Metadata only, and the values of identity columns whose dtype could hold what psdbatch cannot."""
        arrays, description = open_zarr(source.path, self.options.samples)
        stored = {
            name: StoredArray(np.dtype(array.dtype), array.shape, lambda array=array: _limits(source.path, array))  # type: ignore[misc]
            for name, array in arrays.items()
        }
        return scan_arrays(source.path, stored, description, self.options)

    def reader(self, source: ByteSource, scan: Scan, first: int = 0) -> SignalReader:
        return ZarrReader(source.path, scan, first, self.options.samples)

    @classmethod
    def writer_options(cls) -> type[FormatOptions]:
        return ZarrWriterOptions

    @classmethod
    def writer(cls, path: Path, settings: WriterSettings) -> SignalWriter:
        options = validated(ZarrWriterOptions, settings.options, f"writer options of format '{cls.name}'")
        return ZarrWriter(path, settings, options.chunk)


def open_zarr(path: Path, samples: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays of the store by name (``samples`` for a bare array), and the writer's description of them.

    Raises
    ------
    AcquisitionFileError
        It is no Zarr store, or its metadata is damaged.
    """
    try:
        node: Any = zarr.open(path, mode="r")
        if isinstance(node, zarr.Array):
            return {samples: node}, {}
        return dict(sorted(node.arrays())), dict(node.attrs.get(DESCRIPTION, {}))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AcquisitionFileError(f"{path}: cannot be opened as Zarr: {error}; restore its metadata") from error


class ZarrReader(SignalReader):
    """Reads slabs of whole chunks and hands out parts of them."""

    def __init__(self, path: Path, scan: Scan, first: int, samples: str) -> None:
        super().__init__(first)
        arrays, _ = open_zarr(path, samples)
        arrays["samples"] = arrays.pop(samples)
        wanted = {"samples", *OWN_DTYPES, *(column.name for column in scan.columns)}
        self._arrays = {name: array for name, array in arrays.items() if name in wanted}
        self._path, self._signals, self._longest = path, scan.signals, scan.longest
        table = self._arrays["samples"]
        if table.shape[0] < scan.signals:
            raise AcquisitionFileError(
                f"{path}: has fewer signals than when it was indexed: run 'psdbatch index' again"
            )
        self._chunk = int((table.shards or table.chunks)[0])
        row = table.shape[1] * np.dtype(table.dtype).itemsize
        self._slab = self._chunk * max(1, -(-SLAB_BYTES // (self._chunk * row)))
        self._begin = self._end = 0  # signals in memory
        self._columns: dict[str, Array] = {}
        self._broken: Array = np.empty(0, bool)

    def read(self, out: Signals) -> int:
        wanted = min(len(out), self._signals - self.position)
        done = 0
        while done < wanted:
            if not self._begin <= self.position < self._end:
                self._load(set(out.extra))
            here = slice(
                self.position - self._begin, min(self._end - self._begin, self.position - self._begin + wanted - done)
            )
            part = out[done : done + here.stop - here.start]
            self._deliver(part, here)
            self.position += len(part)
            done += len(part)
        return done

    def skip(self, count: int) -> None:
        """Pass over ``count`` signals."""
        self.position += min(count, self._signals - self.position)

    def close(self) -> None:
        self._columns = {}
        self._begin = self._end = 0

    def _deliver(self, part: Signals, here: slice) -> None:
        part.length[:] = self._longest
        fill_absent(part, set(self._columns), self.position)
        for name, values in self._columns.items():
            target = getattr(part, name) if name == "samples" or name in OWN_DTYPES else part.extra.get(name)
            if target is not None:
                assign(values[here], target)
        broken = self._broken[here]
        if broken.any():
            part.samples[broken] = 0
            part.length[broken] = 0
            part.flags[broken] = Flag.DAMAGED

    def _load(self, extra: set[str]) -> None:
        self._begin = self.position // self._slab * self._slab
        self._end = min(self._begin + self._slab, self._signals)
        self._broken = np.zeros(self._end - self._begin, bool)
        names = [name for name in self._arrays if name == "samples" or name in OWN_DTYPES or name in extra]
        self._columns = {name: self._rows(name) for name in names}

    def _rows(self, name: str) -> Array:
        """Rows of the slab; chunks that cannot be decoded are marked and said."""
        array = self._arrays[name]
        try:
            return np.asarray(array[self._begin : self._end])
        except Exception:  # codecs raise what they like; one chunk after the other shows which are damaged
            values = np.zeros((self._end - self._begin, *array.shape[1:]), array.dtype)
        step = int((array.shards or array.chunks)[0])
        first = self._begin // step * step
        for begin in range(first, self._end, step):
            rows = slice(max(begin, self._begin), min(begin + step, self._end))
            here = slice(rows.start - self._begin, rows.stop - self._begin)
            try:
                values[here] = array[rows]
            except OSError as error:
                if error.errno:
                    raise
                self._mark(name, rows, here, error)
            except Exception as error:
                self._mark(name, rows, here, error)
        return values

    def _mark(self, name: str, rows: slice, here: slice, error: Exception) -> None:
        self._broken[here] = True
        reason = f"a chunk of array '{name}' cannot be decoded: {error}"
        self.damage.append(Damage(0, 0, rows.start, rows.stop - rows.start, reason))


def _limits(path: Path, array: Any) -> tuple[int, int]:
    low, high = [], []
    try:
        for begin in range(0, array.shape[0], SLAB_BYTES):
            values = array[begin : begin + SLAB_BYTES]
            low.append(int(values.min()))
            high.append(int(values.max()))
    except OSError:
        raise
    except Exception as error:  # codecs raise what they like
        raise AcquisitionFileError(f"{path}: array '{array.name}' cannot be decoded: {error}; restore it") from error
    return min(low), max(high)


class ZarrWriter(SignalWriter):
    """A new Zarr (version 3) group; whole chunks are written as soon as they are full."""

    def __init__(self, path: Path, settings: WriterSettings, chunk: int) -> None:
        self._buffer = Signals.allocate(chunk, settings.samples, settings.sample_dtype, settings.columns)
        self._buffered = self._written = 0
        group = zarr.open_group(path, mode="w", zarr_format=3)
        group.attrs[DESCRIPTION] = {
            "timestamp_unit": settings.timestamp_unit,
            "sampling_period_ns": settings.sampling_period_ns,
            "columns": [column.to_json() for column in settings.columns],
        }
        self._arrays = {
            name: group.create_array(
                name,
                shape=(0, *values.shape[1:]),
                chunks=values.shape,
                dtype=values.dtype,
                dimension_names=("signal", *(f"{name}_{i}" for i in range(values.ndim - 1))),
            )
            for name, values in _columns(self._buffer).items()
        }

    def write(self, signals: Signals) -> None:
        done = 0
        while done < len(signals):
            count = min(len(signals) - done, len(self._buffer) - self._buffered)
            target = _columns(self._buffer[self._buffered : self._buffered + count])
            for name, values in _columns(signals[done : done + count]).items():
                if name in target:
                    assign(values, target[name])
            self._buffered += count
            done += count
            if self._buffered == len(self._buffer):
                self._flush()

    def close(self) -> None:
        self._flush()

    def _flush(self) -> None:
        end = self._written + self._buffered
        if end > self._written:
            for name, values in _columns(self._buffer[: self._buffered]).items():
                array = self._arrays[name]
                array.resize((end, *values.shape[1:]))
                array[self._written : end] = values
        self._written, self._buffered = end, 0


def _columns(signals: Signals) -> dict[str, Array]:
    return {name: getattr(signals, name) for name in ("samples", *OWN_DTYPES)} | signals.extra
