"""Plots of a campaign's physics, drawn from its tally alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.monitor.drawing import drawn, logarithmic
from psdbatch.monitor.figure_of_merit import FigureOfMerit, FigureOfMeritError, Gates, figure_of_merit_of_counts
from psdbatch.monitor.plots import COLOURS, SEPARATED, class_map, density
from psdbatch.monitor.tally import PER_OCTAVE, Tally, amplitude_edges, ratio_edges, residual_edges

Array = NDArray[Any]

AMPLITUDE = "amplitude [ADC units]"
RATIO = "charge ratio (long - short) / long"
UNANSWERED = "no answer"

LEAST_IN_WINDOW = 1000
"""Windows of amplitude with fewer signals have no figure of merit."""

LEAST_SHARE = 0.05
"""Signals in the smaller peak, as a fraction of the window's."""

MOST_RUNS_DRAWN = 200


def psd_plot(tally: Tally, classes: Sequence[str]) -> str:
    """Charge ratio against amplitude: how many signals, and which class they have."""
    counts = tally.psd.sum(axis=0)
    columns, rows = _filled(counts.sum(axis=1)), _filled(counts.sum(axis=0), 0.001)
    edges = amplitude_edges()[columns.start : columns.stop + 1], ratio_edges()[rows.start : rows.stop + 1]

    def draw(axes: Any) -> None:
        density(axes[0], counts[columns, rows], edges, int(counts.sum()))
        if classes:
            class_map(axes[1], tally.psd[:-1, columns, rows], classes, edges)
        for ax in axes:
            ax.set_ylabel(RATIO)
            logarithmic(ax, AMPLITUDE)

    return drawn("psd", draw, 1 + bool(classes))


def ratio_plot(tally: Tally, classes: Sequence[str]) -> str:
    """Distribution of the charge ratio by class, in four parts of the amplitudes that hold as many signals each."""
    edges = ratio_edges()
    rows = _filled(tally.psd.sum(axis=(0, 1)), 0.001)
    parts = _quarters(tally.psd.sum(axis=(0, 2)))
    names = [*classes, UNANSWERED] if classes else ["all signals"]

    def draw(axes: Any) -> None:
        for ax, part in zip(axes, parts, strict=True):
            for k, name in enumerate(names):
                counts = tally.psd[k, part, rows].sum(axis=0)
                if counts.any():
                    colour = COLOURS[k % len(COLOURS)] if k < max(1, len(classes)) else "0.6"
                    ax.stairs(counts, edges[rows.start : rows.stop + 1], color=colour, label=name, lw=1.2)
            low, high = amplitude_edges()[[part.start, part.stop]]
            ax.set(yscale="log", xlabel="charge ratio", title=f"amplitude {low:,.0f} to {high:,.0f} ADC units")
            ax.minorticks_off()  # they would take longer than the rest of the plot
        axes[0].set_ylabel(f"signals per {edges[1]:g}")
        axes[0].legend(loc="lower center", frameon=True, framealpha=0.85, edgecolor="none")

    return drawn("ratio", draw, len(parts), 2.9, 2.6)


def figures_of_merit(tally: Tally, gates: Gates) -> list[FigureOfMerit]:
    """Figure of merit in each octave of amplitude that has two peaks.

    Where the classes merge, a fit may take all of them for one peak and a few outliers for the other, which would look
    like the best separation of all: a peak of less than :data:`LEAST_SHARE` of the signals is none.
    """
    counts, limits, found = tally.psd.sum(axis=0), amplitude_edges(), []
    for first in range(PER_OCTAVE, len(counts) - PER_OCTAVE, PER_OCTAVE):  # outermost bins hold what lies beyond
        window = counts[first : first + PER_OCTAVE].sum(axis=0)
        window[[0, -1]] = 0
        if window.sum() >= LEAST_IN_WINDOW:
            try:
                low, high = limits[first], limits[first + PER_OCTAVE]
                one = figure_of_merit_of_counts(window, ratio_edges(), float(low), float(high), gates)
            except FigureOfMeritError:
                continue
            if min(one.gamma.signals, one.neutron.signals) >= LEAST_SHARE * one.signals:
                found.append(one)
    return found


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

    return drawn("merit", draw, 1, 4.2, 2.8)


