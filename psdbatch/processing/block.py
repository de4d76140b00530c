"""The block task: read, infer, encode, commit.  The only place where acquisition, models and results meet.

Straight-line code; a worker runs several of them in threads, so that one block's reading hides behind another's
inference.  Decompression, decoding kernels, TensorFlow and Zstandard all run without the interpreter lock.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.acquisition.format import Damage
from psdbatch.acquisition.signals import Signals
from psdbatch.campaign.plan import Block, PlannedRun
from psdbatch.campaign.reading import RunReader
from psdbatch.campaign.schema import Schema
from psdbatch.columns import REASONS, REFUSED, RESIDUAL, Column, Flag, count_refused, identified, refusal
from psdbatch.models.batching import BatchedEngine

Array = NDArray[Any]

LISTED_REFUSALS = 1000
"""Ranges of refused signals that a commit record lists; the flags column has them all."""


@dataclass
class BlockResult:
    """Everything a block adds to the store, in memory.

    ``seconds`` is the time per stage; ``boards`` counts signals per acquisition board.
    """

    columns: dict[str, Array]
    refused: dict[str, int]
    refusals: tuple[dict[str, Any], ...]
    boards: dict[int, int]
    seconds: dict[str, float] = field(default_factory=dict)


class Stages:
    """Stopwatch for the stages of a block."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to ``stage``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def compute_block(
    run: PlannedRun, block: Block, reader: RunReader, engine: BatchedEngine, schema: Schema, stages: Stages
) -> BlockResult:
    """Answers and columns of one block, batch by batch.

    Parameters
    ----------
    run, block
        What to read.
    reader
        Reads the run's signals; stays at the end of the block for the next one.
    engine
        Turns raw batches into answers.
    schema
        Columns wanted.
    stages
        Takes the times of ``read`` and ``infer``.
    """
    columns = {column.name: column.empty(block.signals) for column in schema.columns}
    signals = _signals_over(columns, run, engine.buffer(min(engine.batch, block.signals)))
    damage: list[Damage] = []
    for first in range(0, block.signals, engine.batch):
        rows = slice(first, min(first + engine.batch, block.signals))
        batch = Signals(
            samples=signals.samples[: rows.stop - rows.start],
            length=signals.length[rows],
            timestamp=signals.timestamp[rows],
            board=signals.board[rows],
            channel=signals.channel[rows],
            flags=signals.flags[rows],
            extra={name: values[rows] for name, values in signals.extra.items()},
        )
        with stages("read"):
            damage += reader.read(block, first, batch)
        with stages("infer"):
            engine.infer(batch.samples, {name: values[rows] for name, values in columns.items()})
    _refuse(columns, schema, signals.length, engine.required)
    if RESIDUAL.name in columns:
        columns[RESIDUAL.name][signals.length < engine.residual_required] = RESIDUAL.fill_value()
    return BlockResult(
        columns,
        *_account(columns["flags"], block, damage),
        boards=_count_boards(identified(columns)["board"]),
        seconds=stages.seconds,
    )


def _signals_over(columns: Mapping[str, Array], run: PlannedRun, samples: Array) -> Signals:
    """Buffer whose identity and extra columns *are* the block's, and whose ``samples`` are one batch."""
    recorded = {column.name for column in run.columns}
    return Signals(
        samples=samples,
        length=np.empty(len(columns["flags"]), np.uint32),
        timestamp=columns["timestamp"],
        board=columns["board"],
        channel=columns["channel"],
        flags=columns["flags"],
        extra={name: values for name, values in columns.items() if name in recorded},
    )


def _refuse(columns: Mapping[str, Array], schema: Schema, length: Array, required: int) -> None:
    """Take the answers from signals that cannot have one; they keep their places."""
    flags = columns["flags"]
    flags[(length < required) & (length > 0)] |= np.uint16(Flag.TOO_SHORT)
    _blank(columns, schema.answers, (flags & np.uint16(REFUSED)) != 0)
    _blank(columns, schema.shape, (flags & np.uint16(Flag.DAMAGED | Flag.NO_SAMPLES)) != 0)


def _blank(columns: Mapping[str, Array], which: tuple[Column, ...], where: Array) -> None:
    if where.any():
        for column in which:
            columns[column.name][where] = column.fill_value()


def _account(flags: Array, block: Block, damage: list[Damage]) -> tuple[dict[str, int], tuple[dict[str, Any], ...]]:
    """Refused signals by reason, and where they are, numbered within the run."""
    reason = refusal(flags)
    if not reason.any():
        return {}, ()
    starts = np.flatnonzero(np.diff(reason, prepend=0) != 0)
    starts = starts[reason[starts] != 0][:LISTED_REFUSALS]
    ends = np.append(np.flatnonzero(np.diff(reason) != 0) + 1, len(reason))
    ends = ends[np.searchsorted(ends, starts, side="right")]
    ranges = [
        {"first": block.first + int(start), "signals": int(end - start), "reason": REASONS[Flag(int(reason[start]))]}
        for start, end in zip(starts, ends, strict=True)
    ]
    causes = [
        {"first": block.first + entry.first, "signals": entry.signals, "offset": entry.offset, "reason": entry.reason}
        for entry in damage[:LISTED_REFUSALS]
    ]
    return count_refused(flags), (*ranges, *causes)


def _count_boards(board: Array) -> dict[int, int]:
    counts = np.bincount(board)
    return {int(number): int(counts[number]) for number in np.flatnonzero(counts)}
