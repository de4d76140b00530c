"""Packets of compressed signals (.psdz), psdbatch's own container; specified in ``docs/formats/psdz.md``."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import zstandard
from numpy.typing import NDArray

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
from psdbatch.acquisition.packet_codec import CorruptColumnError, PacketSamples, decode, decompress
from psdbatch.acquisition.packet_layout import (
    FILE_MAGIC,
    FileHeader,
    PacketHeader,
    PacketWalk,
    checksum,
    little_endian,
    read_file_header,
)
from psdbatch.acquisition.packet_writer import PacketOptions, PacketWriter
from psdbatch.acquisition.signals import Signals
from psdbatch.columns import Flag
from psdbatch.config import validated
from psdbatch.errors import AcquisitionFileError

Array = NDArray[Any]

OWN_COLUMNS = ("samples", "length", "timestamp", "board", "channel", "flags")
"""First columns of every file; the format's extra columns follow."""


class Packets(AcquisitionFormat):
    """Independent zstd packets of signals; every whole packet of a file can be read, whatever happened to the rest."""

    name: ClassVar[str] = "packets"
    stores_flags: ClassVar[bool] = True

    @classmethod
    def recognises(cls, head: bytes, path: Path) -> bool:
        return head.startswith(FILE_MAGIC)

    def scan(self, source: ByteSource) -> Scan:
        """Packet headers only; damage inside a payload is found, by its checksum, when it is read."""
        cuts: list[tuple[int, int]] = []
        damage: list[Damage] = []
        shortest, longest = np.iinfo(np.uint32).max, 0
        with source.open() as stream:
            header, offset = _file_header(source.path, stream)
            walk = PacketWalk(stream, offset, header.packet_header_bytes, 0)
            for found in walk:
                if isinstance(found, Damage):
                    damage.append(found)
                elif walk.skip_payload(found):
                    cuts.append((found.first, found.offset))
                    walk.expected += found.signals
                    shortest, longest = min(shortest, found.shortest), max(longest, found.samples)
                else:
                    reason = f"the file ends inside a packet of {found.signals:,} signals"
                    bytes_there = walk.offset - found.offset
                    damage.append(Damage(found.offset, bytes_there, found.first, 0, reason))
                    break
        if not longest:
            raise AcquisitionFileError(
                f"{source.path}: not one whole packet is in the file; the writer died early, or the copy is incomplete"
            )
        if cuts[0][0] != 0:
            cuts.insert(0, (0, offset))
        return Scan(
            signals=walk.expected,
            sample_dtype=header.columns[0].dtype,
            shortest=shortest,
            longest=longest,
            timestamp_unit=header.timestamp_unit,
            sampling_period_ns=header.sampling_period_ns,
            columns=header.columns[len(OWN_COLUMNS) :],
            cuts=tuple(cuts),
            damage=tuple(damage),
        )

    def reader(self, source: ByteSource, scan: Scan, first: int = 0) -> SignalReader:
        return PacketReader(source, scan, first)

    @classmethod
    def writer_options(cls) -> type[FormatOptions]:
        return PacketOptions

    @classmethod
    def writer(cls, path: Path, settings: WriterSettings) -> SignalWriter:
        options = validated(PacketOptions, settings.options, f"options of format '{cls.name}'")
        return PacketWriter(path, settings, options)


