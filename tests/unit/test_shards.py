"""Shards are what the Zarr specification says: other readers give back the very values that went in."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numcodecs import blosc

from psdbatch.columns import Column
from psdbatch.results.shards import Shard, encode_shard
from psdbatch.results.store import Layout, create_run, create_store, shard_file

DTYPES = ("float32", "float64", "uint8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "bool")
PIPELINES = {"zarr": "zarr.core.codec_pipeline.BatchedCodecPipeline", "zarrs": "zarrs.ZarrsCodecPipeline"}


def encoded(values: np.ndarray[Any, Any], layout: Layout, column: Column) -> Shard:
    return encode_shard(
        values, chunk=layout.chunk, shard=layout.block, level=layout.level, fill_value=column.fill_value()
    )


def store_values(folder: Path, column: Column, layout: Layout, values: np.ndarray[Any, Any]) -> zarr.Array[Any]:
    """Store the values block by block and open the array."""
    create_store(folder / "results.zarr", {})
    create_run(folder / "results.zarr", "run_1", len(values), [column], layout, {})
    for number in range(-(-len(values) // layout.block)):
        shard = encoded(values[number * layout.block : (number + 1) * layout.block], layout, column)
        (folder / "results.zarr" / "run_1" / shard_file(column, number)).write_bytes(b"".join(shard.parts))
    array = zarr.open_group(folder / "results.zarr", mode="r")[f"run_1/{column.name}"]
    assert isinstance(array, zarr.Array)
    return array


@st.composite
def columns(draw: st.DrawFn) -> tuple[Column, Layout, np.ndarray[Any, Any]]:
    """A column of any dtype and trailing shape, cut anyhow, with any values."""
    chunk = draw(st.integers(1, 9))
    layout = Layout(chunk * draw(st.integers(1, 4)), chunk, draw(st.integers(1, 5)))
    shape = draw(st.sampled_from([(), (2,), (3, 2), (1,)]))
    dtype = draw(st.sampled_from(DTYPES))
    values = draw(hnp.arrays(dtype, (draw(st.integers(1, 40)), *shape)))
    dimensions = tuple(f"dimension_{number}" for number in range(len(shape)))
    return Column("values", dtype, "anything", shape=shape, dimensions=dimensions), layout, values


@settings(max_examples=60, deadline=None)
@given(columns())
def test_zarr_reads_what_was_encoded(given: tuple[Column, Layout, np.ndarray[Any, Any]]) -> None:
    column, layout, values = given
    with tempfile.TemporaryDirectory() as folder:
        array = store_values(Path(folder), column, layout, values)
        assert array.dtype == values.dtype
        np.testing.assert_array_equal(array[:], values)
        if len(values) > 2:
            np.testing.assert_array_equal(array[1:-1], values[1:-1])


@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (2,)], ids=["scalar", "classes"])
def test_both_implementations_read_what_was_encoded(
    pipeline: str, dtype: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    if pipeline == "zarrs":
        pytest.importorskip("zarrs")
    values = np.random.default_rng(3).integers(0, 2**16, (150, *shape)).astype(dtype)
    column = Column("values", dtype, "anything", shape=shape, dimensions=("class",)[: len(shape)])
    with zarr.config.set({"codec_pipeline.path": PIPELINES[pipeline]}):
        array = store_values(tmp_path, column, Layout(64, 16, 1), values)
        np.testing.assert_array_equal(array[:], values)
        np.testing.assert_array_equal(array[50:130], values[50:130])


def test_bytes_are_those_of_the_specification() -> None:
    """Decoded here by hand: chunks, table of offsets and sizes, checksums."""
    values = np.arange(21, dtype="uint16")
    shard = encode_shard(values, chunk=8, shard=40, level=1, fill_value=7)
    content = b"".join(shard.parts)
    assert (shard.bytes, shard.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    table, checksum = content[-84:-4], content[-4:]
    assert int.from_bytes(checksum, "little") == google_crc32c.value(table)
    entries = np.frombuffer(table, "<u8").reshape(5, 2)
    assert (entries[3:] == 2**64 - 1).all()
    decoded = []
    for offset, size in entries[:3].astype(int):
        chunk = content[offset : offset + size]
        assert int.from_bytes(chunk[-4:], "little") == google_crc32c.value(chunk[:-4])
        decoded.append(np.frombuffer(blosc.decompress(chunk[:-4]), "<u2"))
    np.testing.assert_array_equal(np.concatenate(decoded), [*range(21), 7, 7, 7])
    assert entries[:3, 1].sum() + 84 == len(content)


def test_values_of_any_memory_layout_give_the_same_bytes() -> None:
    values = np.random.default_rng(1).random((30, 2)).astype("float32")
    wide = np.zeros((60, 4), "float32")
    wide[::2, ::2] = values
    forms = (values, np.asfortranarray(values), wide[::2, ::2], values.astype(">f4"))
    digests = {encode_shard(form, chunk=8, shard=32, level=1, fill_value=0).sha256 for form in forms}
    assert len(digests) == 1


def test_same_values_give_the_same_bytes_in_every_thread() -> None:
    from concurrent.futures import ThreadPoolExecutor

    values = np.random.default_rng(1).integers(0, 900, 300_000).astype("uint16")

    def digest(_: int) -> str:
        return encode_shard(values, chunk=65_536, shard=327_680, level=1, fill_value=0).sha256

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(digest, range(12))) == {digest(0)}


def test_damaged_chunk_is_never_read_as_values(tmp_path: Path) -> None:
    column = Column("values", "uint16", "anything")
    array = store_values(tmp_path, column, Layout(32, 8, 1), np.arange(32, dtype="uint16"))
    path = tmp_path / "results.zarr/run_1/values/c.0"
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises((ValueError, RuntimeError)):
            array[:]
