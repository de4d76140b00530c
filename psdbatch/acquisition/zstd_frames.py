"""Where the frames of a .zst file begin and end, found without decompressing anything.

The layout is that of RFC 8878, sections 3.1.1 (frames and blocks) and 3.1.2 (skippable frames); the seek table at the
end of some files is that of the "zstd seekable format" of the zstd project: one skippable frame with the sizes of
all others.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE_MAGIC = 0x184D2A50  # the last four bits are free
SEEK_TABLE_MAGIC = 0x184D2A5E
SEEK_FOOTER_MAGIC = 0x8F92EAB1
SEEK_FOOTER = struct.Struct("<IBI")  # number of frames, descriptor, magic
SEEK_ENTRY = struct.Struct("<II")  # compressed and decompressed size of one frame


@dataclass(frozen=True)
class Frame:
    """One data frame: where it starts in the file and in the decompressed bytes, and its sizes.

    ``content`` is None where the frame does not say how many bytes it decompresses to.
    """

    offset: int
    size: int
    start: int
    content: int | None


@dataclass(frozen=True)
class FrameTable:
    """All data frames of a file, and what is wrong behind the last whole one.

    Attributes
    ----------
    frames
        In order; the last one may be cut off.
    damage
        Where the file's structure ends before the file does (or the other way round), else None.
    """

    frames: tuple[Frame, ...]
    damage: str | None

    @property
    def seekable(self) -> bool:
        """Several frames whose decompressed sizes are known."""
        return len(self.frames) > 1 and all(frame.content is not None for frame in self.frames[:-1])

    def at(self, offset: int) -> Frame:
        """The frame that holds byte ``offset`` of the decompressed file (the last one if none does)."""
        low, high = 0, len(self.frames)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.frames[middle].start <= offset else (low, middle)
        return self.frames[low]


class BrokenFrameError(Exception):
    """The bytes are not what RFC 8878 says."""


@lru_cache(maxsize=64)
def frame_table(path: Path, size: int, modified_ns: int) -> FrameTable:
    """Frames of the file; ``size`` and ``modified_ns`` only make a changed file a new question.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _from_seek_table(data) or _from_headers(data)


def block_ends(data: bytes | mmap.mmap, offset: int) -> Iterator[int]:
    """Ends of the pieces of the frame at ``offset`` that can be decompressed one after another.

    First the end of the frame header, then of every block, at last of the checksum if there is one.

    Raises
    ------
    BrokenFrameError
        The bytes end before the frame does, or are not a frame.
    """
    header, _ = _header(data, offset)
    checksum = data[offset + 4] & 4
    at = offset + header
    yield at
    last = False
    while not last:
        if at + 3 > len(data):
            raise BrokenFrameError("is cut off")
        block = int.from_bytes(data[at : at + 3], "little")
        last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
        if kind == 3:
            raise BrokenFrameError(f"has a block of reserved type at byte {at:,}")
        at += 3 + (1 if kind == 1 else size)  # type 1 repeats one byte
        if at > len(data):
            raise BrokenFrameError("is cut off")
        yield at
    if checksum:
        if at + 4 > len(data):
            raise BrokenFrameError("is cut off")
        yield at + 4


def _header(data: bytes | mmap.mmap, offset: int) -> tuple[int, int | None]:
    """Bytes of the frame header and, if it says so, of the frame's content."""
    if offset + 5 > len(data):
        raise BrokenFrameError("is cut off")
    descriptor = data[offset + 4]
    single = descriptor >> 5 & 1
    dictionary = (0, 1, 2, 4)[descriptor & 3]
    kind = descriptor >> 6
    width = (single, 2, 4, 8)[kind]
    at = offset + 5 + (1 - single) + dictionary
    if at + width > len(data):
        raise BrokenFrameError("is cut off")
    if not width:
        return at - offset, None
    content = int.from_bytes(data[at : at + width], "little") + (256 if width == 2 else 0)
    return at - offset + width, content


def _from_headers(data: mmap.mmap) -> FrameTable:
    frames: list[Frame] = []
    at, start = 0, 0
    while at < len(data):
        magic = int.from_bytes(data[at : at + 4], "little")
        try:
            if len(data) - at >= 8 and magic & 0xFFFFFFF0 == SKIPPABLE_MAGIC:
                at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
                if at > len(data):
                    raise BrokenFrameError("(one to skip) is cut off")
                continue
            if data[at : at + 4] != MAGIC:
                raise BrokenFrameError(
                    "is cut off" if len(data) - at < 8 else "does not begin with the magic number of zstd"
                )
            content = _header(data, at)[1]
            frames.append(Frame(at, 0, start, content))
            for end in block_ends(data, at):
                frames[-1] = Frame(at, end - at, start, content)
            at = frames[-1].offset + frames[-1].size
            start += content or 0
        except BrokenFrameError as broken:
            return FrameTable(tuple(frames), f"the zstd frame at byte {at:,} of {len(data):,} {broken}")
    return FrameTable(tuple(frames), None)


def _from_seek_table(data: mmap.mmap) -> FrameTable | None:
    """Table at the end of the file; None where there is none or it does not add up to the file's size."""
    if len(data) < SEEK_FOOTER.size + 8:
        return None
    count, descriptor, magic = SEEK_FOOTER.unpack(data[-SEEK_FOOTER.size :])
    entry = SEEK_ENTRY.size + (4 if descriptor & 0x80 else 0)
    body = count * entry + SEEK_FOOTER.size
    begin = len(data) - body - 8
    if magic != SEEK_FOOTER_MAGIC or begin < 0:
        return None
    if struct.unpack("<II", data[begin : begin + 8]) != (SEEK_TABLE_MAGIC, body):
        return None
    frames = []
    at, start = 0, 0
    for i in range(count):
        size, content = SEEK_ENTRY.unpack_from(data, begin + 8 + i * entry)
        if data[at : at + 4] == MAGIC:
            frames.append(Frame(at, size, start, content))
        at, start = at + size, start + content
    return FrameTable(tuple(frames), None) if at == begin else None


def seek_table(sizes: list[tuple[int, int]]) -> bytes:
    """Skippable frame that lists ``(compressed, decompressed)`` sizes; readers without use for it pass over it."""
    body = b"".join(SEEK_ENTRY.pack(*pair) for pair in sizes)
    body += SEEK_FOOTER.pack(len(sizes), 0, SEEK_FOOTER_MAGIC)
    return struct.pack("<II", SEEK_TABLE_MAGIC, len(body)) + body
