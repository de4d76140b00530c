"""The second pass: which signals come into which part, and their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.training_set.columns import set_columns
from psdbatch.training_set.facts import PARTS
from psdbatch.training_set.kernels import NONE, draw, order_keys
from psdbatch.training_set.pieces import ENERGY
from psdbatch.training_set.quantities import measure
from psdbatch.training_set.shuffle import KEY, row_dtype
from psdbatch.training_set.sources import PieceReader, SignalSource, SourceFile
from psdbatch.training_set.strata import Strata
from psdbatch.training_set.survey import Counting, Counts, FileSurvey, rows_at_a_time

Array = NDArray[Any]

AT_A_TIME = 1 << 20
GAP = 256
"""Signals in a row of which none is chosen are passed over if there are so many; fewer are read along."""


@dataclass(frozen=True)
class Choice:
    """What was chosen of a file.

    ``codes`` is a file of uint32, ``label * 256 + part`` of each signal that was chosen, else :data:`NONE`; ``order`` selects the random
    numbers that put the signals in order.
    """

    codes: Path
    order: np.uint64


def choose(
    strata: Strata,
    counts: Counts,
    places: Sequence[Array],
    files: Sequence[tuple[FileSurvey, int]],
    keys: Sequence[tuple[np.uint64, np.uint64]],
) -> list[Choice]:
    """Draw from all strata, file after file; the codes of the surveys become those of the choice.

    Parameters
    ----------
    counts
        Its rows are what the codes mean.
    places
        For each group, stratum and group of each code, from :func:`psdbatch.training_set.strata.make_strata`.
    files
        Survey and group of each file.
    keys
        For each file, what selects its random numbers for the choice and for the order.
    """
    left = strata.available.reshape(-1).copy()
    take = strata.take.reshape(-1, len(PARTS)).copy()
    labels = np.repeat(np.array([row[0] for row in counts.rows], np.int64), counts.counts.shape[2])
    choices = []
    for (survey, group), (choice, order) in zip(files, keys, strict=True):
        codes = np.memmap(survey.codes, np.uint32, "r+")
        for first in range(0, len(codes), AT_A_TIME):
            draw(codes[first : first + AT_A_TIME], places[group], labels, left, take, choice, first)
        codes.flush()
        choices.append(Choice(survey.codes, order))
    if take.any() or left.any():
        raise AssertionError("the strata were not counted right")
    return choices


def gather(
    source: SignalSource, file: SourceFile, choice: Choice, counting: Counting, constants: Mapping[str, int]
) -> Iterator[Array]:
    """Rows of the chosen signals of a file, of :func:`psdbatch.training_set.shuffle.row_dtype`, in the order of the file."""
    codes = np.memmap(choice.codes, np.uint32, "r")
    step = rows_at_a_time(file)
    dtype = row_dtype(set_columns(file.samples, file.sample_dtype))
    with source.open(file, step) as reader:
        for begin in range(0, file.signals, step):
            chosen = begin + np.flatnonzero(codes[begin : begin + step] != NONE)
            for numbers in _stretches(chosen):
                rows = _rows(reader, numbers, counting, dtype)
                chosen_codes = codes[numbers]
                rows["label"] = chosen_codes >> 8
                for name, value in constants.items():
                    rows[name] = value
                keys = np.empty(len(numbers), np.uint64)
                order_keys(numbers, chosen_codes & 0xFF, choice.order, keys)
                rows[KEY] = keys
                yield rows


def _stretches(chosen: Array) -> list[Array]:
    """Chosen numbers, divided where many signals between them need not be read."""
    if not len(chosen):
        return []
    return np.split(chosen, np.flatnonzero(np.diff(chosen) > GAP) + 1)


def _rows(reader: PieceReader, numbers: Array, counting: Counting, dtype: np.dtype[Any]) -> Array:
    first = int(numbers[0])
    signals, known = reader.read(first, int(numbers[-1]) - first + 1)
    which = numbers - first
    if len(which) < len(signals):
        signals = signals.take(which)
    measured = measure(signals.samples, counting.signals, counting.charge, counting.pile_up)
    rows = np.empty(len(numbers), dtype)
    rows["samples"] = signals.samples
    for name in ("timestamp", "board", "channel"):
        rows[name] = getattr(signals, name)
    for name in ("amplitude", "charge_long", "charge_short"):
        rows[name] = getattr(measured, name)
    rows["flags"] = signals.flags | measured.flags
    rows["energy"] = known[ENERGY][which] if ENERGY in known else np.nan
    rows["number"] = numbers
    return rows
