"""Reading what :mod:`psdbatch.results.shards` writes: ranges of a column, decompressed in the thread that calls.

zarr-python gives the same values; for a few columns at a time it needs two to three times as long, most of it not spent
on decompression.  Arrays that another program has written into the store are left to it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs import blosc
from numpy.typing import NDArray

from psdbatch.errors import CampaignError
from psdbatch.results.shards import ABSENT
from psdbatch.results.store import shard_path

Array = NDArray[Any]

CHECKSUM = 4
ENTRY = 16
"""Bytes of a chunk's entry in the table at the end of a shard."""


class StoredColumn:
    """One array of a run's group.

    Attributes
    ----------
    name, dtype, shape
        Name, dtype, and shape of one signal's value.
    signals, block, chunk
        Signals of the run, of a block and of an inner chunk.
    """

    def __init__(self, name: str, array: zarr.Array[Any], run: Path) -> None:
        self.name = name
        self.dtype = np.dtype(array.dtype)
        self.signals, self.shape = array.shape[0], array.shape[1:]
        self.block = (array.shards or array.chunks)[0]
        self.chunk = array.chunks[0]
        self._fill_value = array.fill_value
        self._array = None if _written_here(array) else array
        self._run = run

    def has(self, block: int) -> bool:
        """Whether the block has been written."""
        return self._array is not None or self._shard(block).exists()

    def read(self, first: int, count: int, wanted: NDArray[np.bool_] | None = None) -> Array:
        """Values number ``first`` to ``first + count`` of the run, all in one block.

        Parameters
        ----------
        wanted
            One truth value per signal; inner chunks without a wanted signal are not read, and their values undefined.

        Returns
        -------
        array
            Shape ``(count, *shape)``.

        Raises
        ------
        CampaignError
            The shard is damaged.
        """
        if self._array is not None:
            return np.asarray(self._array[first : first + count])
        block, offset = divmod(first, self.block)
        begin, end = offset // self.chunk, -(-(offset + count) // self.chunk)
        needed = range(begin, end)
        margin = offset - begin * self.chunk
        if wanted is not None:
            edges = np.maximum(np.arange(begin, end) * self.chunk - offset, 0)
            needed = [begin + int(k) for k in np.flatnonzero(np.logical_or.reduceat(wanted, edges))]  # type: ignore[assignment]
        values = np.empty(((end - begin) * self.chunk, *self.shape), self.dtype.newbyteorder("<"))
        rows = values.reshape(end - begin, -1)
        path = self._shard(block)
        try:
            with path.open("rb", buffering=0) as file:
                self._decode(file.fileno(), needed, begin, rows)
        except FileNotFoundError:
            values[...] = self._fill_value
        except (ValueError, RuntimeError) as error:
            raise CampaignError(
                f"{path}: damaged ({error}); 'psdbatch audit' lists all that is, "
                "remove the commit record of block and run again to redo it"
            ) from error
        return values[margin : margin + count]

    def _decode(self, file: int, needed: Any, begin: int, rows: Array) -> None:
        table = self._table(file)
        for group in _neighbours(needed, table):
            offset = table[group[0]][0]
            content = memoryview(_read(file, offset, sum(table[k][1] for k in group)))
            for k in group:
                size = table[k][1]
                blosc.decompress(_checked(content[:size], f"chunk {k}"), rows[k - begin])
                content = content[size:]
        for k in needed:
            if table[k][0] == ABSENT:
                rows[k - begin] = self._fill_value

    def _table(self, file: int) -> list[list[int]]:
        """Offset and size of every inner chunk."""
        size = self.block // self.chunk * ENTRY + CHECKSUM
        start = os.fstat(file).st_size - size
        if start < 0:
            raise ValueError("it is cut short")
        entries = _checked(memoryview(_read(file, start, size)), "its table")
        found: list[list[int]] = np.frombuffer(entries, "<u8").reshape(-1, 2).tolist()
        return found

    def _shard(self, block: int) -> Path:
        return self._run / shard_path(self.name, block, len(self.shape))


def _neighbours(needed: Any, table: list[list[int]]) -> list[list[int]]:
    """Numbers of chunks that lie one after another in the file, for one read each."""
    groups: list[list[int]] = []
    end = None
    for k in needed:
        offset, size = table[k]
        if offset == ABSENT:
            continue
        if offset == end:
            groups[-1].append(k)
        else:
            groups.append([k])
        end = offset + size
    return groups


def _read(file: int, offset: int, size: int) -> bytes:
    content = os.pread(file, size, offset)
    while len(content) < size:
        more = os.pread(file, size - len(content), offset + len(content))
        if not more:
            raise ValueError("it is cut short")
        content += more
    return content


def _checked(content: memoryview, what: str) -> memoryview:
    body, checksum = content[:-CHECKSUM], content[-CHECKSUM:]
    if google_crc32c.value(bytes(body)) != int.from_bytes(checksum, "little"):
        raise ValueError(f"the checksum of {what} is wrong")
    return body


def _written_here(array: zarr.Array[Any]) -> bool:
    """Whether the array is encoded as :func:`psdbatch.results.store.create_run` says."""
    record: dict[str, Any] = array.metadata.to_dict()
    if record.get("zarr_format") != 3 or array.shards is None or array.chunks[1:] != array.shape[1:]:
        return False
    keys, codecs = record["chunk_key_encoding"], record["codecs"]
    if keys["name"] != "default" or keys.get("configuration", {}).get("separator") != "." or len(codecs) != 1:
        return False
    inside = codecs[0].get("configuration", {})
    little = array.dtype.itemsize == 1 or inside["codecs"][0]["configuration"].get("endian") == "little"
    return (
        codecs[0]["name"] == "sharding_indexed"
        and [codec["name"] for codec in inside["codecs"]] == ["bytes", "blosc", "crc32c"]
        and [codec["name"] for codec in inside["index_codecs"]] == ["bytes", "crc32c"]
        and inside.get("index_location", "end") == "end"
        and little
    )