def channel_map(tally: Tally, values: Array, title: str, label: str) -> str:
    """One value per channel, boards against channels; channels without a value stay grey."""
    boards, row = np.unique(tally.boards, return_inverse=True)
    channels, column = np.unique(tally.channels, return_inverse=True)
    cells = np.full((len(boards), len(channels)), np.nan)
    cells[row, column] = values

    def draw(axes: Any) -> None:
        ax = axes[0]
        ax.set_facecolor("0.92")
        mesh = ax.pcolormesh(np.ma.masked_invalid(cells), cmap="viridis", rasterized=True)
        ax.figure.colorbar(mesh, ax=ax, label=label, pad=0.02)
        for axis, names, words in ((ax.xaxis, channels, "channel"), (ax.yaxis, boards, "board")):
            shown = np.unique(np.linspace(0, len(names) - 1, min(len(names), 16)).astype(int))
            axis.set_ticks(shown + 0.5, [str(names[k]) for k in shown])
            axis.set_label_text(words)
        ax.set_title(title)

    return drawn(title, draw, 1, 4.2, float(np.clip(1.2 + 0.22 * len(boards), 2.2, 5.0)))


def residual_plot(tally: Tally) -> str:
    """Distribution of the quality monitor's residual."""
    counts = tally.residuals.sum(axis=0)
    part = _filled(counts)

    def draw(axes: Any) -> None:
        axes[0].stairs(counts[part], residual_edges()[part.start : part.stop + 1], color=COLOURS[0])
        axes[0].set(yscale="log", ylabel="signals per bin", title="all channels")
        logarithmic(axes[0], "residual [amplitude of the signal]")

    return drawn("residuals", draw, 1, 4.2, 2.8)


def run_plot(names: Sequence[str], answers: Sequence[Array], classes: Sequence[str]) -> str:
    """Fraction of each class by run, in the order of the plan; ``answers`` as in a run's account."""
    chosen = np.unique(np.linspace(0, len(names) - 1, min(len(names), MOST_RUNS_DRAWN)).astype(int))
    counts = np.array([answers[k] for k in chosen], float)[:, :-1]
    total = np.maximum(counts.sum(axis=1), 1)

    def draw(axes: Any) -> None:
        for k in range(len(classes)) if len(classes) > 2 else [1]:
            share = counts[:, k] / total
            error = np.sqrt(np.maximum(share * (1 - share), 0) / total)
            style = {"fmt": "o", "ms": 3, "lw": 1, "color": COLOURS[k % len(COLOURS)], "label": classes[k]}
            axes[0].errorbar(np.arange(len(chosen)), 100 * share, 100 * error, **style)
        ticks = np.unique(np.linspace(0, len(chosen) - 1, min(len(chosen), 12)).astype(int))
        axes[0].set_xticks(ticks, [_short(names[chosen[k]]) for k in ticks], rotation=30, ha="right")
        axes[0].set(ylabel="fraction of signals [%]", ylim=(0, None))
        axes[0].legend(loc="lower left")

    return drawn("runs", draw, 1, 8.4, 2.6)


def _filled(counts: Array, left_out: float = 0.0) -> slice:
    """The bins that hold all but a fraction of the signals on either side."""
    share = np.cumsum(counts) / max(1, counts.sum())
    first = int(np.searchsorted(share, left_out, side="right"))
    last = int(np.searchsorted(share, 1 - left_out - 1e-12))
    margin = 3 if left_out else 0
    return slice(max(0, first - margin), min(len(counts), max(last, first) + 1 + margin))


def _quarters(counts: Array) -> list[slice]:
    share = np.cumsum(counts) / max(1, counts.sum())
    ends = [*np.unique(np.searchsorted(share, [0.25, 0.5, 0.75]) + 1).tolist(), _filled(counts).stop]
    starts = [_filled(counts).start, *ends[:-1]]
    return [slice(low, high) for low, high in zip(starts, ends, strict=True) if high > low]


def _short(name: str) -> str:
    """A name that fits under an axis; matplotlib would take dollars for formulas."""
    return (name if len(name) < 16 else f"{name[:6]}…{name[-8:]}").replace("$", "\\$")
