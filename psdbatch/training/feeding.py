"""Signals for a replica: its rows of every global batch, read ahead from the stored set.

A global batch is the same list of signals however many replicas share it.  Chunks stay in memory as long as there is
room for them, so that a set that fits is read once.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.training.order import Order
from psdbatch.training_set.store import Part

AHEAD = 8
"""Batches that are made while the device works."""

NAMES = ("samples", "label")

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Share:
    """Which rows of a global batch a replica takes: number ``rank`` of ``replicas`` parts, equal but for two rows.

    The parts begin at even places: a signal and the one that augmentation may add to it stay together.
    """

    rank: int = 0
    replicas: int = 1

    def rows(self, count: int) -> slice:
        """Its rows of a batch of ``count``."""
        pairs = (count + 1) // 2
        ends = (2 * (rank * pairs // self.replicas) for rank in (self.rank, self.rank + 1))
        return slice(*(min(end, count) for end in ends))

    def most(self, count: int) -> int:
        """Rows that no replica exceeds."""
        return 2 * -(-((count + 1) // 2) // self.replicas)


@dataclass(frozen=True)
class Batch:
    """A replica's rows of a global batch.  Surplus rows repeat a signal and weigh nothing, so that shapes are static.

    Attributes
    ----------
    first, stop
        Places of the global batch in the epoch.
    raw
        Samples as recorded, ``(rows, samples)``.
    label
        int32, ``(rows,)``.
    weight
        float32, ``(rows,)``; 0 for surplus rows.
    number
        Place of each row in the epoch, int64 ``(rows,)``; -1 for surplus rows.
    """

    first: int
    stop: int
    raw: NDArray[Any]
    label: NDArray[np.int32]
    weight: NDArray[np.float32]
    number: NDArray[np.int64]

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """What a step needs."""
        return self.raw, self.label, self.weight, self.number


class Feed:
    """Batches of one part of a set.

    Parameters
    ----------
    part
        From :meth:`psdbatch.training_set.store.StoredSet.part`.
    share
        The replica's.
    weights
        Weight of each class in the loss, float32 ``(classes,)``.
    memory
        Bytes of chunks that may be kept.
    """

    def __init__(self, part: Part, share: Share, weights: NDArray[np.float32], memory: int) -> None:
        self.part, self.share = part, share
        self._weights = weights
        self._room = memory
        self._kept: dict[int, Columns] = {}

    def order(self, seed: int = 0, epoch: int | None = None) -> Order:
        """Order of an epoch; without one, the stored order."""
        return Order(len(self.part), self.part.chunk, seed, epoch)

    def batches(self, order: Order, batch: int, first: int = 0) -> Iterator[Batch]:
        """The replica's rows of all global batches of ``batch`` signals from place ``first`` on; the last may be smaller."""
        return _ahead(self._batches(order, batch, first))

    def _batches(self, order: Order, batch: int, first: int) -> Iterator[Batch]:
        most = self.share.most(batch)
        columns: Columns = {}
        begin = first  # place of the first signal in `columns`
        pool = order.pool_at(first) if first < order.size else len(order.starts)
        while first < order.size:
            stop = min(first + batch, order.size)
            while not columns or begin + len(columns["label"]) < stop:
                more = self._pool(order, pool)
                if not columns:
                    columns, begin = more, int(order.starts[pool])
                else:
                    columns = {name: np.concatenate([columns[name][first - begin :], more[name]]) for name in NAMES}
                    begin = first
                pool += 1
            yield self._cut(columns, first - begin, first, stop, most)
            first = stop

    def _cut(self, columns: Columns, offset: int, first: int, stop: int, most: int) -> Batch:
        rows = self.share.rows(stop - first)
        real = rows.stop - rows.start
        places = np.full(most, min(rows.start, stop - first - 1))
        places[:real] = np.arange(rows.start, rows.stop)
        label = columns["label"][offset + places].astype(np.int32)
        weight = self._weights[label]
        number = first + places.astype(np.int64)
        weight[real:], number[real:] = 0, -1
        return Batch(first, stop, columns["samples"][offset + places], label, weight, number)

    def _pool(self, order: Order, pool: int) -> Columns:
        chunks = [self._chunk(number) for number in order.chunks_of(pool)]
        mixed = order.mixed(pool)
        return {name: np.concatenate([chunk[name] for chunk in chunks])[mixed] for name in NAMES}

    def _chunk(self, number: int) -> Columns:
        if number in self._kept:
            return self._kept[number]
        size = self.part.chunk
        columns = self.part.read(number * size, (number + 1) * size, NAMES)
        bytes_ = sum(column.nbytes for column in columns.values())
        if bytes_ <= self._room:
            self._room -= bytes_
            self._kept[number] = columns
        return columns


def class_weights(counts: dict[str, int], classes: tuple[str, ...], rule: str) -> NDArray[np.float32]:
    """Weight of each class: 1, or with ``rule`` 'balanced' inverse to its signals in ``counts``, 1 on average."""
    found = np.array([counts.get(name, 0) for name in classes], float)
    if rule != "balanced":
        return np.ones(len(classes), np.float32)
    there = found > 0
    weights = np.zeros(len(classes))
    weights[there] = found.sum() / (there.sum() * found[there])
    return weights.astype(np.float32)


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, made by a thread of their own some steps before they are needed."""
    made: queue.Queue[Batch | BaseException | None] = queue.Queue(AHEAD)
    ended = threading.Event()

    def put(item: Batch | BaseException | None) -> bool:
        while not ended.is_set():
            try:
                made.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def make() -> None:
        try:
            for batch in batches:
                if not put(batch):
                    return
            put(None)
        except BaseException as error:
            put(error)

    threading.Thread(target=make, name="feeding", daemon=True).start()
    try:
        while (item := made.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        ended.set()
