"""The Zarr store: one group per run, one sharded array per column, made from the plan before the first block.

Layout: ``results.zarr/RUN/COLUMN``; dimension ``signal`` first; block number ``k`` is the shard file ``c.k`` (``c.k.0``
for arrays with one trailing dimension), whole or absent.  An absent shard reads as "no answer": label 255, NaN.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from psdbatch.columns import Column
from psdbatch.results.shards import COMPRESSION_BLOCK

SIGNAL = "signal"
METADATA = "zarr.json"


@dataclass(frozen=True)
class Layout:
    """How signals are cut: ``block`` signals in a shard, ``chunk`` in an inner chunk, compressed at ``level``."""

    block: int
    chunk: int
    level: int


def shard_file(column: Column, block: int) -> str:
    """Path of a block's shard below the run's group."""
    return shard_path(column.name, block, len(column.shape))


def shard_path(column: str, block: int, dimensions: int) -> str:
    """The same for a column known by its name and the number of its trailing dimensions."""
    return f"{column}/{'.'.join(['c', str(block), *['0'] * dimensions])}"


def create_store(path: Path, attributes: Mapping[str, Any]) -> None:
    """Make the root group, or set the attributes of the one that is there, even if its metadata are damaged."""
    path.mkdir(exist_ok=True)
    _sync(path.parent)
    try:
        root = json.loads((path / METADATA).read_bytes())
        known = root["attributes"]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        known = None
    wanted = json.loads(json.dumps(dict(attributes)))
    if known != wanted:
        # Without consolidated metadata, until the next pass ends: they may not know the runs that are added now.
        root = {"attributes": wanted, "zarr_format": 3, "node_type": "group"}
        _replace_root(path, json.dumps(root, indent=2).encode())


def create_run(
    store: Path,
    run: str,
    signals: int,
    columns: Iterable[Column],
    layout: Layout,
    attributes: Mapping[str, Any],
    replace: bool = False,
) -> None:
    """Make a run's group with all its arrays, or leave the one that is there alone.

    The group is made aside, synced to the disk and renamed, so that it exists whole or not at all; after a power
    cut too, for the shards of finished blocks must not vanish with their directories.

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
    replace
        Make a group again that was made for something else, by a start that ended before there was a plan.
    """
    columns = tuple(columns)
    if replace and (store / run).exists() and not _made_for(store / run, signals, columns, layout, attributes):
        shutil.rmtree(store / run)
    if not (store / run).exists():
        _make_run(store, run, signals, columns, layout, attributes)
    for left in store.parent.glob(_aside(store, run, "?" * 32).name):  # by those who were killed while they made it
        shutil.rmtree(left, ignore_errors=True)


def _make_run(
    store: Path, run: str, signals: int, columns: Iterable[Column], layout: Layout, attributes: Mapping[str, Any]
) -> None:
    aside = _aside(store, run, uuid.uuid4().hex)
    try:
        group = zarr.open_group(aside, mode="w-", attributes=dict(attributes))
        for column in columns:
            _create_array(group, column, signals, layout)
        for path in (*aside.rglob("*"), aside):
            _sync(path)
        os.rename(aside, store / run)  # noqa: PTH104 - the tests intercept os
    except OSError:
        if not (store / run / METADATA).exists():  # else another coordinator was first
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    _sync(store)


def _made_for(
    path: Path, signals: int, columns: tuple[Column, ...], layout: Layout, attributes: Mapping[str, Any]
) -> bool:
    group = zarr.open_group(path, mode="r", use_consolidated=False)
    made = {name: (array.shape, array.shards, array.dtype) for name, array in group.arrays()}
    wanted = {
        column.name: ((signals, *column.shape), (layout.block, *column.shape), np.dtype(column.dtype))
        for column in columns
    }
    return made == wanted and json.loads(json.dumps(dict(group.attrs))) == json.loads(json.dumps(dict(attributes)))


def _aside(store: Path, run: str, unique: str) -> Path:
    return store.with_name(f"{store.name}.{unique}.{run}.partial")


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


def read_metadata(store: Path) -> dict[str, bytes]:
    """Every metadata file of the store by its path below it."""
    paths = (path for depth in ("", "*/", "*/*/") for path in sorted(store.glob(depth + METADATA)))
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in paths}


def checksums(metadata: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 of every metadata file."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in metadata.items()}


def consolidate(store: Path, metadata: Mapping[str, bytes]) -> dict[str, bytes]:
    """Gather the metadata of all groups and arrays in the root, so that opening needs one read.

    Parameters
    ----------
    metadata
        From :func:`read_metadata`.

    Returns
    -------
    dict
        The metadata as they are now.
    """
    buffer = default_buffer_prototype().buffer
    copy = {name: buffer.from_bytes(content) for name, content in metadata.items()}
    with warnings.catch_warnings():
        # zarr warns that other implementations may pass over consolidated metadata; they lose nothing by that.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(MemoryStore(copy), zarr_format=3)  # which keeps its objects in the dictionary
    content = copy[METADATA].to_bytes()
    if content != metadata[METADATA]:
        _replace_root(store, content)
    return {**metadata, METADATA: content}


def _replace_root(store: Path, content: bytes) -> None:
    """Replace the root's metadata at once and for good; the new file begins outside, where no reader looks."""
    partial = store.with_name(f".{store.name}.{uuid.uuid4().hex}")
    try:
        partial.write_bytes(content)
        _sync(partial)
        os.replace(partial, store / METADATA)  # noqa: PTH105
    finally:
        partial.unlink(missing_ok=True)
    _sync(store)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
