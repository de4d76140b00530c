"""Bytes of a .psdz file: the file header, packet headers, and the walk from packet to packet.

``docs/formats/psdz.md`` is the specification; the names there are the names here.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from isal import isal_zlib

from psdbatch.acquisition.bytesource import ByteStream
from psdbatch.acquisition.format import Damage
from psdbatch.acquisition.packet_codec import ENCODINGS
from psdbatch.columns import Column

FILE_MAGIC = b"\x89PSDZ\r\n\x1a"  # the idea of PNG: a transfer that changes line ends or the eighth bit shows
VERSION = 1
FILE_HEAD = struct.Struct("<8sHHI")  # magic, version, reserved (0), bytes of the JSON text
CHECKSUM = struct.Struct("<I")

PACKET_MAGIC = b"\xabPacket\n"
PACKET_HEAD = struct.Struct("<8sIIQIIII")
COLUMN_ENTRY = struct.Struct("<II")  # stored bytes, raw bytes

SEARCH_BYTES = 1 << 20


def checksum(data: Any) -> int:
    """CRC-32 of IEEE 802.3 (that of zlib and gzip): any one to three flipped bits change it, always."""
    return int(isal_zlib.crc32(data))


@dataclass(frozen=True)
class FileHeader:
    """What holds for all packets of a file.

    ``columns`` begins with ``samples``; ``encodings`` has one entry per column.
    """

    columns: tuple[Column, ...]
    encodings: tuple[str, ...]
    timestamp_unit: str
    sampling_period_ns: float | None
    writer: str

    @property
    def packet_header_bytes(self) -> int:
        """Size of every packet header in the file."""
        return PACKET_HEAD.size + COLUMN_ENTRY.size * len(self.columns) + CHECKSUM.size

    def to_bytes(self) -> bytes:
        """The file header; :func:`read_file_header` is its inverse."""
        columns = [
            {**column.to_json(), "encoding": encoding}
            for column, encoding in zip(self.columns, self.encodings, strict=True)
        ]
        text = json.dumps(
            {
                "columns": columns,
                "timestamp_unit": self.timestamp_unit,
                "sampling_period_ns": self.sampling_period_ns,
                "writer": self.writer,
            }
        ).encode()
        head = FILE_HEAD.pack(FILE_MAGIC, VERSION, 0, len(text)) + text
        return head + CHECKSUM.pack(checksum(head))


def read_file_header(stream: ByteStream) -> tuple[FileHeader, int]:
    """File header and its size in bytes.

    Raises
    ------
    ValueError
        It is cut off, damaged or of a later version; the message is a clause.
    """
    head = stream.read(FILE_HEAD.size)
    if len(head) < FILE_HEAD.size:
        raise ValueError("the file header is cut off")
    magic, version, _, size = FILE_HEAD.unpack(head)
    if magic != FILE_MAGIC:
        raise ValueError("it does not begin like a .psdz file")
    body = stream.read(min(size, 1 << 24) + CHECKSUM.size)
    text, stored = body[: -CHECKSUM.size], body[-CHECKSUM.size :]
    if len(text) != size or checksum(head + text) != CHECKSUM.unpack(stored)[0]:
        raise ValueError("the file header is damaged or cut off (its checksum is wrong)")
    if version != VERSION:
        raise ValueError(f"it has version {version} of the format, this program knows {VERSION}; use a newer psdbatch")
    record = json.loads(text)
    encodings = tuple(column.pop("encoding") for column in record["columns"])
    unknown = set(encodings) - set(ENCODINGS)
    if unknown:
        raise ValueError(f"it uses encodings that this program does not know: {', '.join(sorted(unknown))}")
    columns = tuple(Column.from_json(column) for column in record.pop("columns"))
    return FileHeader(columns, encodings, **record), FILE_HEAD.size + size + CHECKSUM.size


@dataclass(frozen=True)
class PacketHeader:
    """Header of one packet at byte ``offset``; ``signals`` 0 marks the end of the file.

    ``table`` holds stored and raw bytes of each column, shape ``(columns, 2)``; stored 0 means that the column is left
    out and has its default: 0, or the number of samples for ``length``.
    """

    offset: int
    signals: int
    first: int
    samples: int
    shortest: int
    payload: int
    payload_checksum: int
    table: tuple[tuple[int, int], ...]

    def to_bytes(self) -> bytes:
        """The header; :func:`parse_packet_header` is its inverse."""
        size = PACKET_HEAD.size + COLUMN_ENTRY.size * len(self.table) + CHECKSUM.size
        head = PACKET_HEAD.pack(
            PACKET_MAGIC,
            size,
            self.signals,
            self.first,
            self.samples,
            self.shortest,
            self.payload,
            self.payload_checksum,
        )
        head += b"".join(COLUMN_ENTRY.pack(*entry) for entry in self.table)
        return head + CHECKSUM.pack(checksum(head))


def parse_packet_header(data: bytes, offset: int) -> PacketHeader | None:
    """Header in ``data`` (its exact bytes, from byte ``offset`` of the file), or None if it is damaged."""
    if data[: len(PACKET_MAGIC)] != PACKET_MAGIC or CHECKSUM.unpack(data[-4:])[0] != checksum(data[:-4]):
        return None
    _, size, signals, first, samples, shortest, payload, stored = PACKET_HEAD.unpack_from(data)
    table = tuple(COLUMN_ENTRY.iter_unpack(data[PACKET_HEAD.size : -CHECKSUM.size]))
    if size != len(data) or sum(entry[0] for entry in table) != payload:
        return None
    return PacketHeader(offset, signals, first, samples, shortest, payload, stored, table)


class PacketWalk:
    """Goes through the packets of a stream in order; used for indexing and for reading alike.

    Parameters
    ----------
    stream
        Positioned at a packet header, byte ``offset`` of the file.
    header_bytes
        Size of a packet header in this file.
    expected
        Number of the first signal there.
    """

    def __init__(self, stream: ByteStream, offset: int, header_bytes: int, expected: int) -> None:
        self._stream, self.offset, self._size = stream, offset, header_bytes
        self.expected = expected
        self._ahead = b""  # read while searching for the next header

    def __iter__(self) -> Iterator[PacketHeader | Damage]:
        """Headers and damage in the order of the file.

        A :class:`Damage` with ``signals > 0`` stands for so many places.  After a header the caller takes the payload with
        :meth:`read_payload` or :meth:`skip_payload`, and counts the signals itself by adding them to ``expected``.
        """
        while True:
            start = self.offset
            data = self._read(self._size)
            header = parse_packet_header(data, start) if len(data) == self._size else None
            reason = "packets are missing"
            if header is None and data:
                header = self._next_header(data)
                reason = "damaged packet header"
            if header is None:
                what = (
                    "the last packet header is damaged or cut off"
                    if data
                    else "the file was not closed (no end packet)"
                )
                yield Damage(start, self.offset - start, self.expected, 0, f"{what}; what followed is lost")
                return
            lost = header.first - self.expected
            if lost < 0:
                yield Damage(header.offset, self._size + header.payload, self.expected, 0, "packet repeats signals")
                self.skip_payload(header)
                continue
            if lost or header.offset > start:
                yield Damage(start, header.offset - start, self.expected, lost, reason)
                self.expected += lost
            if not header.signals:
                yield from self._after_end()
                return
            yield header

    def read_payload(self, header: PacketHeader, buffer: memoryview) -> bool:
        """Fill ``buffer`` with the payload; False if the file ends before it does."""
        ahead = min(len(self._ahead), header.payload)
        buffer[:ahead] = self._ahead[:ahead]
        filled = ahead + self._stream.readinto(buffer[ahead : header.payload])
        return self._passed(ahead, filled, header)

    def skip_payload(self, header: PacketHeader) -> bool:
        """Pass over the payload; False if the file ends before it does."""
        ahead = min(len(self._ahead), header.payload)
        return self._passed(ahead, ahead + self._stream.skip(header.payload - ahead), header)

    def _passed(self, ahead: int, count: int, header: PacketHeader) -> bool:
        self._ahead = self._ahead[ahead:]
        self.offset += count
        return count == header.payload

    def _read(self, count: int) -> bytes:
        data, self._ahead = self._ahead[:count], self._ahead[count:]
        if len(data) < count:
            data += self._stream.read(count - len(data))
        self.offset += len(data)
        return data

    def _next_header(self, window: bytes) -> PacketHeader | None:
        """Search for an intact header behind the first byte of ``window``, which ends at the current offset."""
        at = 1
        while True:
            base = self.offset - len(window)
            found = window.find(PACKET_MAGIC, at)
            if found >= 0 and found + self._size <= len(window):
                header = parse_packet_header(window[found : found + self._size], base + found)
                if header:
                    self._ahead = window[found + self._size :] + self._ahead
                    self.offset = header.offset + self._size
                    return header
                at = found + 1
                continue
            keep = found if found >= 0 else max(at, len(window) - len(PACKET_MAGIC) + 1)
            more = self._read(SEARCH_BYTES)
            if not more:
                return None
            window, at = window[keep:] + more, 0

    def _after_end(self) -> Iterator[Damage]:
        start = self.offset
        while self._read(SEARCH_BYTES):
            pass
        if self.offset > start:
            yield Damage(start, self.offset - start, self.expected, 0, "bytes after the end packet are not read")


def little_endian(column: Column) -> np.dtype[Any]:
    """dtype of the column's values in the file."""
    return np.dtype(column.dtype).newbyteorder("<")
