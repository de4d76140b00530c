"""MFM frames built and decoded slowly, with struct alone, as the reference for the tests of format ``mfm``."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from psdbatch.acquisition.bytesource import ByteSource, ByteStream
from psdbatch.acquisition.format import AcquisitionFormat, Scan
from psdbatch.acquisition.signals import Signals

RAW_COLUMNS = {
    "event_index", "slow_integral", "fast_integral", "le_interval", "zco_interval", "tdc", "neutron_trigger",
    "cfd_parity", "cfd_valid", "abs_max", "cfd_interpolation",
}  # fmt: skip
COMPRESSED_COLUMNS = {
    "event_index", "slow_integral", "fast_integral", "energy", "frame_time", "tdc_corrected", "rise_time",
    "online_network", "zero_crossings", "online_neutron",
}  # fmt: skip


class MemorySource(ByteSource):
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self.data, self.path = data, Path("memory")

    def open(self, offset: int = 0) -> ByteStream:
        return _MemoryStream(self.data[offset:])


class _MemoryStream(ByteStream):
    def __init__(self, data: bytes) -> None:
        self.data = data

    def readinto(self, buffer: memoryview) -> int:
        part, self.data = self.data[: len(buffer)], self.data[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Style:
    """Byte order, log2 of the block size, revision."""

    order: str = "<"
    shift: int = 1
    revision: int = 1

    def padded(self, size: int) -> int:
        return -(-size // (1 << self.shift)) << self.shift


def common(style: Style, frame_type: int, size: int, blob: bool = False) -> bytes:
    """Common header of a frame of ``size`` bytes."""
    meta = (0x80 if style.order == "<" else 0) | (0x40 if blob else 0) | style.shift
    blocks = (size >> style.shift).to_bytes(3, "little" if style.order == "<" else "big")
    return bytes([meta]) + blocks + struct.pack(style.order + "BHB", 5, frame_type, style.revision)


def raw_frame(style: Style, samples: list[int], time: int, location: int, seed: int = 0) -> bytes:
    """One NEDA raw frame; the other fields are filled from ``seed``."""
    header = style.padded(44)
    size = style.padded(header + 2 * len(samples) + 4)
    inner = "<" if style.revision == 0 else style.order
    order = "little" if style.order == "<" else "big"
    if style.revision == 0 and style.order == ">":
        ticks = struct.pack("<HHH", time >> 32, time & 0xFFFF, time >> 16 & 0xFFFF)
    else:
        ticks = time.to_bytes(6, order)
    fields = np.random.default_rng(seed).integers(0, 256, 64, np.uint8).tobytes()
    head = common(style, 0x12, size) + struct.pack(
        style.order + "HHIH", header >> style.shift, 2, len(samples), location
    )
    head += fields[:4] + ticks + fields[4:20]
    words = [value | (i % 2) << 14 for i, value in enumerate(samples)]
    items = struct.pack(f"{inner}{len(words)}H", *words)
    return (head.ljust(header, b"\7") + items + b"\xf0" * 4).ljust(size, b"\0")


def compressed_frame(style: Style, time: int, location: int, seed: int = 0) -> bytes:
    """One NEDA compressed frame; the other fields are filled from ``seed``."""
    order = "little" if style.order == "<" else "big"
    fields = np.random.default_rng(seed).integers(0, 256, 64, np.uint8).tobytes()
    size = style.padded(42)
    frame = common(style, 0x13, size, blob=True) + fields[:4] + time.to_bytes(6, order)
    return (frame + struct.pack(style.order + "H", location) + fields[4:26]).ljust(size, b"\0")


def merge_frame(style: Style, children: list[bytes], by_time: bool = True) -> bytes:
    """Merge frame around ``children``."""
    header, inside = style.padded(26 if by_time else 20), b"".join(children)
    size = style.padded(header + len(inside))
    head = common(style, 0xFF02 if by_time else 0xFF01, size)
    head += struct.pack(style.order + "HHI", header >> style.shift, 0, len(children))
    return (head.ljust(header, b"\3") + inside).ljust(size, b"\0")


def foreign_frame(style: Style, frame_type: int, payload: bytes) -> bytes:
    """Any other frame."""
    size = style.padded(8 + len(payload))
    return (common(style, frame_type, size) + payload).ljust(size, b"\0")


def signals_of(data: bytes) -> list[dict[str, Any]]:
    """Decode undamaged frames one after another, merge frames to any depth."""
    found, position = [], 0
    while position < len(data):
        order = "<" if data[position] & 0x80 else ">"
        block = 1 << (data[position] & 15)
        size = int.from_bytes(data[position + 1 : position + 4], "little" if order == "<" else "big") * block
        (frame_type,) = struct.unpack_from(order + "H", data, position + 5)
        frame = data[position : position + size]
        if frame_type == 0x12:
            found.append(_raw(frame, order, block))
        elif frame_type == 0x13:
            found.append(_compressed(frame, order))
        elif frame_type in (0xFF01, 0xFF02):
            blocks, _, count = struct.unpack_from(order + "HHI", frame, 8)
            inside, start = [], blocks * block
            for _ in range(count):
                child = int.from_bytes(frame[start + 1 : start + 4], "little" if frame[start] & 0x80 else "big")
                child <<= frame[start] & 15
                inside.append(frame[start : start + child])
                start += child
            found += [signal for child in inside for signal in signals_of(child)]
        position += size
    return found


def _raw(frame: bytes, order: str, block: int) -> dict[str, Any]:
    revision = frame[7]
    inner = "<" if revision == 0 else order
    blocks, _, count, location = struct.unpack_from(order + "HHIH", frame, 8)
    if revision == 0 and order == ">":
        high, low, middle = struct.unpack_from("<HHH", frame, 22)
        time = high << 32 | middle << 16 | low
    else:
        time = int.from_bytes(frame[22:28], "little" if order == "<" else "big")
    (tdc,) = struct.unpack_from(inner + "H", frame, 30)
    return {
        "samples": [v & 0x3FFF for v in struct.unpack_from(f"{inner}{count}H", frame, blocks * block)],
        "timestamp": time,
        "location": location,
        "event_index": struct.unpack_from(inner + "I", frame, 18)[0],
        "le_interval": frame[28],
        "zco_interval": frame[29],
        "tdc": tdc & 0xFF if revision == 0 else tdc,
        "slow_integral": struct.unpack_from(inner + "H", frame, 34)[0],
        "fast_integral": struct.unpack_from(inner + "H", frame, 38)[0],
        "neutron_trigger": frame[40] >> 7,
        "cfd_parity": frame[40] >> 6 & 1,
        "cfd_valid": frame[40] >> 5 & 1,
        "abs_max": frame[41],
        "cfd_interpolation": frame[42],
    }


def _compressed(frame: bytes, order: str) -> dict[str, Any]:
    return {
        "samples": [],
        "timestamp": int.from_bytes(frame[12:18], "little" if order == "<" else "big"),
        "location": struct.unpack_from(order + "H", frame, 18)[0],
        "event_index": struct.unpack_from(order + "I", frame, 8)[0],
        "energy": struct.unpack_from(order + "H", frame, 20)[0],
        "frame_time": struct.unpack_from("<H", frame, 22)[0],
        "tdc_corrected": struct.unpack_from(order + "H", frame, 24)[0],
        "slow_integral": struct.unpack_from(order + "I", frame, 26)[0],
        "fast_integral": struct.unpack_from(order + "I", frame, 30)[0],
        "rise_time": struct.unpack_from(order + "i", frame, 34)[0],
        "online_network": struct.unpack_from(order + "H", frame, 38)[0],
        "zero_crossings": frame[40],
        "online_neutron": frame[41],
    }


def read_all(kind: AcquisitionFormat, source: ByteSource, scan: Scan, first: int = 0, chunk: int = 1000) -> Signals:
    """All signals from number ``first`` on, read ``chunk`` by ``chunk`` into arrays full of rubbish."""
    whole = Signals.allocate(scan.signals - first, max(scan.longest, 1), scan.sample_dtype, scan.columns)
    for values in (whole.samples, whole.length, whole.timestamp, whole.board, whole.channel, whole.flags):
        values.fill(77)
    for values in whole.extra.values():
        values.fill(77)
    with kind.reader(source, scan, first) as reader:
        done = 0
        while count := reader.read(whole[done : done + chunk]):
            done += count
        assert done == len(whole)
        assert reader.position == scan.signals
    return whole
