"""Figure of merit in each octave of amplitude, from a campaign's tally alone, and why an octave has none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.monitor.drawing import drawn, logarithmic
from psdbatch.monitor.figure_of_merit import FigureOfMerit, FigureOfMeritError, Gates, figure_of_merit_of_counts
from psdbatch.monitor.plots import SEPARATED
from psdbatch.monitor.tally import PER_OCTAVE, Tally, amplitude_edges, ratio_edges
from psdbatch.report.physics import AMPLITUDE

Array = NDArray[Any]

LEAST_IN_WINDOW = 1000
"""Windows of amplitude with fewer signals have no figure of merit."""

LEAST_SHARE = 0.05
"""A peak with a smaller part of the window's signals must show more than that the fit likes it."""

LEAST_IN_SMALL = 200
"""Signals in such a small peak."""

VALLEY = 5.0
"""Standard deviations of counting by which such a small peak must rise over the valley before it."""

MOST_UNLIKE = 3.0
"""Ratio of the widths of two peaks beyond which the wide one is a tail or the narrow one an accident."""


@dataclass(frozen=True)
class Octave:
    """An octave of amplitude (ADC units).

    Attributes
    ----------
    signals
        In it that have a charge ratio, without those of the outermost bins, which hold what lies beyond 0 and 1.
    found
        None without two peaks to trust.
    reason
        Why there is none.
    """

    low: float
    high: float
    signals: int
    found: FigureOfMerit | None
    reason: str = ""


def octaves(tally: Tally, gates: Gates | None) -> list[Octave]:
    """Fit each octave of amplitude that holds a signal.

    Where the classes merge, a fit may take all of them for one peak and a few outliers, or a tail, for the other, which
    would look like the best separation of all.  So widths must be alike, and a small peak must stand behind a valley.
    """
    return list(_octaves(tally, gates))


def figures_of_merit(tally: Tally, gates: Gates | None) -> list[FigureOfMerit]:
    """Those of the octaves that have two peaks."""
    return [one.found for one in octaves(tally, gates) if one.found is not None]


def _octaves(tally: Tally, gates: Gates | None) -> Iterator[Octave]:
    counts, limits = tally.psd.sum(axis=0), amplitude_edges()
    for first in range(PER_OCTAVE, len(counts) - PER_OCTAVE, PER_OCTAVE):  # outermost bins hold what lies beyond
        window = counts[first : first + PER_OCTAVE].sum(axis=0)
        window[[0, -1]] = 0
        low, high, signals = float(limits[first]), float(limits[first + PER_OCTAVE]), int(window.sum())
        if not signals:
            continue
        if signals < LEAST_IN_WINDOW:
            yield Octave(low, high, signals, None, f"fewer than {LEAST_IN_WINDOW:,} signals")
            continue
        try:
            found = figure_of_merit_of_counts(window, ratio_edges(), low, high, gates)
        except FigureOfMeritError:
            yield Octave(low, high, signals, None, "one peak")
            continue
        reason = _doubt(found, window)
        yield Octave(low, high, signals, None if reason else found, reason)


def _doubt(found: FigureOfMerit, window: Array) -> str:
    """Why two fitted peaks are not to be trusted; "" if they are."""
    peaks = sorted((found.gamma, found.neutron), key=lambda peak: peak.signals)
    narrow, wide = sorted(peak.sigma for peak in peaks)
    if wide > MOST_UNLIKE * narrow:
        return f"a second peak {wide / narrow:.1f} times as wide or narrow as the first: a tail, or outliers"
    if peaks[0].signals >= LEAST_SHARE * found.signals:
        return ""
    if peaks[0].signals < LEAST_IN_SMALL:
        return f"{peaks[0].signals:,.0f} signals in the second peak, fewer than {LEAST_IN_SMALL}"
    return "" if _rises(window, peaks[0].mean, peaks[1].mean) else "no clear valley before the second peak"


def _rises(window: Array, small: float, large: float) -> bool:
    """Whether the counts at the small peak are certainly above the lowest ones between both."""
    smooth = np.convolve(window, np.ones(3), "same")  # three bins at a time
    at, other = np.clip(np.searchsorted(ratio_edges(), [small, large], side="right") - 1, 0, len(window) - 1)
    valley = smooth[min(at, other) : max(at, other) + 1].min()
    return bool(smooth[at] - valley > VALLEY * np.sqrt(smooth[at] + valley))


def merit_plot(figures: Sequence[FigureOfMerit]) -> str:
    """Figures of merit against amplitude."""

    def draw(axes: Any) -> None:
        ax = axes[0]
        ax.axhline(SEPARATED, color="0.7", lw=0.8, ls="--", zorder=0)
        low, high = np.array([one.low for one in figures]), np.array([one.high for one in figures])
        middle = np.sqrt(low * high)
        values, errors = [one.value for one in figures], [one.uncertainty for one in figures]
        ax.errorbar(middle, values, yerr=errors, xerr=[middle - low, high - middle], fmt="s", ms=4, lw=1)
        ax.set(ylabel="figure of merit", ylim=(0, None), title="dashed: peaks 3σ apart (1.27)")
        logarithmic(ax, AMPLITUDE)

    return drawn("figure of merit against amplitude", draw, 1, 4.2, 2.8)
