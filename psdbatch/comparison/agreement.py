"""Counts of agreement between two answers to the same signals; counts of several pieces add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from psdbatch.columns import AMPLITUDE, BOARD, CHANNEL, CHARGE_LONG, CHARGE_SHORT, charge_ratio
from psdbatch.comparison.rows import LABEL, NUMBER, STATE, STATES, Array, Pairs, Rows
from psdbatch.comparison.side import PROBABILITY

WINDOWS = (*(step * 10.0**decade for decade in range(10) for step in (1, 1.5, 2, 3, 5, 7)), 1e10)
"""Edges of the amplitude windows, ADC units; what lies outside, or is not finite, has windows of its own at both ends."""

AMPLITUDES = 2.0 ** np.arange(0, 32.25, 0.25)
RATIOS = np.linspace(-0.25, 1.25, 151)
"""Edges of the histogram of charge ratio against amplitude; the outermost cells hold what lies outside."""

DIFFERENCES = 10.0 ** np.arange(-9, 0.125, 0.25)
"""Edges of the histogram of differences of probability; the first bin holds what is smaller, and equal answers."""


@dataclass
class ProbabilityDifference:
    """Probability of one class in B minus that in A.

    Attributes
    ----------
    signals
        Signals where both are known.
    total, magnitude
        Sums of the difference and of its size.
    largest
        Size of the largest difference.
    run, signal
        Where it is.
    """

    signals: int = 0
    total: float = 0.0
    magnitude: float = 0.0
    largest: float = 0.0
    run: str = ""
    signal: int = -1

    def add(self, run: str, number: Array, difference: Array) -> None:
        """Take differences of some signals into account, NaN where there is none."""
        known = np.isfinite(difference)
        if not known.any():
            return
        sizes = np.abs(np.where(known, difference, 0.0))
        self.signals += int(np.count_nonzero(known))
        self.total += float(difference[known].sum())
        self.magnitude += float(sizes.sum())
        k = int(sizes.argmax())
        if sizes[k] > self.largest or self.signal < 0:
            self.largest, self.run, self.signal = float(sizes[k]), run, int(number[k])


@dataclass
class ChannelCounts:
    """Signals compared and agreeing per channel, kept sorted.

    Attributes
    ----------
    channel
        uint32 ``(channels,)``: board * 65,536 + channel.
    counts
        int64 ``(channels, 2)``: compared, agreeing.
    """

    channel: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64))

    def add(self, board: Array, channel: Array, agree: NDArray[np.bool_]) -> None:
        """Count signals."""
        keys = board.astype(np.uint32) << np.uint32(16) | channel.astype(np.uint32)
        found, place = np.unique(keys, return_inverse=True)
        fresh = np.bincount(2 * place + agree, minlength=2 * len(found)).reshape(-1, 2)
        fresh[:, 0] += fresh[:, 1]  # compared: differing and agreeing
        known, place = np.unique(np.concatenate([self.channel, found]), return_inverse=True)
        counts = np.zeros((len(known), 2), np.int64)
        counts[place[: len(self.channel)]] = self.counts
        counts[place[len(self.channel) :]] += fresh
        self.channel, self.counts = known.astype(np.uint32), counts


class Agreement:
    """Counts of two answers to the same signals.  Classes are matched by name.

    Parameters
    ----------
    classes_a, classes_b
        Names of classes 0, 1 and following of each side.

    Attributes
    ----------
    classes
        All names, those of A first.
    states
        int64 ``(4, 4)``: signals by :class:`psdbatch.comparison.rows.State` in A and in B.
    by_amplitude
        int64 ``(windows, classes, classes)``: signals with an answer in both, by window of amplitude (before, between and
        behind :data:`WINDOWS`; last: not a number), class in A and class in B.
    by_run
        The same by name of the run, int64 ``(classes, classes)``.
    by_channel
        Signals compared and agreeing per channel.
    psd
        int64 ``(classes + 1, amplitudes, ratios)``: signals by charge ratio and amplitude; those that changed class by their
        class in A, last: those that did not.
    differences
        Differences of probability of each class that both sides know.
    spread
        int64: signals by the largest difference among their classes, see :data:`DIFFERENCES`.
    """

    def __init__(self, classes_a: Sequence[str], classes_b: Sequence[str]) -> None:
        self.classes = tuple(dict.fromkeys([*classes_a, *classes_b]))
        self.common = tuple(name for name in classes_a if name in classes_b)
        self._number_a = np.array([*(self.classes.index(name) for name in classes_a), -1], np.int64)
        self._number_b = np.array([*(self.classes.index(name) for name in classes_b), -1], np.int64)
        self._columns_a = [classes_a.index(name) for name in self.common]
        self._columns_b = [classes_b.index(name) for name in self.common]
        many = len(self.classes)
        self.states = np.zeros((STATES, STATES), np.int64)
        self.by_amplitude = np.zeros((len(WINDOWS) + 2, many, many), np.int64)
        self.by_run: dict[str, NDArray[np.int64]] = {}
        self.by_channel = ChannelCounts()
        self.psd = np.zeros((many + 1, len(AMPLITUDES) - 1, len(RATIOS) - 1), np.int64)
        self.differences = {name: ProbabilityDifference() for name in self.common}
        self.spread = np.zeros(len(DIFFERENCES), np.int64)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """int64 ``(classes, classes)``: signals with an answer in both by class in A (rows) and in B."""
        return np.asarray(self.by_amplitude.sum(axis=0))

    @property
    def compared(self) -> int:
        """Signals with an answer in both."""
        return int(self.by_amplitude.sum())

    @property
    def agreeing(self) -> int:
        """Those with the same class in both."""
        return int(np.trace(self.confusion))

    def classes_of(self, pairs: Pairs) -> tuple[Array, Array]:
        """Number among :attr:`classes` of each signal's class in A and in B, -1 without an answer."""
        return self._number_a[pairs.a[LABEL]], self._number_b[pairs.b[LABEL]]

    def add(self, pairs: Pairs) -> Pairs:
        """Count signals of one run.

        Returns
        -------
        Pairs
            Those of them that changed class.
        """
        both = pairs.a[STATE].astype(np.intp) * STATES + pairs.b[STATE]
        self.states += np.bincount(both, minlength=STATES**2).reshape(STATES, STATES)
        compared = pairs.compared
        if not compared.any():
            return Pairs(pairs.run, Rows.absent(0), Rows.absent(0))
        pairs = Pairs(pairs.run, pairs.a.take(compared), pairs.b.take(compared))
        a, b = self.classes_of(pairs)
        self._count_classes(pairs, a, b)
        self.by_channel.add(pairs.a[BOARD.name], pairs.a[CHANNEL.name], a == b)
        self._count_shapes(pairs.a, a, a == b)
        if PROBABILITY in pairs.a and PROBABILITY in pairs.b and self.common:
            self._count_probabilities(pairs)
        changed = a != b
        return Pairs(pairs.run, pairs.a.take(changed), pairs.b.take(changed))

    def _count_classes(self, pairs: Pairs, a: Array, b: Array) -> None:
        many = len(self.classes)
        amplitude = _column(pairs.a, AMPLITUDE.name)
        window = np.where(np.isnan(amplitude), len(WINDOWS) + 1, np.searchsorted(WINDOWS, amplitude, side="right"))
        cell = (window * many + a) * many + b
        counts = np.bincount(cell, minlength=self.by_amplitude.size).reshape(self.by_amplitude.shape)
        self.by_amplitude += counts
        known = self.by_run.get(pairs.run)
        found = counts.sum(axis=0)
        self.by_run[pairs.run] = found if known is None else known + found

    def _count_shapes(self, rows: Rows, a: Array, agree: NDArray[np.bool_]) -> None:
        amplitude = _column(rows, AMPLITUDE.name)
        ratio = charge_ratio(_column(rows, CHARGE_LONG.name), _column(rows, CHARGE_SHORT.name))
        known = np.isfinite(amplitude) & np.isfinite(ratio)
        kind = np.where(agree, len(self.classes), a)[known]
        cell = kind
        for values, edges in ((amplitude[known], AMPLITUDES), (ratio[known], RATIOS)):
            place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
            cell = cell * (len(edges) - 1) + place
        self.psd += np.bincount(cell, minlength=self.psd.size).reshape(self.psd.shape)

    def _count_probabilities(self, pairs: Pairs) -> None:
        difference = pairs.b[PROBABILITY][:, self._columns_b].astype(np.float64)
        difference -= pairs.a[PROBABILITY][:, self._columns_a]
        for k, name in enumerate(self.common):
            self.differences[name].add(pairs.run, pairs.a[NUMBER], difference[:, k])
        sizes = np.abs(difference).max(axis=1)
        sizes = sizes[np.isfinite(sizes)]
        place = np.clip(np.searchsorted(DIFFERENCES, sizes, side="right"), 0, len(DIFFERENCES) - 1)
        self.spread += np.bincount(place, minlength=len(self.spread))


def _column(rows: Rows, name: str) -> Array:
    """A quantity as float64; NaN where the store does not have it."""
    return rows[name].astype(np.float64) if name in rows else np.full(len(rows), np.nan)
