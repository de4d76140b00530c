"""Strata of class, amplitude and channel: how many signals each one has, and how many it gives to each part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.config.training_set import TrainingSet
from psdbatch.errors import TrainingSetError
from psdbatch.training_set.facts import PARTS
from psdbatch.training_set.grid import Grid
from psdbatch.training_set.quotas import apportion, class_shares, divide, most, spread
from psdbatch.training_set.survey import Counts

Array = NDArray[Any]


@dataclass(frozen=True)
class Strata:
    """All strata, in the order class, board, channel, amplitude.

    Attributes
    ----------
    label, board, channel, amplitude
        Which one it is, int64 ``(strata,)``; ``amplitude`` is an index into ``edges``, board and channel are -1 where they make none.
    edges
        Edges of the amplitude strata, ADC units; infinite where the outer two strata are open.
    available
        Signals of each stratum in each group of files, int64 ``(strata, groups)``: one group, or one for each part if runs are split.
    take
        Signals that each stratum gives, int64 ``(strata, groups, 3)``.
    """

    label: Array
    board: Array
    channel: Array
    amplitude: Array
    edges: Array
    available: Array
    take: Array

    def to_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """Table of the strata, column by column."""
        parts = self.take.sum(axis=1)
        return {
            "edges": [float(edge) if np.isfinite(edge) else None for edge in self.edges],
            "class": [classes[label] for label in self.label],
            "board": self.board.tolist(),
            "channel": self.channel.tolist(),
            "amplitude": self.amplitude.tolist(),
            "available": self.available.sum(axis=1).tolist(),
            **{part: parts[:, number].tolist() for number, part in enumerate(PARTS)},
        }


def make_strata(counts: Counts, settings: TrainingSet, grid: Grid) -> tuple[Strata, list[Array]]:
    """Strata and quotas from what the files hold.

    Parameters
    ----------
    counts
        Signals of one group, or of three if whole runs go into parts.
    settings
        What is wanted.

    Returns
    -------
    strata
        With quotas.
    places
        For each group the number ``stratum * groups + group`` of each code, int64.

    Raises
    ------
    TrainingSetError
        The quotas cannot be met.
    """
    kinds = sorted(counts.rows)
    order = {row: number for number, row in enumerate(kinds)}
    rows = np.array([order[row] for row in counts.rows], np.int64)
    first_steps = grid.strata(counts.counts.sum(axis=(0, 1)), settings.bins)
    bins, groups = len(first_steps), len(counts.counts)
    step_bin = np.searchsorted(first_steps, np.arange(grid.steps), side="right") - 1
    place = (rows[:, None] * bins + step_bin[None, :]).reshape(-1)
    size = len(kinds) * bins
    available = np.stack(
        [np.bincount(place, found.reshape(-1), size).astype(np.int64) for found in counts.counts], axis=1
    )
    label, board, channel = (np.repeat([row[k] for row in kinds], bins) for k in range(3))
    edges = grid.limits[np.append(first_steps, grid.steps)].copy()
    if grid.edges is None:
        edges[0], edges[-1] = -np.inf, np.inf
    bare = Strata(label, board, channel, np.tile(np.arange(bins), len(kinds)), edges, available, np.zeros(0))
    strata = Strata(**{**vars(bare), "take": take_from(bare, settings)})
    return strata, [place * groups + group for group in range(groups)]


def take_from(strata: Strata, settings: TrainingSet) -> Array:
    """Signals that each stratum gives to each part, int64 ``(strata, groups, 3)``.

    Raises
    ------
    TrainingSetError
        There are not enough.
    """
    groups = strata.available.shape[1]
    split = settings.split
    fractions = [1 - split.validation - split.test, split.validation, split.test] if groups == 3 else [1.0]
    take = np.zeros((*strata.available.shape, 3), np.int64)
    for group, fraction in enumerate(fractions):
        if not fraction:
            continue
        chosen = _group_quotas(strata, group, fraction, settings)
        for label in range(len(settings.classes)):
            of_class = np.flatnonzero(strata.label == label)
            if groups == 3:
                take[of_class, group, group] = chosen[of_class]
            else:
                take[of_class, 0] = divide(chosen[of_class], (split.validation, split.test))
    return take


def _group_quotas(strata: Strata, group: int, fraction: float, settings: TrainingSet) -> Array:
    have = strata.available[:, group]
    where = f" in part '{PARTS[group]}'" if strata.available.shape[1] == 3 else ""
    classes = len(settings.classes)
    totals = np.bincount(strata.label, have, classes).astype(np.int64)
    shares = class_shares(totals, settings.mix, settings.classes)
    if settings.shortfall == "error":
        return _even_quotas(strata, have, shares, fraction, where, settings)
    signals = None if settings.signals is None else round(settings.signals * fraction)
    wanted = most(totals, shares) if signals is None else apportion(signals, shares)
    rarest = int(np.argmin(totals - wanted))
    if wanted[rarest] > totals[rarest]:
        name, limit = settings.classes[rarest], int(most(totals, shares).sum() / fraction)
        raise TrainingSetError(
            f"class '{name}' has {totals[rarest]:,} signals with a label and in a stratum{where}, {wanted[rarest]:,} are wanted ('set.signals' = {settings.signals:,}, {classes} classes); "
            f"ask for {limit:,} at most, or add sources of '{name}'"
        )
    chosen = np.zeros(len(have), np.int64)
    for label in range(classes):
        of_class = strata.label == label
        chosen[of_class] = spread(have[of_class], int(wanted[label]))
    return chosen


def _even_quotas(
    strata: Strata, have: Array, shares: Array, fraction: float, where: str, settings: TrainingSet
) -> Array:
    """Quotas without filling: the classes have their shares, and the strata of a class give the same."""
    classes = len(settings.classes)
    if settings.signals is None:
        own = [have[strata.label == label] for label in range(classes)]
        wanted = most(np.array([found.min() * len(found) for found in own]), shares)
    else:
        wanted = apportion(round(settings.signals * fraction), shares)
    chosen = np.zeros(len(have), np.int64)
    for label in range(classes):
        of_class = np.flatnonzero(strata.label == label)
        chosen[of_class] = even_shares(int(wanted[label]), len(of_class))
    short = np.flatnonzero(have < chosen)
    if settings.signals is None and not chosen.any():
        short = np.flatnonzero(have == 0)
        if len(short):
            chosen[short] = 1
    if len(short):
        worst = short[np.argmin(have[short] - chosen[short])]
        raise TrainingSetError(
            f"stratum {describe(strata, int(worst), settings.classes)} has {have[worst]:,} signals{where}, its quota is {chosen[worst]:,}; "
            f"{len(short):,} of {len(have):,} strata have too few: take fewer 'signals', wider strata ('bins', 'energies', channels = false), or shortfall = \"fill\""
        )
    return chosen


def even_shares(total: int, count: int) -> Array:
    """``total`` in ``count`` equal shares, the first ones larger by one where it does not divide, int64."""
    return np.full(count, total // count, np.int64) + (np.arange(count) < total % count)


def describe(strata: Strata, number: int, classes: Sequence[str]) -> str:
    """A stratum in words: class, amplitude, channel."""
    low, high = (float(strata.edges[strata.amplitude[number] + k]) for k in range(2))
    words = f"'{classes[strata.label[number]]}', {amplitude_words(low, high)}"
    if strata.board[number] < 0:
        return words
    return f"{words}, board {strata.board[number]} channel {strata.channel[number]}"


def amplitude_words(low: float | None, high: float | None) -> str:
    """An amplitude stratum in words; None or infinite: open."""
    bounded = [edge is not None and np.isfinite(edge) for edge in (low, high)]
    if all(bounded):
        return f"amplitude {low:,.4g} to {high:,.4g}"
    if not any(bounded):
        return "any amplitude"
    return f"amplitude from {low:,.4g}" if bounded[0] else f"amplitude below {high:,.4g}"
