"""Columns of all runs as Dask arrays: a chunk is a block, and is read by :mod:`psdbatch.results.decoding`.

A graph is made of places only, when it is computed: so opening costs nothing per block, and a task that travels to another
process holds a path and three numbers.
"""

from __future__ import annotations

import uuid
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import dask.array
import numpy as np
import zarr
from dask.blockwise import BlockwiseDep, blockwise
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from psdbatch.columns import Column
from psdbatch.results.contents import StoredRun
from psdbatch.results.decoding import StoredColumn

Array = NDArray[Any]

OPEN_COLUMNS = 4096
"""Columns of runs that a process keeps open."""


class Place(NamedTuple):
    """A block: ``signals`` signals from number ``first`` on of the run in folder ``path``; ``number`` counts the runs."""

    path: str
    number: int
    first: int
    signals: int


class Places(BlockwiseDep):  # type: ignore[misc]
    """Block by block, where the signals of some runs lie.

    Attributes
    ----------
    chunks
        Signals of each block.
    """

    produces_tasks = False

    def __init__(self, runs: Sequence[StoredRun]) -> None:
        self._runs = [(str(run.path), run.signals, run.block if run.signals else 1) for run in runs]
        self._ends = list(accumulate(-(-signals // block) for _, signals, block in self._runs))
        self.numblocks = (self._ends[-1],)
        self.chunks = tuple(self[(number,)].signals for number in range(self._ends[-1]))

    def __getitem__(self, idx: tuple[int, ...]) -> Place:
        number = bisect_right(self._ends, idx[0])
        path, signals, block = self._runs[number]
        first = (idx[0] - (self._ends[number - 1] if number else 0)) * block
        return Place(path, number, first, min(block, signals - first))


def lazy_column(places: Places, column: Column) -> Any:
    """A column of all runs as a Dask array ``(signals, *column.shape)``; runs that have none of that name hold its fill value."""
    return _lazy(places, _read, np.dtype(column.dtype), column.shape, column)


def run_numbers(places: Places) -> Any:
    """Number of each signal's run as a Dask array, uint32 ``(signals,)``."""
    return _lazy(places, _number, np.dtype(np.uint32), ())


def _lazy(places: Places, function: Any, dtype: np.dtype[Any], shape: tuple[int, ...], *more: Any) -> Any:
    if not places.chunks:
        return dask.array.zeros((0, *shape), dtype=dtype)
    name = f"{function.__name__.strip('_')}-{uuid.uuid4().hex}"
    axes = tuple(range(1 + len(shape)))
    constants = [argument for one in more for argument in (one, None)]
    sizes = dict(zip(axes[1:], shape, strict=True))
    layer = blockwise(function, name, axes, places, axes[:1], *constants, numblocks={}, new_axes=sizes)
    graph = HighLevelGraph.from_collections(name, layer, dependencies=())
    chunks = (places.chunks, *((size,) for size in shape))
    return dask.array.Array(graph, name, chunks, dtype=dtype, meta=np.empty((0,) * len(axes), dtype))


def _read(place: Place, column: Column) -> Array:
    stored = _open(place.path, column.name)
    if stored is None:
        return np.full((place.signals, *column.shape), column.fill_value(), column.dtype)
    return stored.read(place.first, place.signals).astype(column.dtype, copy=False)


def _number(place: Place) -> Array:
    return np.full(place.signals, place.number, np.uint32)


@lru_cache(OPEN_COLUMNS)
def _open(run: str, name: str) -> StoredColumn | None:
    """Opened once for all blocks of a run; the shape of its array never changes."""
    path = Path(run)
    if not (path / name / "zarr.json").exists():
        return None
    return StoredColumn(name, zarr.open_array(path / name, mode="r"), path)
