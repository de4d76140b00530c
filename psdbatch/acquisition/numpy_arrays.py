"""Signals in NumPy files: ``.npy`` (the samples alone) and ``.npz`` (samples and further columns).

Layouts: NEP 1 for .npy, the ZIP format for .npz.  Arrays are streamed; no file is ever loaded as a whole.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from psdbatch.acquisition.array_columns import (
    OWN_DTYPES,
    ArrayOptions,
    StoredArray,
    assign,
    fill_absent,
    scan_arrays,
)
from psdbatch.acquisition.bytesource import ByteSource, ByteStream
from psdbatch.acquisition.format import (
    AcquisitionFormat,
    Damage,
    FormatOptions,
    Scan,
    SignalReader,
    SignalWriter,
    WriterSettings,
)
from psdbatch.acquisition.npy_layout import (
    CHUNK,
    DESCRIPTION,
    NPY_MAGIC,
    ZIP_MAGIC,
    NpyArray,
    damaged,
    open_array,
    open_arrays,
)
from psdbatch.acquisition.signals import Signals
from psdbatch.config import validated
from psdbatch.errors import AcquisitionFileError, ConfigurationError

Array = NDArray[Any]


class NumPyArrays(AcquisitionFormat):
    """``.npy`` and ``.npz`` files; a .npy file may be compressed as a whole, a .npz file in its members."""

    name: ClassVar[str] = "numpy"
    stores_flags: ClassVar[bool] = True
    Options: ClassVar[type[FormatOptions]] = ArrayOptions

    @classmethod
    def recognises(cls, head: bytes, path: Path) -> bool:
        if head.startswith(ZIP_MAGIC) and len(head) >= 30:
            name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
            return name.endswith(b".npy") or name == DESCRIPTION.encode()
        return head.startswith(NPY_MAGIC)

    def scan(self, source: ByteSource) -> Scan:
        """Headers of the arrays; values only of identity columns whose dtype could hold what psdbatch cannot."""
        arrays, description = open_arrays(source, self.options.samples)
        damage: tuple[Damage, ...] = ()
        samples = arrays.get(self.options.samples)
        if samples and samples.member is None:
            arrays, damage = _whole_rows(source, self.options.samples, samples)
        stored = {
            name: StoredArray(array.dtype, array.shape, lambda array=array: _limits(source, array))  # type: ignore[misc]
            for name, array in arrays.items()
        }
        offset = samples.offset if samples and samples.member is None else 0
        return scan_arrays(source.path, stored, description, self.options, offset, damage)

    def reader(self, source: ByteSource, scan: Scan, first: int = 0) -> SignalReader:
        return NpyReader(source, scan, first, self.options.samples)

    @classmethod
    def writer_options(cls) -> type[FormatOptions]:
        return FormatOptions

    @classmethod
    def writer(cls, path: Path, settings: WriterSettings) -> SignalWriter:
        validated(FormatOptions, settings.options, f"writer options of format '{cls.name}'")
        if path.suffix != ".npz":
            raise ConfigurationError(f"{path}: signals have several columns; name the file .npz")
        return NpzWriter(path, settings)


class NpyReader(SignalReader):
    """Streams every column of the file side by side, straight into the caller's arrays where the dtypes agree."""

    def __init__(self, source: ByteSource, scan: Scan, first: int, samples: str) -> None:
        super().__init__(first)
        arrays, _ = open_arrays(source, samples)
        self._path, self._source, self._signals, self._longest = source.path, source, scan.signals, scan.longest
        arrays["samples"] = arrays.pop(samples)
        extra = {column.name for column in scan.columns}
        self._arrays = {name: array for name, array in arrays.items() if name in {"samples", *OWN_DTYPES, *extra}}
        self._streams: dict[str, tuple[ByteStream, int]] = {}  # and the signal they stand at

    def read(self, out: Signals) -> int:
        part = out[: min(len(out), self._signals - self.position)]
        if len(part):
            part.length[:] = self._longest
            fill_absent(part, set(self._arrays), self.position)
            for name in self._arrays:
                target = part.extra.get(name) if name not in ("samples", *OWN_DTYPES) else getattr(part, name)
                if target is not None:
                    self._fill(name, target)
        self.position += len(part)
        return len(part)

    def skip(self, count: int) -> None:
        """Pass over ``count`` signals."""
        self.position += min(count, self._signals - self.position)

    def close(self) -> None:
        for stream, _ in self._streams.values():
            stream.close()

    def _fill(self, name: str, out: Array) -> None:
        array = self._arrays[name]
        stream = self._stream_at(name)
        same = array.dtype == out.dtype and array.shape[1:] == out.shape[1:] and out.flags.c_contiguous
        step = len(out) if same else max(1, CHUNK // array.row_bytes)
        for begin in range(0, len(out), step):
            target = out[begin : begin + step]
            values = target if same else np.empty((len(target), *array.shape[1:]), array.dtype)
            if stream.readinto(values.reshape(-1).view(np.uint8).data) != values.nbytes:
                raise AcquisitionFileError(
                    f"{self._path}: array '{name}' ends before signal {self.position + len(out):,} of {self._signals:,}; the file is damaged or changed: run 'psdbatch index' again"
                )
            if not same:
                assign(values, target)
        self._streams[name] = stream, self.position + len(out)

    def _stream_at(self, name: str) -> ByteStream:
        array = self._arrays[name]
        stream, at = self._streams.get(name) or (open_array(self._source, array), 0)
        if at > self.position:
            raise AssertionError(f"column {name} was read ahead")
        stream.skip((self.position - at) * array.row_bytes)
        return stream


def _whole_rows(source: ByteSource, name: str, array: NpyArray) -> tuple[dict[str, NpyArray], tuple[Damage, ...]]:
    """The rows of a .npy file that are there, and what is wrong with its end."""
    if len(array.shape) != 2 or not array.row_bytes:
        return {name: array}, ()
    promised = array.shape[0] * array.row_bytes
    with source.open(array.offset) as stream:
        there = stream.skip(promised)
        rest = stream.skip(1 << 62) if there == promised else 0
    rows = there // array.row_bytes
    end = array.offset + rows * array.row_bytes
    if not rows and array.shape[0]:
        raise AcquisitionFileError(f"{source.path}: is cut off before the end of its first signal; restore it")
    if there < promised:
        reason = f"the file is cut off: {rows:,} of {array.shape[0]:,} signals are there"
        cut = Damage(end, there - rows * array.row_bytes, rows, 0, reason)
        return {name: NpyArray(None, array.offset, array.dtype, (rows, array.shape[1]))}, (cut,)
    if rest:
        return {name: array}, (Damage(end, rest, rows, 0, "bytes behind the array are not read"),)
    return {name: array}, ()


def _limits(source: ByteSource, array: NpyArray) -> tuple[int, int]:
    rows = max(1, CHUNK // array.row_bytes)
    low, high = 0, 0
    with open_array(source, array) as stream:
        for begin in range(0, array.shape[0], rows):
            values = np.empty(min(rows, array.shape[0] - begin), array.dtype)
            if stream.readinto(values.view(np.uint8).data) != values.nbytes:
                raise damaged(source.path, "an array is cut off")
            low = int(values.min()) if not begin else min(low, int(values.min()))
            high = max(high, int(values.max()))
    return low, high


class NpzWriter(SignalWriter):
    """A new .npz file of uncompressed members; columns wait in files beside it until their length is known."""

    def __init__(self, path: Path, settings: WriterSettings) -> None:
        self._path, self._settings = path, settings
        self._folder = path.with_name(f"{path.name}.partial")
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._written = 0
        dtypes = {"samples": settings.sample_dtype, **OWN_DTYPES}
        dtypes |= {column.name: column.dtype for column in settings.columns}
        shapes: dict[str, tuple[int, ...]] = {"samples": (settings.samples,)}
        shapes |= {column.name: column.shape for column in settings.columns}
        self._dtypes = {name: np.dtype(dtype).newbyteorder("<") for name, dtype in dtypes.items()}
        self._shapes = {name: shapes.get(name, ()) for name in dtypes}
        self._files: dict[str, IO[bytes]] = {name: (self._folder / str(i)).open("wb") for i, name in enumerate(dtypes)}

    def write(self, signals: Signals) -> None:
        for name, file in self._files.items():
            own = name == "samples" or name in OWN_DTYPES
            values = getattr(signals, name) if own else signals.extra[name]
            out = np.empty((len(signals), *self._shapes[name]), self._dtypes[name])
            assign(values, out)
            file.write(out.data)
        self._written += len(signals)

    def close(self) -> None:
        if not self._folder.exists():
            return
        for file in self._files.values():
            file.close()
        partial = self._folder / ".npz"
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(DESCRIPTION, json.dumps(self._description()))
            for i, name in enumerate(self._files):
                with (
                    archive.open(f"{name}.npy", "w", force_zip64=True) as member,
                    (self._folder / str(i)).open("rb") as file,
                ):
                    descr = np.lib.format.dtype_to_descr(self._dtypes[name])
                    shape = (self._written, *self._shapes[name])
                    head = {"descr": descr, "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_2_0(member, head)
                    shutil.copyfileobj(file, member, CHUNK)
        partial.replace(self._path)
        shutil.rmtree(self._folder)

    def __exit__(self, *exc: object) -> None:
        if exc[0] is None:
            self.close()
            return
        for file in self._files.values():
            file.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _description(self) -> dict[str, Any]:
        return {
            "timestamp_unit": self._settings.timestamp_unit,
            "sampling_period_ns": self._settings.sampling_period_ns,
            "columns": [column.to_json() for column in self._settings.columns],
        }
