"""Is a source ordered by class?  A test, a sentence, and a plot of class fraction against position.

A network that sees first one class, then the other, learns nothing of worth, whatever the set as a whole holds.  The set itself is
shuffled; the alarm says what its sources are like, for whoever reads them otherwise, and because such an order
often means that something else changed along with the class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.monitor.plots import COLOURS, figure, legend_name

Array = NDArray[Any]

LIKELY = 1e-6
"""Probability of a mixed source looking like this by chance, below which it may be called ordered."""
STRONG = 0.15
"""Least strength of the relation, from 0 (mixed) to 1 (position or neighbour says the class), for an alarm."""
LEAST = 20
"""Signals expected in a stretch at least, on average, for the test."""


@dataclass(frozen=True)
class Order:
    """Relation of class and position in a source.

    Attributes
    ----------
    strength
        Cramér's V of class against position, without what chance adds; 0 to 1.
    chance
        Probability of such a table, were the source mixed.
    stickiness
        How much more often neighbours have one class than if mixed: 0, to 1 for always.
    stickiness_chance
        Probability of that, were the source mixed.
    """

    strength: float
    chance: float
    stickiness: float
    stickiness_chance: float

    @property
    def by_position(self) -> bool:
        """Whether class depends on position."""
        return self.chance < LIKELY and self.strength > STRONG

    @property
    def by_neighbour(self) -> bool:
        """Whether classes come in stretches."""
        return self.stickiness_chance < LIKELY and self.stickiness > STRONG


def find_order(positions: Array, neighbours: Sequence[int]) -> Order:
    """Compare classes with positions and with their neighbours.

    Parameters
    ----------
    positions
        Labelled signals by stretch of the source and class, ``(stretches, classes)``.
    neighbours
        Pairs of neighbours, and how many of them have one class.
    """
    counts = np.asarray(positions, np.float64)
    counts = counts[:, counts.sum(axis=0) > 0]
    if counts.shape[1] < 2:
        return Order(0.0, 1.0, 0.0, 1.0)
    total = counts.sum()
    fractions = counts.sum(axis=0) / total
    group = max(1, math.ceil(LEAST * len(counts) / total))  # few signals: fewer, longer stretches
    joined = np.add.reduceat(counts, np.arange(0, len(counts), group))
    joined = joined[joined.sum(axis=1) > 0]
    strength, chance = _contingency(joined, fractions)
    pairs, same = (float(value) for value in neighbours)
    expected = float((fractions**2).sum())
    if not pairs or expected >= 1:
        return Order(strength, chance, 0.0, 1.0)
    z = (same - pairs * expected) / math.sqrt(pairs * expected * (1 - expected))
    return Order(strength, chance, (same / pairs - expected) / (1 - expected), _normal_tail(z))


def _contingency(counts: Array, fractions: Array) -> tuple[float, float]:
    """Cramér's V, corrected for chance, and the probability of a chi-square as large."""
    rows, columns = counts.shape
    freedom = (rows - 1) * (columns - 1)
    if freedom < 1:
        return 0.0, 1.0
    total = counts.sum()
    expected = counts.sum(axis=1, keepdims=True) * fractions
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    excess = max(0.0, (chi_square - freedom) / total)
    # Wilson and Hilferty: the cube root of a chi-square is very nearly normal
    z = ((chi_square / freedom) ** (1 / 3) - 1 + 2 / (9 * freedom)) / math.sqrt(2 / (9 * freedom))
    return math.sqrt(min(1.0, excess / (min(rows, columns) - 1))), _normal_tail(z)


def _normal_tail(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2))


def order_alarm(source: str, classes: Sequence[str], positions: Array, neighbours: Sequence[int]) -> str | None:
    """A sentence about a source that is ordered by class, or None."""
    counts = np.asarray(positions, np.float64)
    order = find_order(counts, neighbours)
    if not (order.by_position or order.by_neighbour):
        return None
    if order.by_position:
        number = int(np.argmax(np.ptp(_stretch_fractions(counts), axis=0)))
        whole = counts[:, number].sum() / counts.sum()
        parts = _describe(counts, number, classes[number])
        return (
            f"source '{source}' is ordered by class: {parts}, {100 * whole:.0f} % on average (Cramér's V = {order.strength:.2f}); "
            "the set is shuffled over all files, but read in its own order this source must not train a network"
        )
    stretch = 1 / max(1 - neighbours[1] / neighbours[0], 1e-9)
    return (
        f"source '{source}' has its classes in stretches of {stretch:,.0f} signals on average: neighbours have the same class in "
        f"{100 * neighbours[1] / neighbours[0]:.0f} % of pairs; the set is shuffled over all files, but read in its own order this source must not train a network"
    )


def _stretch_fractions(counts: Array) -> Array:
    filled = counts[counts.sum(axis=1) > 0]
    return np.asarray(filled / filled.sum(axis=1, keepdims=True))


def _describe(counts: Array, number: int, name: str) -> str:
    """The source in up to ten equal pieces: where the class is rarest and where it is most frequent."""
    pieces = np.array_split(counts, min(10, len(counts)))
    filled = [(k, piece.sum(axis=0)) for k, piece in enumerate(pieces) if piece.sum()]
    fractions = {k: found[number] / found.sum() for k, found in filled}
    low, high = min(fractions, key=lambda k: fractions[k]), max(fractions, key=lambda k: fractions[k])
    share = 100 / len(pieces)
    one, other = (
        f"{100 * fractions[k]:.0f} % '{name}' between {k * share:.0f} and {(k + 1) * share:.0f} % of its length"
        for k in sorted((low, high))
    )
    return f"{one}, {other}"


def order_plot(path: Path, classes: Sequence[str], sources: Mapping[str, Array], alarmed: Sequence[str] = ()) -> None:
    """Draw the fraction of each class against the position in each source.

    Parameters
    ----------
    path
        PNG, PDF or SVG to write.
    sources
        Labelled signals by stretch and class, ``(stretches, classes)``, by name of the source.
    alarmed
        Sources whose title says that they are ordered by class.
    """
    with figure(path, len(sources), max(3.6, 3.0 * len(sources)), 2.8) as axes:
        for ax, (name, positions) in zip(axes, sources.items(), strict=True):
            counts = np.asarray(positions, np.float64)
            total = counts.sum(axis=1)
            place = 100 * (np.arange(len(counts)) + 0.5) / len(counts)
            filled = total > 0
            for number, label in enumerate(classes):
                fraction = counts[filled, number] / total[filled]
                error = np.sqrt(fraction * (1 - fraction) / total[filled])
                colour = COLOURS[number % len(COLOURS)]
                ax.fill_between(place[filled], fraction - error, fraction + error, color=colour, alpha=0.25, lw=0)
                ax.plot(place[filled], fraction, color=colour, lw=1.2, label=legend_name(label))
            verdict = ": ordered by class" if name in alarmed else ""
            ax.set_title(f"{name}{verdict}\n{int(counts.sum()):,} labelled signals")
            ax.set(xlabel="position in the source [%]", xlim=(0, 100), ylim=(-0.02, 1.02))
        axes[0].set_ylabel("fraction of the class")
        axes[0].legend(loc="best")
