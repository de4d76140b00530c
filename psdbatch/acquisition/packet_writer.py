"""Writing .psdz files: whole packets only, so that whatever is on disk when the writer dies can be read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray
from pydantic import Field

from psdbatch import __version__
from psdbatch.acquisition.format import FormatOptions, SignalWriter, WriterSettings
from psdbatch.acquisition.packet_codec import best_encoding, encode, fit
from psdbatch.acquisition.packet_layout import FileHeader, PacketHeader, checksum, little_endian
from psdbatch.acquisition.signals import Signals
from psdbatch.columns import FLAGS, IDENTITY, Column, Flag
from psdbatch.errors import ConfigurationError

Array = NDArray[Any]

SAMPLE_BYTES = 1 << 19
"""Bytes of samples in a packet, before compression, where the user does not say: measured in docs/formats/psdz.md."""

LENGTH = Column("length", "uint32", "recorded samples of the signal; those behind repeat the last one", "samples")


class PacketOptions(FormatOptions):
    """How a .psdz file is written."""

    packet: int | None = Field(None, gt=0, le=1 << 24, description="signals in a packet; default: 512 KiB of samples")
    level: int = Field(1, ge=-7, le=19, description="zstd level")
    sync: bool = Field(False, description="write every packet through to the disk before the next one (fsync)")


class PacketWriter(SignalWriter):
    """A new .psdz file; it has its final name from the start, because every prefix of it can be read."""

    def __init__(self, path: Path, settings: WriterSettings, options: PacketOptions) -> None:
        dtype = np.dtype(settings.sample_dtype)
        if dtype.kind not in "iuf" or settings.samples < 1:
            raise ConfigurationError(
                f"{path}: packets hold signals of one or more samples, integers or floats, not {settings.samples} of {dtype}"
            )
        samples = Column("samples", dtype.name, "ADC values as recorded", "ADC units", (settings.samples,), ("sample",))
        columns = (samples, LENGTH, *IDENTITY, FLAGS, *settings.columns)
        encodings = tuple(best_encoding(np.dtype(column.dtype)) for column in columns)
        self._header = FileHeader(
            columns, encodings, settings.timestamp_unit, settings.sampling_period_ns, f"psdbatch {__version__}"
        )
        self._options = options
        per_packet = options.packet or max(1, SAMPLE_BYTES // (settings.samples * dtype.itemsize))
        self._buffer = Signals.allocate(per_packet, settings.samples, dtype, settings.columns)
        self._buffered = self._written = 0
        self._compressor = zstandard.ZstdCompressor(level=options.level)
        self._file = path.open("wb", buffering=0)
        self._append(self._header.to_bytes())

    def write(self, signals: Signals) -> None:
        """Append all of ``signals``; what does not fill a packet waits for the next call or for :meth:`close`."""
        done = 0
        while done < len(signals):
            count = min(len(signals) - done, len(self._buffer) - self._buffered)
            self._fill(self._buffer[self._buffered : self._buffered + count], signals[done : done + count])
            self._buffered += count
            done += count
            if self._buffered == len(self._buffer):
                self.flush()

    def flush(self) -> None:
        """Write what is buffered as a packet of its own."""
        if self._buffered:
            self._write_packet(self._buffer[: self._buffered])
            self._written += self._buffered
            self._buffered = 0

    def close(self) -> None:
        if self._file.closed:
            return
        try:
            self.flush()
            empty = tuple((0, 0) for _ in self._header.columns)
            self._append(PacketHeader(0, 0, self._written, 0, 0, 0, checksum(b""), empty).to_bytes())
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def __exit__(self, *exc: object) -> None:
        if exc[0] is None:
            self.close()
        else:
            self._file.close()  # without the end packet: readers see that the writer did not finish

    def _fill(self, part: Signals, signals: Signals) -> None:
        fit(signals.samples, part.samples)
        np.minimum(signals.length, part.samples.shape[1], out=part.length)
        for name in ("timestamp", "board", "channel", "flags"):
            getattr(part, name)[:] = getattr(signals, name)
        for name, values in part.extra.items():
            values[:] = signals.extra[name]

    def _write_packet(self, signals: Signals) -> None:
        longest = max(1, int(signals.length.max()))
        values = [signals.samples[:, :longest], signals.length, signals.timestamp, signals.board, signals.channel]
        values += [signals.flags, *signals.extra.values()]
        defaults = [0] * len(values)
        defaults[1] = longest
        payload, table = [], []
        for column, encoding, array, default in zip(
            self._header.columns, self._header.encodings, values, defaults, strict=True
        ):
            absent = column.name != "samples" and bool((array == default).all())
            raw = b"" if absent else encode(array.astype(little_endian(column), copy=False), encoding)
            payload.append(self._compressor.compress(raw) if raw else b"")
            table.append((len(payload[-1]), len(raw)))
        joined = b"".join(payload)
        whole = signals.length[(signals.flags & Flag.DAMAGED) == 0]  # a damaged signal has no length
        head = PacketHeader(
            0,
            len(signals),
            self._written,
            longest,
            int(whole.min(initial=longest)),
            len(joined),
            checksum(joined),
            tuple(table),
        )
        self._append(head.to_bytes() + joined)
        if self._options.sync:
            os.fsync(self._file.fileno())

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
