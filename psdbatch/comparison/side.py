"""One side of a comparison: a store, which of its signals count, and how their classes are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from psdbatch.campaign.commit import CommitRecord
from psdbatch.campaign.directory import BlockName, CampaignDirectory
from psdbatch.columns import FLAGS, IDENTITY, NO_LABEL, SHAPE, Flag
from psdbatch.comparison.errors import ComparisonError
from psdbatch.comparison.rows import KNOWN, LABEL, NUMBER, STATE, Array, Rows, State
from psdbatch.results.contents import Contents, StoredRun
from psdbatch.results.decoding import StoredColumn

PROBABILITY = "probability"


class Answers(Protocol):
    """How the class of a signal follows from stored columns."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of classes 0, 1 and following."""

    def needs(self, run: StoredRun) -> tuple[str, ...]:
        """Stored columns that :meth:`read` takes."""

    def read(self, columns: Mapping[str, Array]) -> Mapping[str, Array]:
        """Column ``label`` (int16, -1 without an answer), and ``probability`` where there is one."""


class CampaignAnswers:
    """What the campaign's own model answered."""

    def __init__(self, contents: Contents) -> None:
        self.classes = contents.classes

    def needs(self, run: StoredRun) -> tuple[str, ...]:
        if LABEL not in run.arrays:
            raise ComparisonError(
                f"{run.path}: holds no 'label': the model is no classifier, so there are no classes to compare; "
                f"columns: {', '.join(sorted(run.arrays))}"
            )
        return (LABEL, PROBABILITY) if PROBABILITY in run.arrays else (LABEL,)

    def read(self, columns: Mapping[str, Array]) -> Mapping[str, Array]:
        label = columns[LABEL].astype(np.int16)
        label[label == NO_LABEL] = -1
        found = {LABEL: label}
        return found | {PROBABILITY: columns[PROBABILITY]} if PROBABILITY in columns else found


@dataclass(frozen=True)
class Side:
    """A store as one side of a comparison.

    Attributes
    ----------
    name
        What people call it.
    contents
        Its runs.
    directory
        The campaign it belongs to, whose commit records tell blocks that were given up; None for a store alone.
    answers
        How classes are read.
    samples
        True: signals recorded with samples count only; False: those without; None: all.
    """

    name: str
    contents: Contents
    directory: CampaignDirectory | None
    answers: Answers
    samples: bool | None = None

    def run(self, name: str, detailed: bool = True) -> RunSide:
        """One run; ``detailed`` with the quantities that plots and exports need."""
        return RunSide(self, next(run for run in self.contents.runs if run.name == name), detailed)


def campaign_of(contents: Contents) -> CampaignDirectory | None:
    """The campaign directory that a store lies in, if it does."""
    directory = CampaignDirectory(contents.store.parent)
    return directory if directory.plan.exists() and directory.store.name == contents.store.name else None


class RunSide:
    """One run of a side, read piece by piece from any thread."""

    def __init__(self, side: Side, run: StoredRun, detailed: bool) -> None:
        self.stored, self._side = run, side
        self._answers = side.answers.needs(run)
        wanted = {column.name for column in IDENTITY} | {*self._answers, FLAGS.name}
        if detailed:
            wanted |= {column.name for column in SHAPE}
        opened = {name: run.open(name) for name in sorted(wanted)}
        self._columns: dict[str, StoredColumn] = {name: column for name, column in opened.items() if column is not None}
        self._detailed = detailed
        missing = {column.name for column in IDENTITY} - self._columns.keys()
        if missing:
            raise ComparisonError(f"{run.path}: holds no {', '.join(sorted(missing))}; is it a store of psdbatch?")
        self._block = self._columns[IDENTITY[0].name].block
        self._given_up = lru_cache(maxsize=1024)(self._was_given_up)

    def spans(self, size: int) -> Iterator[tuple[int, int]]:
        """``(first, count)`` of pieces that cover the run; whole inner chunks, so that none is decompressed twice."""
        chunk = self._columns[IDENTITY[0].name].chunk
        step = max(1, size // chunk) * chunk
        for first in range(0, self.stored.signals, step):
            yield first, min(step, self.stored.signals - first)

    def rows(self, first: int, count: int) -> Rows:
        """Signals number ``first`` to ``first + count`` of the run."""
        known, state = self._blocks(first, count)
        values = {name: self._read(column, first, count) for name, column in self._columns.items()}
        found = dict(self._side.answers.read({name: values[name] for name in self._answers}))
        state[(state == State.ANSWERED) & (found[LABEL] < 0)] = State.REFUSED
        found[LABEL][state != State.ANSWERED] = -1
        kept = {column.name for column in (*IDENTITY, *(SHAPE if self._detailed else ()))} | {FLAGS.name}
        found |= {name: values[name] for name in values if name in kept}
        number = np.arange(first, first + count)
        return Rows({**found, STATE: state, KNOWN: known, NUMBER: number})

    def counts(self, rows: Rows) -> NDArray[np.bool_]:
        """Which of the rows this side is asked for; where nothing is known of a signal, it counts."""
        if self._side.samples is None or FLAGS.name not in rows:
            return np.ones(len(rows), bool)
        without = (rows[FLAGS.name] & np.uint16(Flag.NO_SAMPLES)) != 0
        return np.asarray((without != self._side.samples) | ~rows[KNOWN])

    def _blocks(self, first: int, count: int) -> tuple[NDArray[np.bool_], Array]:
        """Whether identities are stored, and the state as far as the block decides it."""
        known, state = np.ones(count, bool), np.full(count, State.ANSWERED, np.uint8)
        for block in range(first // self._block, -(-(first + count) // self._block)):
            if self._columns[IDENTITY[0].name].has(block):
                continue
            inside = slice(max(block * self._block - first, 0), (block + 1) * self._block - first)
            known[inside] = False
            state[inside] = State.REFUSED if self._given_up(block) else State.UNFINISHED
        return known, state

    def _was_given_up(self, block: int) -> bool:
        directory = self._side.directory
        if directory is None:
            return False
        path = directory.record(BlockName(self.stored.name, block))
        return path.exists() and CommitRecord.read(path).quarantine is not None

    def _read(self, column: StoredColumn, first: int, count: int) -> Array:
        edges = range(first // column.block, -(-(first + count) // column.block))
        parts = []
        for block in edges:
            begin, end = max(first, block * column.block), min(first + count, (block + 1) * column.block)
            parts.append(column.read(begin, end - begin))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def open_side(path: Path, run: str | None, name: str) -> Side:
    """The answers of a campaign's own model.

    Raises
    ------
    CampaignError
        No results there, or no such run.
    """
    contents = Contents(path, run)
    return Side(name, contents, campaign_of(contents), CampaignAnswers(contents))
