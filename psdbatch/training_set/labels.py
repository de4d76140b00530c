"""From the rule of a source to the label of each of its signals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.columns import NO_LABEL
from psdbatch.config.training_set import Cut, Label, Window
from psdbatch.errors import ConfigurationError
from psdbatch.training_set.pieces import CERTAIN_LABEL, TRUE_LABEL, Piece
from psdbatch.wording import nearest

Array = NDArray[Any]
ORIGINAL = ("timestamp", "board", "channel")
"""Columns that every file has."""


@dataclass(frozen=True)
class Rule:
    """A source's rule, ready to use.

    Attributes
    ----------
    words
        The rule in words, for messages.
    column
        Column of the files that it needs, if any.
    """

    words: str
    column: str | None
    _apply: Callable[[Piece], Array]

    def labels(self, piece: Piece) -> Array:
        """Label of each signal of the piece, uint8: a class number, or 255 where the rule says nothing."""
        return self._apply(piece)


def make_rule(source: str, label: Label, classes: Sequence[str], known: Sequence[str] = ()) -> Rule:
    """The rule of ``source``.

    Parameters
    ----------
    classes
        Class names of the set; a label is an index into them.
    known
        Class names of the simulation or of the earlier campaign, in the order of the numbers that they give.

    Raises
    ------
    ConfigurationError
        The rule names a class or channel that there is not, or overlapping windows.
    """
    number = {name: _class_number(source, name, classes) for name in _names(label)}
    if label.name is not None:
        return Rule(f"every signal is '{label.name}'", None, _always(number[label.name]))
    if label.channels is not None:
        boards = ", ".join(f"{place}: '{name}'" for place, name in label.channels.items())
        return Rule(f"channels {boards}", None, _by_channel(source, label.channels, number))
    if label.column is not None:
        return _by_column(source, label.column, label.windows, number, len(classes))
    if label.cut is not None:
        sides = f"'{label.cut.above}' above, '{label.cut.below}' below"
        return Rule(f"cut in the charge comparison, {sides}", None, _by_cut(label.cut, number))
    where, words = (TRUE_LABEL, "truth of the simulation") if label.truth else (CERTAIN_LABEL, "results")
    shared = [name for name in known if name in classes]
    if not shared:
        raise ConfigurationError(
            f"source '{source}': none of its classes ({', '.join(known)}) is in 'set.classes' ({', '.join(classes)}); name them alike"
        )
    table = np.full(256, NO_LABEL, np.uint8)
    table[: len(known)] = [classes.index(name) if name in classes else NO_LABEL for name in known]
    return Rule(words, None, lambda piece: table[piece.known[where]])


def _names(label: Label) -> list[str]:
    if label.name is not None:
        return [label.name]
    if label.channels is not None:
        return list(label.channels.values())
    if label.cut is not None:
        return [label.cut.above, label.cut.below]
    return [window.name for window in label.windows or ()]


def _class_number(source: str, name: str, classes: Sequence[str]) -> int:
    if name not in classes:
        raise ConfigurationError(
            f"source '{source}': '{name}' is no class of the set ({', '.join(classes)}){nearest(name, classes)}"
        )
    return list(classes).index(name)


def _always(label: int) -> Callable[[Piece], Array]:
    return lambda piece: np.full(len(piece), label, np.uint8)


def _by_channel(source: str, channels: Mapping[str, str], number: Mapping[str, int]) -> Callable[[Piece], Array]:
    whole, single = {}, {}
    for key, name in channels.items():
        parts = key.split(":")
        if len(parts) > 2 or not all(part.strip().isdecimal() and int(part) < 65536 for part in parts):
            raise ConfigurationError(
                f"source '{source}': 'label.channels': '{key}' is neither a board ('3') nor a board and channel ('3:0')"
            )
        place = [int(part) for part in parts]
        if len(place) == 1:
            whole[place[0]] = number[name]
        else:
            single[place[0] << 16 | place[1]] = number[name]

    def labels(piece: Piece) -> Array:
        board, channel = piece.signals.board, piece.signals.channel
        found = look_up(whole, board)
        own = look_up(single, board.astype(np.uint32) << 16 | channel)
        return np.where(own != NO_LABEL, own, found)

    return labels


def look_up(labels: Mapping[int, int], values: Array) -> Array:
    """Label of each value, 255 for values that have none; uint8."""
    if not labels:
        return np.full(len(values), NO_LABEL, np.uint8)
    keys = np.array(sorted(labels), np.int64)
    of_key = np.array([labels[int(key)] for key in keys], np.uint8)
    place = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
    return np.where(keys[place] == values, of_key[place], np.uint8(NO_LABEL))


def _by_column(
    source: str, column: str, windows: tuple[Window, ...] | None, number: Mapping[str, int], classes: int
) -> Rule:
    if windows is None:
        return Rule(f"class numbers in column '{column}'", column, lambda p: class_numbers(p.column(column), classes))
    ordered = sorted(windows, key=lambda window: window.low)
    for window in ordered:
        if not window.low < window.high:
            raise ConfigurationError(f"source '{source}': window '{window.name}' ends ({window.high}) before it begins")
    for one, other in pairwise(ordered):
        if other.low < one.high:
            raise ConfigurationError(
                f"source '{source}': the windows of '{one.name}' up to {one.high} and of '{other.name}' from {other.low} overlap"
            )
    ranges = [(window.low, window.high, number[window.name]) for window in ordered]
    listed = ", ".join(f"'{window.name}' {window.low:g} to {window.high:g}" for window in ordered)
    return Rule(f"windows of column '{column}': {listed}", column, lambda piece: within(piece.column(column), ranges))


def class_numbers(values: Array, classes: int) -> Array:
    """Values 0 to ``classes - 1`` as labels; anything else, fractions and NaN too, has none."""
    good = (values >= 0) & (values < classes)
    if np.issubdtype(values.dtype, np.floating):
        good &= values == np.floor(values)
    return np.where(good, np.where(good, values, 0), NO_LABEL).astype(np.uint8)


def within(values: Array, ranges: Iterable[tuple[float, float, int]]) -> Array:
    """Label of each value: that of the range ``low <= value < high`` it is in, else 255."""
    found = np.full(len(values), NO_LABEL, np.uint8)
    whole = np.issubdtype(values.dtype, np.integer)
    for low, high, label in ranges:
        inside = _from(values, low) & ~_from(values, high) if whole else (values >= low) & (values < high)
        found[inside] = label
    return found


def _from(values: Array, limit: float) -> Array:
    """``values >= limit`` without turning 64-bit integers into floats, which cannot hold them."""
    info = np.iinfo(values.dtype)
    if limit > info.max:
        return np.zeros(len(values), bool)
    if limit <= info.min:
        return np.ones(len(values), bool)
    return np.asarray(values >= values.dtype.type(math.ceil(limit)))


def _by_cut(cut: Cut, number: Mapping[str, int]) -> Callable[[Piece], Array]:
    above, below = number[cut.above], number[cut.below]

    def labels(piece: Piece) -> Array:
        return cut_labels(piece.charge_long, piece.charge_short, cut, above, below)

    return labels


def cut_labels(charge_long: Array, charge_short: Array, cut: Cut, above: int, below: int) -> Array:
    """Labels by the side of the line on which each signal lies; 255 near it and where the long charge is too small."""
    long, short = charge_long.astype(np.float64), charge_short.astype(np.float64)
    enough = (long > 0) & (long >= cut.least_charge)
    safe = np.where(enough, long, 1.0)
    ratio = (safe - short) / safe
    distance = ratio - (cut.intercept + cut.slope * safe + cut.curve / np.sqrt(safe))
    labels = np.full(len(long), NO_LABEL, np.uint8)
    labels[enough & (distance > cut.margin)] = above
    labels[enough & (distance < -cut.margin)] = below
    return labels
