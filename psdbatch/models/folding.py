"""Sums and extremes over the samples of each signal, in the form that XLA makes vector instructions of.

XLA for the CPU cuts a reduction over a long last axis into windows with bounds checks: the smallest of 232 int16 samples
takes 140 ns.  Here a row is cut into pieces that are combined column by column, arithmetic that XLA fuses into one loop;
the reduction left over is short: 10 ns.  Values are asked for piece by piece, each piece once, because XLA writes to
memory what two of its operations share.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

from psdbatch.models.quiet import tf

Values = Callable[[int, int], Any]
"""``values(start, stop)`` gives columns ``start`` to ``stop`` of all rows, ``(batch, stop - start)``."""

PIECE = 32
"""Columns of a piece: XLA leaves reductions of up to 32 alone."""


def smallest(values: Values, columns: int) -> Any:
    """Smallest value of each row, ``(batch, 1)``, any real dtype."""
    return tf.reduce_min(reduce(tf.minimum, _overlapping(values, columns)), axis=1, keepdims=True)


def largest(values: Values, columns: int) -> Any:
    """Largest value of each row, ``(batch, 1)``, any real dtype."""
    return tf.reduce_max(reduce(tf.maximum, _overlapping(values, columns)), axis=1, keepdims=True)


def total(values: Values, columns: int) -> Any:
    """Sum of each row, ``(batch, 1)``; 0 for rows without columns."""
    whole = columns - columns % PIECE
    sums = [values(start, start + PIECE) for start in range(0, whole, PIECE)]
    parts = [reduce(tf.add, sums)] if sums else []
    if whole < columns or not parts:
        parts.append(values(whole, columns))
    return reduce(tf.add, [tf.reduce_sum(part, axis=1, keepdims=True) for part in parts])


def _overlapping(values: Values, columns: int) -> list[Any]:
    """Pieces of one width; the last one begins earlier where they do not fill the row, which no extreme minds."""
    width = min(PIECE, columns)
    return [values(min(start, columns - width), min(start + width, columns)) for start in range(0, columns, width)]