class PacketReader(SignalReader):
    """Reads signals packet by packet; samples are decoded straight into the caller's array."""

    def __init__(self, source: ByteSource, scan: Scan, first: int) -> None:
        with source.open() as stream:
            self._header, _ = _file_header(source.path, stream)
        signal, offset = scan.cuts[bisect_right(scan.cuts, (first, float("inf"))) - 1]
        super().__init__(signal)
        self._path = source.path
        self._signals = scan.signals
        self._stream = source.open(offset)
        self._walk = PacketWalk(self._stream, offset, self._header.packet_header_bytes, signal)
        self._found = iter(self._walk)
        self._decompressor = zstandard.ZstdDecompressor()
        self._stored = bytearray()
        self._raw = np.empty(0, np.uint8)
        self._packet: _OpenPacket | None = None
        self._left = 0  # signals of the current packet or gap not delivered yet
        self.skip(first - signal)

    def read(self, out: Signals) -> int:
        wanted = min(len(out), self._signals - self.position)
        done = 0
        while done < wanted:
            if not self._left:
                self._open_next()
            count = min(self._left, wanted - done)
            part = out[done : done + count]
            if self._packet:
                self._packet.take(part)
            else:
                _mark_damaged(part)
            self._left -= count
            self.position += count
            done += count
        return wanted

    def skip(self, count: int) -> None:
        """Pass over ``count`` signals; packets that lie in it as a whole are not even decompressed."""
        count = min(count, self._signals - self.position)
        while count > 0:
            if not self._left:
                self._open_next(unread=count)
            here = min(self._left, count)
            if self._packet:
                self._packet.skip(here)
            self._left -= here
            self.position += here
            count -= here

    def close(self) -> None:
        self._stream.close()

    def _open_next(self, unread: int = 0) -> None:
        """Go to the next packet or gap; a packet of at most ``unread`` signals is passed over without reading it."""
        for found in self._found:
            self._packet = None
            if isinstance(found, Damage):
                self.damage.append(found)
                self._left = found.signals
                if self._left:
                    return
                continue
            self._left = found.signals
            self._walk.expected += found.signals
            if self._walk.skip_payload(found) if found.signals <= unread else self._load(found):
                return
            break
        raise AcquisitionFileError(
            f"{self._path}: ends after signal {self.position:,} of {self._signals:,} in the index; it changed since it was indexed: run 'psdbatch index' again"
        )

    def _load(self, header: PacketHeader) -> bool:
        """Read and decompress a packet; False if the file ends inside it.  A damaged one leaves no packet open."""
        if len(self._stored) < header.payload:
            self._stored = bytearray(header.payload)
        stored = memoryview(self._stored)[: header.payload]
        if not self._walk.read_payload(header, stored):
            return False
        reason = "the checksum of the packet is wrong"
        if checksum(stored) == header.payload_checksum:
            try:
                self._packet = _OpenPacket(self._header, header, stored, self._decompressor, self._workspace)
                return True
            except CorruptColumnError as error:
                reason = str(error)
        size = self._header.packet_header_bytes + header.payload
        self.damage.append(Damage(header.offset, size, header.first, header.signals, reason))
        return True

    def _workspace(self, size: int) -> Array:
        if len(self._raw) < size:
            self._raw = np.empty(size, np.uint8)
        return self._raw[:size]


class _OpenPacket:
    """A packet whose checksum is right, handed out part by part; columns are decompressed when first asked for.

    ``stored`` is its payload and ``workspace`` lends memory for the decompressed samples; both stay its own as long as
    it is open.
    """

    def __init__(
        self,
        file: FileHeader,
        header: PacketHeader,
        stored: memoryview,
        decompressor: zstandard.ZstdDecompressor,
        workspace: Callable[[int], Array],
    ) -> None:
        self._file, self._header, self._stored, self._decompressor = file, header, stored, decompressor
        self._number = {column.name: i for i, column in enumerate(file.columns)}
        self._next = 0
        self._columns: dict[str, Array | None] = {}
        shape = (header.signals, header.samples)
        raw, encoding, dtype = self._decompress(0, shape, workspace)
        self._samples = PacketSamples(raw, encoding, dtype, shape)
        for name in OWN_COLUMNS[1:]:
            self._column(name)

    def take(self, out: Signals) -> None:
        here = slice(self._next, self._next + len(out))
        self._samples.take(out.samples)
        self._copy("length", here, out.length, self._header.samples)
        for name in ("timestamp", "board", "channel", "flags"):
            self._copy(name, here, getattr(out, name), 0)
        for name, values in out.extra.items():
            self._copy(name, here, values, 0)
        self._next = here.stop

    def skip(self, count: int) -> None:
        self._samples.skip(count)
        self._next += count

    def _copy(self, name: str, here: slice, out: Array, default: int) -> None:
        column = self._column(name)
        out[:] = default if column is None else column[here]

    def _column(self, name: str) -> Array | None:
        """Values of a column, None where it is left out of the packet or the file."""
        if name not in self._columns:
            i = self._number.get(name)
            if i is None or not self._header.table[i][0]:
                self._columns[name] = None
            else:
                shape = (self._header.signals, *self._file.columns[i].shape)
                raw, encoding, dtype = self._decompress(i, shape, lambda size: np.empty(size, np.uint8))
                self._columns[name] = decode(raw, encoding, dtype, shape)
        return self._columns[name]

    def _decompress(
        self, i: int, shape: tuple[int, ...], memory: Callable[[int], Array]
    ) -> tuple[Array, str, np.dtype[Any]]:
        column = self._file.columns[i]
        dtype = little_endian(column)
        stored, raw_bytes = self._header.table[i]
        if raw_bytes != math.prod(shape) * dtype.itemsize:
            raise CorruptColumnError(f"column '{column.name}' says {raw_bytes:,} bytes, its shape says otherwise")
        begin = sum(entry[0] for entry in self._header.table[:i])
        raw = memory(raw_bytes)
        decompress(self._decompressor, self._stored[begin : begin + stored], raw)
        return raw, self._file.encodings[i], dtype


def _mark_damaged(out: Signals) -> None:
    for array in (out.samples, out.length, out.timestamp, out.board, out.channel, *out.extra.values()):
        array[:] = 0
    out.flags[:] = Flag.DAMAGED


def _file_header(path: Path, stream: Any) -> tuple[FileHeader, int]:
    try:
        return read_file_header(stream)
    except (ValueError, KeyError, TypeError) as error:
        raise AcquisitionFileError(f"{path}: cannot be read as packets: {error}") from error
