"""Byte sources: what they deliver never depends on how the file is compressed."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import zstandard

from psdbatch.acquisition.bytesource import ByteSource, open_source
from psdbatch.acquisition.compressed import compress_file
from psdbatch.errors import AcquisitionFileError

CONTENT = np.cumsum(np.random.default_rng(3).integers(-9, 10, 150_000)).astype("<i2").tobytes() + bytes(40_000) + b"end"


def one_frame(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def streamed_frame(data: bytes) -> bytes:
    """As ``zstd < file`` writes it: without the size of the content."""
    compressor = zstandard.ZstdCompressor().compressobj()
    return compressor.compress(data) + compressor.flush()


def several_frames(data: bytes, size: int = 50_000) -> bytes:
    skippable = b"\x5a\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"a note!"
    return b"".join(one_frame(data[i : i + size]) + skippable for i in range(0, len(data), size))


def several_members(data: bytes, size: int = 70_000) -> bytes:
    return b"".join(gzip.compress(data[i : i + size]) for i in range(0, len(data), size)) + bytes(512)


KINDS = {
    "plain": (lambda data: data, "none", True),
    "zstd, one frame": (one_frame, "zstd", False),
    "zstd, streamed": (streamed_frame, "zstd", False),
    "zstd, several frames": (several_frames, "zstd", True),
    "zstd, note in front": (lambda data: b"\x50\x2a\x4d\x18\0\0\0\0" + several_frames(data), "zstd", True),
    "gzip": (gzip.compress, "gzip", False),
    "gzip, several members": (several_members, "gzip", False),
}


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> ByteSource:
    pack, compression, seekable = KINDS[request.param]
    path = tmp_path / "file"
    path.write_bytes(pack(CONTENT))
    found = open_source(path)
    assert (found.compression, found.seekable) == (compression, seekable)
    return found


def everything(source: ByteSource, chunk: int = 65_537) -> tuple[bytes, str | None]:
    """All bytes, read in chunks, and the stream's damage."""
    out = io.BytesIO()
    with source.open() as stream:
        while piece := stream.read(chunk):
            out.write(piece)
        return out.getvalue(), stream.damage


def test_every_compression_delivers_the_same_bytes(source: ByteSource) -> None:
    assert everything(source) == (CONTENT, None)
    assert source.damage is None


@pytest.mark.parametrize("offset", [0, 1, 49_999, 50_000, 50_001, 299_999, len(CONTENT) - 1, len(CONTENT)])
def test_a_stream_starts_at_any_byte(source: ByteSource, offset: int) -> None:
    with source.open(offset) as stream:
        assert stream.read(70_000) == CONTENT[offset : offset + 70_000]


def test_skip_passes_over_exactly_the_bytes_asked_for(source: ByteSource) -> None:
    with source.open(10) as stream:
        assert stream.skip(5) == 5
        assert stream.read(10) == CONTENT[15:25]
        assert stream.skip(200_000) == 200_000
        assert stream.read(10) == CONTENT[200_025:200_035]
        assert stream.skip(10**9) == len(CONTENT) - 200_035
        assert stream.read(10) == b""


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "plain"])
@pytest.mark.parametrize("kept", [0.2, 0.55, 0.97])
def test_a_cut_off_file_delivers_what_is_whole_and_says_so(tmp_path: Path, kind: str, kept: float) -> None:
    packed = KINDS[kind][0](CONTENT)
    packed = packed.rstrip(b"\0")
    path = tmp_path / "file"
    path.write_bytes(packed[: int(len(packed) * kept)])
    source = open_source(path)
    data, damage = everything(source)
    assert damage is not None
    assert "cut off" in damage
    assert source.damage == damage
    assert source.damage_offset == len(data)
    assert CONTENT.startswith(data)
    lost = len(CONTENT) * (1 - kept) + (140_000 if kind.startswith("zstd") else 40_000)  # zstd loses a whole block
    assert len(data) > len(CONTENT) - lost


