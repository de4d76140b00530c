"""Acquisition files compressed as a whole: zstd (entered in the middle where it has several frames) and gzip.

Damage ends a stream early, after the last byte that can be decompressed, and is said in ``damage``: an archive cut
off by a full disk still gives what is in it.
"""

from __future__ import annotations

import mmap
import os
import zlib
from pathlib import Path
from typing import Any

import zstandard
from isal import isal_zlib

from psdbatch.acquisition.bytesource import ByteSource, ByteStream, open_source
from psdbatch.acquisition.zstd_frames import (
    MAGIC,
    SKIPPABLE_MAGIC,
    BrokenFrameError,
    Frame,
    FrameTable,
    block_ends,
    frame_table,
    seek_table,
)
from psdbatch.errors import AcquisitionFileError

LARGEST_WINDOW = 1 << 31
"""What ``zstd --long=31`` needs; the decoder takes only as much memory as the frame asks for."""

GZIP_ERRORS: tuple[type[Exception], ...] = (zlib.error, isal_zlib.error)  # type: ignore[assignment] # stub: instance

PIECE = 1 << 18
"""Compressed bytes read from the file at a time."""


class _CompressedStream(ByteStream):
    """Common part: counts decompressed bytes and tells the source about damage."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._position = 0  # in the decompressed file
        self._file = source.path.open("rb", buffering=0)

    def _ended_by(self, damage: str) -> None:
        self.damage = self._source.damage = damage
        self._source.damage_offset = self._position

    def close(self) -> None:
        self._file.close()


class _ZstdStream(_CompressedStream):
    def __init__(self, source: ZstdFile, table: FrameTable, offset: int) -> None:
        super().__init__(source)
        self._table = table
        self._ending = table.damage
        self._enter(offset)

    def _enter(self, offset: int) -> None:
        """Start at the last frame that can be entered in front of ``offset``."""
        frames = self._table.frames
        frame = self._table.at(offset) if self._table.seekable else frames[0] if frames else Frame(0, 0, 0, 0)
        self._entered = frame
        self._position = frame.start
        self._saved: memoryview | None = None
        self._file.seek(frame.offset)
        self._reader = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW).stream_reader(
            self._file, read_size=PIECE, read_across_frames=True, closefd=False
        )
        super().skip(offset - self._position)

    def readinto(self, buffer: memoryview) -> int:
        filled = 0
        while filled < len(buffer):
            count = self._some(buffer[filled:])
            if not count:
                break
            filled += count
            self._position += count
        if filled < len(buffer) and self._ending:
            self._ended_by(self._ending)
        return filled

    def skip(self, count: int) -> int:
        before, target = self._position, self._position + count
        if self._table.seekable and self._table.at(target).start > before:
            self._enter(target)
            return self._position - before
        return super().skip(count)

    def _some(self, buffer: memoryview) -> int:
        if self._saved is None:
            try:
                return int(self._reader.readinto(buffer))
            except zstandard.ZstdError:
                # What was decompressed before the damage is in the buffer, but nobody says how much of it.
                self._saved = memoryview(self._decompress_to_damage())
        count = min(len(buffer), len(self._saved))
        buffer[:count] = self._saved[:count]
        self._saved = self._saved[count:]
        return count

    def _decompress_to_damage(self) -> bytes:
        """What lies between the position and the damage: again from the entered frame on, block by block."""
        pieces: list[bytes] = []
        position = self._entered.start
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for frame in self._table.frames[self._table.frames.index(self._entered) :] if self._table.frames else ():
                decompressor = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW).decompressobj()
                begin = frame.offset
                try:
                    for end in block_ends(data, begin):
                        piece = decompressor.decompress(data[begin:end])
                        position += len(piece)
                        if position > self._position:
                            pieces.append(piece[max(0, len(piece) - (position - self._position)) :])
                        begin = end
                except (zstandard.ZstdError, BrokenFrameError) as error:
                    self._ending = (
                        f"the zstd frame at byte {frame.offset:,} cannot be decompressed past byte {begin:,}: {error}"
                    )
                    break
        return b"".join(pieces)


class ZstdFile(ByteSource):
    """A .zst file; seekable when it has several frames that say how much they hold."""

    compression = "zstd"

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def recognises(head: bytes) -> bool:
        """Whether the first four bytes begin a zstd frame or one to skip."""
        return head == MAGIC or (len(head) == 4 and int.from_bytes(head, "little") & ~0xF == SKIPPABLE_MAGIC)

    def frames(self) -> FrameTable:
        """Where the frames are; found once per file and process."""
        status = self.path.stat()
        return frame_table(self.path, status.st_size, status.st_mtime_ns)

    @property
    def seekable(self) -> bool:
        """Whether a frame in the middle can be entered."""
        return self.frames().seekable

    def open(self, offset: int = 0) -> ByteStream:
        return _ZstdStream(self, self.frames(), offset)


class _GzipStream(_CompressedStream):
    """All members of a gzip file, one after another (RFC 1952, section 2.2)."""

    def __init__(self, source: GzipFile, offset: int, library: Any = isal_zlib) -> None:
        super().__init__(source)
        self._library = library
        self._member = library.decompressobj(wbits=31)
        self._input = b""
        self._to_damage: _GzipStream | None = None
        self.skip(offset)

    def readinto(self, buffer: memoryview) -> int:
        filled = 0
        while filled < len(buffer) and self.damage is None:
            piece = self._to_damage.read(1) if self._to_damage else self._some(len(buffer) - filled)
            if piece is None:
                break
            if self._to_damage and self._to_damage.damage:
                self._ended_by(self._to_damage.damage)
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)
            self._position += len(piece)
        return filled

    def _some(self, limit: int) -> bytes | None:
        """At most ``limit`` bytes more, possibly none; None at the end of the file."""
        if self._member.eof and not self._next_member():
            return None
        self._input = self._input or self._file.read(PIECE) or b""
        ended = not self._input
        try:
            piece: bytes = self._member.decompress(self._input, limit)
        except GZIP_ERRORS as error:
            if self._library is zlib:
                self._ended_by(f"the gzip data cannot be decompressed past byte {self._consumed():,}: {error}")
                return None
            # ISA-L is several times faster, but drops what it decompressed before damage; zlib gives byte after byte.
            self._to_damage = _GzipStream(GzipFile(self._source.path), self._position, zlib)
            return b""
        self._input = self._member.unconsumed_tail
        if ended and not piece and not self._member.eof:
            self._ended_by(f"the gzip data is cut off at byte {self._consumed():,}")
            return None
        return piece

    def _next_member(self) -> bool:
        self._input = self._member.unused_data.lstrip(b"\0")  # gzip allows padding with zeros
        while not self._input:
            more = self._file.read(PIECE)
            if not more:
                return False
            self._input = more.lstrip(b"\0")
        self._member = self._library.decompressobj(wbits=31)
        return True

    def _consumed(self) -> int:
        return self._file.tell() - len(self._input)

    def close(self) -> None:
        super().close()
        if self._to_damage:
            self._to_damage.close()


class GzipFile(ByteSource):
    """A .gz file, of one or several members; it can only be read from its start."""

    compression = "gzip"

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def recognises(head: bytes) -> bool:
        """Whether the first bytes are those of a gzip member."""
        return head[:2] == b"\x1f\x8b"

    @property
    def seekable(self) -> bool:
        """Always False: deflate needs what came before."""
        return False

    def open(self, offset: int = 0) -> ByteStream:
        return _GzipStream(self, offset)


def compress_file(source: Path, target: Path, frame_bytes: int = 1 << 24, level: int = 3) -> int:
    """Compress ``source`` to a .zst file of frames that can be entered one by one; return its size in bytes.

    Any zstd program decompresses it.  ``source`` may be compressed itself (.gz, .zst of one frame): this is how an
    archive becomes seekable.  Every frame holds ``frame_bytes`` bytes, says so, and carries a checksum; a table of all
    frames lies at the end.  ``target`` appears when it is complete.

    Raises
    ------
    AcquisitionFileError
        ``source`` is damaged; nothing is written then.
    OSError
        A file cannot be read or written.
    """
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True)
    buffer = memoryview(bytearray(frame_bytes))
    sizes: list[tuple[int, int]] = []
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        with open_source(source).open() as stream, partial.open("wb") as file:
            while count := stream.readinto(buffer):
                sizes.append((file.write(compressor.compress(buffer[:count])), count))
            if stream.damage:
                raise AcquisitionFileError(f"{source}: {stream.damage}; restore the file before compressing it anew")
            file.write(seek_table(sizes))
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return size
