"""The Zarr store: one group per run, one sharded array per column, made from the plan before the first block.

Layout: ``results.zarr/RUN/COLUMN``; dimension ``signal`` first; block number ``k`` is the shard file ``c.k`` (``c.k.0``
for arrays with one trailing dimension), whole or absent.  An absent shard reads as "no answer": label 255, NaN.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec

from psdbatch.columns import Column
from psdbatch.results.shards import COMPRESSION_BLOCK

SIGNAL = "signal"


@dataclass(frozen=True)
class Layout:
    """How signals are cut: ``block`` signals in a shard, ``chunk`` in an inner chunk, compressed at ``level``."""

    block: int
    chunk: int
    level: int


def shard_file(column: Column, block: int) -> str:
    """Path of a block's shard below the run's group."""
    return f"{column.name}/{'.'.join(['c', str(block), *['0'] * len(column.shape)])}"


def create_store(path: Path, attributes: Mapping[str, Any]) -> None:
    """Make the root group, or set the attributes of the one that is there."""
    zarr.open_group(path, mode="a").attrs.put(dict(attributes))


def create_run(
    store: Path,
    run: str,
    signals: int,
    columns: Iterable[Column],
    layout: Layout,
    attributes: Mapping[str, Any],
) -> None:
    """Make a run's group with all its arrays, or leave the one that is there alone.

    The group is made aside and renamed, so that it exists whole or not at all.

    Parameters
    ----------
    store
        The root group, made by :func:`create_store`.
    signals
        Length of every array.
    columns
        One array each.
    attributes
        Attributes of the group.
    """
    if (store / run).exists():
        return
    aside = store.with_name(f"{store.name}.{uuid.uuid4().hex}.partial")
    try:
        group = zarr.open_group(aside, mode="w-", attributes=dict(attributes))
        for column in columns:
            _create_array(group, column, signals, layout)
        try:
            aside.rename(store / run)
        except OSError:  # made by another coordinator in the same moment
            if not (store / run / "zarr.json").exists():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _create_array(group: zarr.Group, column: Column, signals: int, layout: Layout) -> None:
    group.create_array(
        column.name,
        shape=(signals, *column.shape),
        chunks=(layout.chunk, *column.shape),
        shards=(layout.block, *column.shape),
        dtype=column.dtype,
        serializer=BytesCodec(endian="little"),
        compressors=[_compressor(column, layout), Crc32cCodec()],
        fill_value=column.fill_value(),
        dimension_names=(SIGNAL, *column.dimensions),
        chunk_key_encoding={"name": "default", "separator": "."},
        attributes={
            "long_name": column.meaning,
            **({"units": column.unit} if column.unit else {}),
            **column.attributes,
        },
    )


def _compressor(column: Column, layout: Layout) -> BloscCodec:
    return BloscCodec(
        typesize=np.dtype(column.dtype).itemsize,
        cname="zstd",
        clevel=layout.level,
        shuffle="bitshuffle",
        blocksize=COMPRESSION_BLOCK,
    )


def consolidate(store: Path) -> None:
    """Gather the metadata of all groups and arrays in the root, so that opening needs one read."""
    zarr.consolidate_metadata(store, zarr_format=3)