def reference_gzip(packed: bytes) -> bytes:
    """Bytes that zlib can decompress, one at a time."""
    decompressor, out = zlib.decompressobj(31), bytearray()
    try:
        while piece := decompressor.decompress(packed, 1):
            out += piece
            packed = decompressor.unconsumed_tail
    except zlib.error:
        pass
    return bytes(out)


def reference_zstd(packed: bytes) -> bytes:
    """Bytes that libzstd gives when it is fed one byte after the other."""
    decompressor, out = zstandard.ZstdDecompressor().decompressobj(), bytearray()
    try:
        for i in range(len(packed)):
            out += decompressor.decompress(packed[i : i + 1])
    except zstandard.ZstdError:
        pass
    return bytes(out)


def test_corrupt_gzip_delivers_every_byte_before_the_damage(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(CONTENT))
    packed[len(packed) // 2 : len(packed) // 2 + 64] = bytes(64)
    path = tmp_path / "file"
    path.write_bytes(packed)
    data, damage = everything(open_source(path), 1 << 20)
    assert damage is not None
    assert "byte" in damage
    assert data == reference_gzip(bytes(packed))
    assert data[:100_000] == CONTENT[:100_000]


@pytest.mark.parametrize("chunk", [1000, 1 << 20])
def test_corrupt_zstd_delivers_every_whole_block_before_the_damage(tmp_path: Path, chunk: int) -> None:
    packed = bytearray(one_frame(CONTENT))
    middle = len(packed) // 2 + 3000
    packed[middle : middle + 200] = bytes(200)
    path = tmp_path / "file"
    path.write_bytes(packed)
    data, damage = everything(open_source(path), chunk)
    assert damage is not None
    assert "cannot be decompressed past byte" in damage
    assert data == reference_zstd(bytes(packed))
    assert len(data) > 100_000
    assert data == CONTENT[: len(data)]


def test_a_wrong_zstd_checksum_is_damage_but_keeps_the_bytes(tmp_path: Path) -> None:
    packed = bytearray(one_frame(CONTENT))
    packed[-1] ^= 1
    path = tmp_path / "file"
    path.write_bytes(packed)
    data, damage = everything(open_source(path))
    assert data == CONTENT
    assert damage is not None


def test_garbage_after_the_last_frame_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(several_frames(CONTENT) + b"something else entirely")
    data, damage = everything(open_source(path))
    assert data == CONTENT
    assert damage is not None
    assert "magic" in damage


def test_compress_file_makes_an_archive_seekable(tmp_path: Path) -> None:
    (tmp_path / "old.gz").write_bytes(gzip.compress(CONTENT))
    size = compress_file(tmp_path / "old.gz", tmp_path / "new.zst", frame_bytes=30_000)
    source = open_source(tmp_path / "new.zst")
    assert source.seekable
    assert size == (tmp_path / "new.zst").stat().st_size
    assert everything(source) == (CONTENT, None)
    with source.open(123_456) as stream:
        assert stream.read(100) == CONTENT[123_456:123_556]
    with zstandard.ZstdDecompressor().stream_reader(
        (tmp_path / "new.zst").open("rb"), read_across_frames=True
    ) as other:
        assert other.read() == CONTENT
    assert [entry.name for entry in tmp_path.iterdir() if "partial" in entry.name] == []


def test_the_table_at_the_end_and_the_walk_over_the_headers_agree(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(CONTENT)
    compress_file(tmp_path / "plain", tmp_path / "with.zst", frame_bytes=30_000)
    packed = (tmp_path / "with.zst").read_bytes()
    frames = open_source(tmp_path / "with.zst").frames().frames  # type: ignore[attr-defined]
    (tmp_path / "without.zst").write_bytes(packed[: frames[-1].offset + frames[-1].size])
    assert open_source(tmp_path / "without.zst").frames().frames == frames  # type: ignore[attr-defined]


def test_a_damaged_archive_is_not_compressed_anew(tmp_path: Path) -> None:
    (tmp_path / "old.gz").write_bytes(gzip.compress(CONTENT)[:-30])
    with pytest.raises(AcquisitionFileError, match="cut off"):
        compress_file(tmp_path / "old.gz", tmp_path / "new.zst")
    assert [entry.name for entry in tmp_path.iterdir()] == ["old.gz"]
