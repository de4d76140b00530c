"""The first pass: every signal of a file is read, labelled, measured and counted; none is kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.columns import NO_LABEL, REASONS, REFUSED, Flag, refusal
from psdbatch.config import Charge, PileUp, SignalShape
from psdbatch.training_set.grid import Grid
from psdbatch.training_set.kernels import NONE, same_neighbours, tally
from psdbatch.training_set.pieces import CERTAINTY, Piece
from psdbatch.training_set.quantities import measure
from psdbatch.training_set.sources import SignalSource, SourceFile

Array = NDArray[Any]

POSITIONS = 100
"""Stretches of a source in which the classes are counted."""

PIECE_BYTES = 8 << 20
"""Samples read at a time; small enough for several threads, large enough for the loops."""

NO_RULE = "without a label"
SHORTER = "fewer samples than the other signals"
UNCERTAIN = "certainty outside the range wanted"
OUTSIDE = "amplitude outside the strata"


@dataclass(frozen=True)
class Counting:
    """What the signals are measured and counted with, the same for all sources."""

    classes: int
    signals: SignalShape
    charge: Charge
    pile_up: PileUp
    grid: Grid
    channels: bool


class Counts:
    """Signals of all files in rows of class and channel and steps of amplitude; several threads count at the same time.

    Attributes
    ----------
    rows
        ``(class, board, channel)`` of each row; board and channel are -1 where they make no stratum.
    """

    def __init__(self, steps: int, groups: int) -> None:
        self.rows: list[tuple[int, int, int]] = []
        self._space = np.zeros((groups, 16, steps), np.int64)
        self._numbers: dict[tuple[int, int, int], int] = {}
        self._lock = Lock()

    @property
    def counts(self) -> Array:
        """Signals by group, row and step, int64 ``(groups, rows, steps)``."""
        return self._space[:, : len(self.rows)]

    def number(self, row: tuple[int, int, int]) -> int:
        """Number of a row, a new one if it has none yet."""
        with self._lock:
            if row not in self._numbers:
                self._numbers[row] = len(self.rows)
                self.rows.append(row)
                if len(self.rows) > self._space.shape[1]:
                    self._space = np.concatenate([self._space, np.zeros_like(self._space)], axis=1)
            return self._numbers[row]

    def add(self, group: int, codes: Array) -> None:
        """Count signals by their codes, ``row * steps + step``."""
        with self._lock:
            tally(codes, self._space[group].reshape(-1))


@dataclass
class FileSurvey:
    """What the first pass found in a file.

    Attributes
    ----------
    positions
        Labelled signals by stretch of the source and class, int64 ``(POSITIONS, classes)``.
    neighbours
        Pairs of neighbours among labelled signals, and those of one class.
    left_out
        Signals left out by reason.
    codes
        File that holds the code ``row * steps + step`` of each signal, uint32, or :data:`NONE`.
    """

    positions: Array
    neighbours: Array
    left_out: Counter[str]
    codes: Path

    @property
    def labelled(self) -> Array:
        """Labelled signals of each class, those outside the strata included."""
        return np.asarray(self.positions.sum(axis=0))


def rows_at_a_time(file: SourceFile) -> int:
    """Signals to read at a time."""
    row = file.samples * np.dtype(file.sample_dtype).itemsize
    return int(np.clip(PIECE_BYTES // row, 64, 32_768))


def survey_file(
    source: SignalSource,
    file: SourceFile,
    offset: int,
    counting: Counting,
    counts: Counts,
    group: int,
    codes: Path,
) -> FileSurvey:
    """Count the signals of ``file``, whose first one is number ``offset`` of its source, as those of ``group``.

    Raises
    ------
    PsdbatchError
        The file cannot be read.
    """
    rows = rows_at_a_time(file)
    found = FileSurvey(np.zeros((POSITIONS, counting.classes), np.int64), np.zeros(2, np.int64), Counter(), codes)
    table: dict[tuple[int, int], int] = {}  # the file's own copy of row numbers, asked without a lock
    last = NO_LABEL
    with source.open(file, rows) as reader, codes.open("wb") as out:
        for first in range(0, file.signals, rows):
            signals, known = reader.read(first, min(rows, file.signals - first))
            measured = measure(signals.samples, counting.signals, counting.charge, counting.pile_up)
            piece = Piece(first, signals, measured, known)
            labels = label_piece(source, file, piece, found.left_out)
            last = same_neighbours(labels, last, found.neighbours)
            _count_positions(labels, (offset + first, source.signals), found.positions)
            _leave_out_of_strata(piece, labels, counting, found.left_out)
            code = _codes(piece, labels, counting, counts, table)
            counts.add(group, code)
            out.write(code.data)
    return found


def label_piece(source: SignalSource, file: SourceFile, piece: Piece, left_out: Counter[str]) -> Array:
    """Labels of a piece, uint8; 255 for signals that are left out, which ``left_out`` counts by reason."""
    labels = source.rule.labels(piece)
    unusable = (piece.signals.flags & np.uint16(REFUSED)) != 0
    if unusable.any():
        _leave_out(labels, unusable, None, left_out)
        bits, counts = np.unique(refusal(piece.signals.flags[unusable]), return_counts=True)
        left_out.update({REASONS[Flag(int(bit))]: int(count) for bit, count in zip(bits, counts, strict=True)})
    _leave_out(labels, ~unusable & (piece.signals.length < file.samples), SHORTER, left_out)
    rest = ~unusable & (piece.signals.length >= file.samples)
    if CERTAINTY in piece.known:
        low, high = source.settings.certainty
        certainty = piece.known[CERTAINTY]
        uncertain = rest & ~((certainty >= low) & (certainty <= high))
        _leave_out(labels, uncertain, UNCERTAIN, left_out)
        rest &= ~uncertain
    _leave_out(labels, rest & (labels == NO_LABEL), NO_RULE, left_out)
    return labels


def _leave_out(labels: Array, which: Array, reason: str | None, left_out: Counter[str]) -> None:
    if which.any():
        labels[which] = NO_LABEL
        if reason:
            left_out[reason] += int(which.sum())


def _count_positions(labels: Array, place: tuple[int, int], positions: Array) -> None:
    first, total = place
    stretch = (np.arange(first, first + len(labels), dtype=np.int64) * POSITIONS) // total
    good = labels != NO_LABEL
    classes = positions.shape[1]
    flat = np.bincount(stretch[good] * classes + labels[good], minlength=positions.size)
    positions += flat.reshape(positions.shape)


def _leave_out_of_strata(piece: Piece, labels: Array, counting: Counting, left_out: Counter[str]) -> None:
    outside = (labels != NO_LABEL) & (counting.grid.places(piece.measured.amplitude) < 0)
    _leave_out(labels, outside, OUTSIDE, left_out)


def _codes(piece: Piece, labels: Array, counting: Counting, counts: Counts, table: dict[tuple[int, int], int]) -> Array:
    """Code of each signal of a piece, uint32; :data:`NONE` for those left out."""
    good = labels != NO_LABEL
    signals = piece.signals
    channel = signals.board[good].astype(np.uint32) << 16 | signals.channel[good]
    distinct, which = np.unique(channel if counting.channels else np.zeros_like(channel), return_inverse=True)
    kind = which.reshape(-1) * counting.classes + labels[good]
    numbers = np.zeros(len(distinct) * counting.classes, np.int64)
    for present in np.flatnonzero(np.bincount(kind, minlength=len(numbers))):
        code, label = int(distinct[present // counting.classes]), int(present % counting.classes)
        if (label, code) not in table:
            row = (label, code >> 16, code & 0xFFFF) if counting.channels else (label, -1, -1)
            table[label, code] = counts.number(row)
        numbers[present] = table[label, code]
    codes = np.full(len(labels), NONE, np.uint32)
    codes[good] = numbers[kind] * counting.grid.steps + counting.grid.places(piece.measured.amplitude)[good]
    return codes
