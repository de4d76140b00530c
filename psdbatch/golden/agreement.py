"""Do two engines give the same answers?  Stated limits, column by column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from psdbatch.columns import NO_LABEL, RESIDUAL, SHAPE, Flag
from psdbatch.errors import ModelError
from psdbatch.golden.batch import Array, Reference
from psdbatch.models.batching import BatchedEngine

SHAPE_TOLERANCE = 1e-4
"""For amplitude and charges, as a fraction: they do not depend on the network, so neither on its tolerance."""

TURNED = 0.01
"""Part of the signals whose decisions may be others: integer outputs and the pile-up flag, which a last bit can turn."""

_ROWS = 8192  # rows compared at a time


@dataclass(frozen=True)
class Difference:
    """How far a column is from the reference.

    Attributes
    ----------
    column
        Its name.
    distance
        Largest difference in units of what is tolerated; above 1 it is not.
    signals
        Signals that are further off than tolerated.
    signal, value, expected
        The worst one: its number in the reference, what it has here and what it should have.
    """

    column: str
    distance: float
    signals: tuple[int, ...]
    signal: int
    value: Any
    expected: Any


def compare(
    engine: BatchedEngine, reference: Reference, empty: Mapping[str, Array], tolerance: float
) -> list[Difference]:
    """Differences of an engine's answers from the reference, the worst column first.

    The engine gets whole batches of its own size, filled with the golden signals over and over: the same signal must
    have the same answer wherever it stands.

    Parameters
    ----------
    empty
        Arrays for one batch of answers, by column; their content does not matter.
    tolerance
        ``processing.tolerance``.

    Raises
    ------
    ModelError
        The reference holds other columns than the engine gives.
    """
    if {*empty} != {*reference.answers}:
        held, made = (", ".join(sorted(names)) for names in (reference.answers, empty))
        raise ModelError(f"the reference answers are for the columns {held}; the model gives {made}")
    signals = len(reference.samples)
    if not signals:
        return []
    expected = _told_apart(reference.answers)
    allowed = {name: _allowed(name, values, tolerance) for name, values in expected.items()}
    columns = {name: _Column(name, values) for name, values in expected.items()}
    samples = engine.buffer(engine.batch)
    for first in range(0, signals, engine.batch):
        numbers = (first + np.arange(engine.batch)) % signals
        samples[:] = reference.samples[numbers]
        empty["flags"][:] = 0
        engine.infer(samples, empty)
        answers = _told_apart(empty)
        for rows in _pieces(engine.batch):
            for name, column in columns.items():
                which = numbers[rows]
                if name == "label":
                    far = _label(answers[name][rows], which, expected, tolerance)
                else:
                    far = _far(answers[name][rows], expected[name][which], allowed[name][which])
                column.add(far, which, answers[name][rows])
    return sorted((column.difference() for column in columns.values()), key=lambda entry: -entry.distance)


class _Column:
    """Largest distance of each signal in one column, and the worst value."""

    def __init__(self, name: str, expected: Array) -> None:
        self._name, self._expected = name, expected
        self._distance = np.full(len(expected), -1.0)
        self._worst: tuple[int, Any, Any] = (0, None, None)

    def add(self, far: Array, which: Array, values: Array) -> None:
        """Take note of rows: ``far`` of shape ``(rows, ...)``, the signals that they are, their values."""
        flat = far.reshape(len(far), -1)
        rows = flat.max(axis=1, initial=0.0)
        row = int(rows.argmax())
        if rows[row] > self._distance.max():
            place = np.unravel_index(int(flat[row].argmax()), far.shape[1:]) if flat.shape[1] else ()
            signal = int(which[row])
            self._worst = (signal, values[row][place].item(), self._expected[signal][place].item())
        np.maximum.at(self._distance, which, rows)

    def difference(self) -> Difference:
        """What is to say about the column."""
        over = self._distance > 1
        if _is_decision(self._name, self._expected) and over.sum() <= TURNED * len(over):
            self._distance[over], over = 1.0, np.zeros_like(over)
        numbers = tuple(int(number) for number in np.flatnonzero(over))
        return Difference(self._name, float(self._distance.max()), numbers, *self._worst)


def _told_apart(columns: Mapping[str, Array]) -> dict[str, Array]:
    """The columns, with the pile-up flag, a decision about real numbers, apart from the exact ones."""
    flags = columns["flags"]
    pile_up = (flags & np.uint16(Flag.PILE_UP)) != 0
    return {**columns, "flags": flags & ~np.uint16(Flag.PILE_UP), "flags.pile_up": pile_up}


def _is_decision(name: str, expected: Array) -> bool:
    return expected.dtype.kind in "biu" and name not in ("label", "flags")


def _allowed(name: str, expected: Array, tolerance: float) -> Array:
    """Tolerated difference of each value.

    Class scores, and the residual as a difference of samples of a signal whose amplitude is 1: ``tolerance``, above 1 as a
    fraction.  All else: a fraction of the value, or of the root mean square of the column where that is more; flags and
    labels must be equal.
    """
    if name == "flags" or expected.dtype.kind == "b":
        return np.zeros(expected.shape)
    size = np.abs(np.where(np.isfinite(expected), expected, 0)).astype(np.float64)
    if name in ("probability", RESIDUAL.name):
        return tolerance * np.maximum(size, 1.0)
    typical = np.sqrt(np.mean(size**2)) if size.size else 0.0
    return (SHAPE_TOLERANCE if name in {column.name for column in SHAPE} else tolerance) * np.maximum(size, typical)


def _far(given: Array, expected: Array, allowed: Array) -> Array:
    """Distances in units of what is tolerated; NaN and infinity must be the same."""
    wide = np.complex128 if given.dtype.kind == "c" else np.float64
    one, other = given.astype(wide), expected.astype(wide)
    same = (given == expected) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = np.abs(one - other) / allowed
    return np.where(same, 0.0, np.where(np.isfinite(one) & np.isfinite(other), distance, np.inf))


def _label(given: Array, which: Array, expected: Mapping[str, Array], tolerance: float) -> Array:
    """Distances of labels: another class is tolerated where the reference scores it nearly as high as its own.

    Both scores may be off by the tolerance, so twice that is near.
    """
    label, scores = expected["label"][which], expected["probability"][which]
    far = np.zeros(len(given))
    far[given != label] = np.inf
    rows = np.flatnonzero((given != label) & (given < scores.shape[1]) & (label != NO_LABEL))
    best = scores[rows, label[rows]].astype(np.float64)
    gap = np.abs(best - scores[rows, given[rows]])
    far[rows] = np.nan_to_num(gap / (2 * tolerance * np.maximum(1.0, np.abs(best))), nan=np.inf)
    return far


def _pieces(rows: int) -> Iterator[slice]:
    return (slice(first, min(first + _ROWS, rows)) for first in range(0, rows, _ROWS))
