"""Where the arrays of .npy and .npz files lie: NEP 1 for the arrays, the ZIP format around them."""

from __future__ import annotations

import io
import json
import lzma
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from psdbatch.acquisition.bytesource import ByteSource, ByteStream
from psdbatch.errors import AcquisitionFileError

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK\x03\x04"
DESCRIPTION = "psdbatch.json"
"""Member of a .npz file in which the writer keeps units and meanings."""

CHUNK = 1 << 20
"""Bytes converted at a time where the file's dtype is not the one asked for."""


@dataclass(frozen=True)
class NpyArray:
    """One array: in which member of a .npz file (None: a plain .npy file), where its values start, what they are."""

    member: str | None
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """Bytes of one signal's values."""
        return self.dtype.itemsize * math.prod(self.shape[1:])


class MemberStream(ByteStream):
    """A compressed member of a .npz file."""

    def __init__(self, path: Path, member: str) -> None:
        self._path, self._member = path, member
        self._zip = zipfile.ZipFile(path)
        self._file = self._zip.open(member)

    def readinto(self, buffer: memoryview) -> int:
        filled = 0
        try:
            while filled < len(buffer) and (piece := self._file.read(min(len(buffer) - filled, CHUNK))):
                buffer[filled : filled + len(piece)] = piece
                filled += len(piece)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError) as error:
            raise damaged(self._path, f"member '{self._member}' cannot be decompressed: {error}") from error
        return filled

    def close(self) -> None:
        self._file.close()
        self._zip.close()


def open_arrays(source: ByteSource, samples: str) -> tuple[dict[str, NpyArray], dict[str, Any]]:
    """Arrays of the file by name (``samples`` for that of a .npy file), and the writer's description of them.

    Raises
    ------
    AcquisitionFileError
        The file is damaged or holds arrays in an order that cannot be streamed.
    """
    with source.open() as stream:
        magic = stream.read(len(NPY_MAGIC))
        if magic == NPY_MAGIC:
            return {samples: _npy_header(source.path, None, stream, 0)}, {}
    if not magic.startswith(ZIP_MAGIC):
        raise AcquisitionFileError(f"{source.path}: is neither a .npy nor a .npz file; name its format")
    if source.compression != "none":
        raise AcquisitionFileError(
            f"{source.path}: a .npz file compressed once more cannot be read piece by piece; decompress it ({source.compression}) first"
        )
    try:
        return _npz_arrays(source)
    except zipfile.BadZipFile as error:
        raise damaged(source.path, f"it is no whole .npz file: {error}") from error


def _npz_arrays(source: ByteSource) -> tuple[dict[str, NpyArray], dict[str, Any]]:
    arrays: dict[str, NpyArray] = {}
    description: dict[str, Any] = {}
    with zipfile.ZipFile(source.path) as archive:
        for info in archive.infolist():
            if info.filename == DESCRIPTION:
                description = json.loads(archive.read(info))
            if not info.filename.endswith(".npy"):
                continue
            packed = info.compress_type != zipfile.ZIP_STORED
            begin = 0 if packed else _member_begin(source, info)
            with MemberStream(source.path, info.filename) if packed else source.open(begin) as stream:
                if stream.read(len(NPY_MAGIC)) != NPY_MAGIC:
                    raise damaged(source.path, f"member '{info.filename}' is no NumPy array")
                member = info.filename if packed else ""
                arrays[info.filename.removesuffix(".npy")] = _npy_header(source.path, member, stream, begin)
    return arrays, description


def _member_begin(source: ByteSource, info: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes begin: behind its local header (ZIP specification, section 4.3.7)."""
    with source.open(info.header_offset) as stream:
        head = stream.read(30)
    if len(head) < 30 or head[:4] != ZIP_MAGIC:
        raise damaged(source.path, f"member '{info.filename}' is not where the directory says")
    name, extra = struct.unpack_from("<HH", head, 26)
    return int(info.header_offset + 30 + name + extra)


def _npy_header(path: Path, member: str | None, stream: ByteStream, begin: int) -> NpyArray:
    """Header behind the magic number: version, length, description (NEP 1)."""
    try:
        version = stream.read(2)
        size_bytes = stream.read(2 if version[0] == 1 else 4)
        text = stream.read(int.from_bytes(size_bytes, "little"))
        parse = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = parse(io.BytesIO(size_bytes + text))
    except (ValueError, IndexError, EOFError) as error:
        raise damaged(path, f"the header of the array cannot be read: {error}") from error
    if fortran and len(shape) > 1:
        raise AcquisitionFileError(
            f"{path}: the array lies in Fortran order, the samples of a signal far apart; save np.ascontiguousarray(array)"
        )
    offset = begin + len(NPY_MAGIC) + len(version) + len(size_bytes) + len(text)
    return NpyArray(member, offset, dtype, shape)


def open_array(source: ByteSource, array: NpyArray) -> ByteStream:
    """Stream of the array's values."""
    if not array.member:
        return source.open(array.offset)
    stream = MemberStream(source.path, array.member)
    stream.skip(array.offset)
    return stream


def damaged(path: Path, what: str) -> AcquisitionFileError:
    """Error that says what is wrong with ``path``."""
    return AcquisitionFileError(f"{path}: {what}; restore the file from the archive")
