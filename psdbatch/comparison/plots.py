"""Plots of a comparison, as SVG text to be laid into its page."""

from __future__ import annotations

from typing import Any

import numpy as np

from psdbatch.comparison.agreement import AMPLITUDES, DIFFERENCES, RATIOS
from psdbatch.comparison.comparing import Comparison
from psdbatch.comparison.facts import Window, channels, windows
from psdbatch.comparison.rows import Array
from psdbatch.monitor.drawing import drawn, logarithmic
from psdbatch.monitor.plots import COLOURS
from psdbatch.monitor.shares import share

AMPLITUDE = "amplitude [ADC units]"
MOST_NUMBERS = 12
"""Cells of a confusion matrix of more classes carry no numbers."""
LETTER, LINE = 0.075, 0.16
"""Inches that a digit is wide, and a line of text high."""


def confusion_plot(found: Comparison) -> str:
    """Classes in A against classes in B: share of each row, with counts."""
    names, counts = found.agreement.classes, found.agreement.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = max(2.6, 0.75 * len(names) + 1.4)

    def draw(axes: Any) -> None:
        ax = axes[0]
        image = ax.imshow(shares, vmin=0, vmax=1, cmap="Blues")
        ax.set_xticks(range(len(names)), names, rotation=30 if len(names) > 3 else 0)
        ax.set_yticks(range(len(names)), names)
        ax.set(xlabel="class in B", ylabel="class in A")
        if len(names) <= MOST_NUMBERS:
            for (row, column), count in np.ndenumerate(counts):
                colour = "white" if shares[row, column] > 0.5 else "black"
                text = f"{count:,}\n{100 * shares[row, column]:.2f} %"
                ax.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
        ax.figure.colorbar(image, ax=ax, label="share of the class in A", shrink=0.8)

    return drawn("confusion", draw, 1, size + 1.2, size)


def amplitude_plot(found: Comparison) -> str:
    """Agreement against amplitude, and which way classes changed, where any did."""
    confusion = found.agreement.confusion
    changed = confusion.sum() > np.trace(confusion)
    shown = [window for window in windows(found) if np.isfinite(window.low) and np.isfinite(window.high)]

    def draw(axes: Any) -> None:
        agreeing = [(window.agreement.count, window.agreement.total) for window in shown]
        _points(axes[0], shown, agreeing, COLOURS[0], None)
        axes[0].set(ylabel="fraction with the same class", title="agreement")
        if changed:
            _changes(axes[1], found, shown)
        for ax in axes:
            logarithmic(ax, AMPLITUDE)  # whose numbers depend on what is drawn

    return drawn("amplitude", draw, 1 + bool(changed))


def _changes(ax: Any, found: Comparison, shown: list[Window]) -> None:
    """Which way classes changed, the most frequent ways first."""
    names, confusion = found.agreement.classes, found.agreement.confusion
    ways = [(int(one), int(other)) for one, other in np.argwhere(confusion) if one != other]
    ways.sort(key=lambda way: -confusion[way])
    for colour, (one, other) in zip(COLOURS, ways, strict=False):
        counts = [(int(window.confusion[one, other]), int(window.confusion[one].sum())) for window in shown]
        _points(ax, shown, counts, colour, f"{names[one]} → {names[other]}")
    ax.set(ylabel="fraction of the class in A", title="class in A → class in B", yscale="log")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=8)


def _points(ax: Any, shown: list[Window], counts: list[tuple[int, int]], colour: str, label: str | None) -> None:
    """Fractions with their Wilson intervals over their windows; windows without signals are left out."""
    points = [(window, share(count, total)) for window, (count, total) in zip(shown, counts, strict=True) if total]
    if not points:
        return
    middle = np.array([np.sqrt(window.low * window.high) for window, _ in points])
    spans = [middle - [window.low for window, _ in points], np.array([window.high for window, _ in points]) - middle]
    values = np.array([value.value for _, value in points])
    errors = [values - [value.low for _, value in points], np.array([value.high for _, value in points]) - values]
    ax.errorbar(middle, values, xerr=spans, yerr=errors, fmt="o", ms=4, lw=1, color=colour, label=label)


def channel_plot(found: Comparison) -> str:
    """Share of signals with another class, by board and channel; white: no signals."""
    known = list(channels(found))
    boards, rows = np.unique([board for board, _, _ in known], return_inverse=True)
    numbers, columns = np.unique([channel for _, channel, _ in known], return_inverse=True)
    image = np.full((len(boards), len(numbers)), np.nan)
    image[rows, columns] = [1 - value.value for _, _, value in known]

    width = max(4.0, min(9.0, 2.2 + 0.28 * len(numbers)))
    height = max(2.4, min(9.0, 1.2 + 0.22 * len(boards)))

    def draw(axes: Any) -> None:
        ax = axes[0]
        mesh = ax.pcolormesh(
            np.arange(len(numbers) + 1),
            np.arange(len(boards) + 1),
            np.ma.masked_invalid(image),
            cmap="viridis",
            vmin=0,
            vmax=np.nanmax(image, initial=0.0) or 1.0,
            rasterized=True,
        )
        longest = len(str(numbers.max(initial=0)))
        _ticks(ax.xaxis, numbers, (width - 2.2) / (LETTER * (longest + 2)))
        _ticks(ax.yaxis, boards, (height - 1.2) / LINE)
        ax.set(xlabel="channel", ylabel="board")
        ax.figure.colorbar(mesh, ax=ax, label="fraction with another class")

    return drawn("channels", draw, 1, width, height)


def _ticks(axis: Any, values: Array, most: float) -> None:
    """Numbers at as many of the cells as there is room for."""
    step = -(-len(values) // max(1, int(most)))
    axis.set_ticks(np.arange(0, len(values), step) + 0.5, [str(value) for value in values[::step]])


def shape_plot(found: Comparison) -> str:
    """Charge ratio against amplitude: all compared signals, and those that changed class by their class in A."""
    counts = found.agreement.psd
    total = counts.sum(axis=0)
    used_a, used_r = np.flatnonzero(total.sum(axis=1)), np.flatnonzero(total.sum(axis=0))
    a, r = slice(used_a[0], used_a[-1] + 1), slice(used_r[0], used_r[-1] + 1)
    edges = AMPLITUDES[a.start : a.stop + 1], RATIOS[r.start : r.stop + 1]
    names = found.agreement.classes

    def draw(axes: Any) -> None:
        from matplotlib.colors import LogNorm
        from matplotlib.patches import Patch

        filled = np.ma.masked_equal(total[a, r].T, 0)
        mesh = axes[0].pcolormesh(
            *edges, filled, norm=LogNorm(1, max(2, filled.max())), cmap="viridis", rasterized=True
        )
        axes[0].figure.colorbar(mesh, ax=axes[0], label="signals per cell")
        axes[0].set_title(f"all compared: {int(total.sum()):,}")
        axes[1].pcolormesh(
            *edges, np.ma.masked_equal(total[a, r].T > 0, 0), cmap="Greys", vmin=0, vmax=6, rasterized=True
        )
        image, handles = _changed_image(counts[:-1, a, r]), []
        axes[1].pcolormesh(*edges, image, rasterized=True)
        for k, name in enumerate(names):
            number = int(counts[k].sum())
            if number:
                handles.append(Patch(color=COLOURS[k % len(COLOURS)], label=f"{name} in A: {number:,}"))
        if handles:
            axes[1].legend(handles=handles, fontsize=8)
        axes[1].set_title("changed class (grey: any signal)")
        for ax in axes:
            logarithmic(ax, AMPLITUDE)
            ax.set(ylabel="charge ratio (long - short) / long")

    return drawn("shapes", draw, 2)


def _changed_image(counts: Array) -> Array:
    """RGBA, shape ``(ratios, amplitudes, 4)``: colour of the class with most changed signals, stronger where there are more."""
    from matplotlib.colors import to_rgb

    number = counts.sum(axis=0).T
    colours = np.array([to_rgb(COLOURS[k % len(COLOURS)]) for k in range(len(counts))])
    most = max(1, number.max())
    strength = np.where(number > 0, 0.35 + 0.65 * np.log1p(number) / np.log1p(most), 0.0)
    return np.concatenate([colours[counts.argmax(axis=0).T], strength[..., None]], axis=-1)


def difference_plot(found: Comparison) -> str:
    """How much the probabilities differ: the largest difference among the classes of each signal."""
    counts = found.agreement.spread
    used = np.flatnonzero(counts[1:])
    last = used[-1] + 2 if len(used) else 2

    def draw(axes: Any) -> None:
        axes[0].stairs(counts[1:last], DIFFERENCES[:last], color=COLOURS[0], fill=True, alpha=0.6)
        axes[0].set(
            yscale="log" if counts[1:].any() else "linear",
            ylabel="signals per bin",
            title=f"{int(counts[0]):,} signals differ by less than {DIFFERENCES[0]:g}",
        )
        axes[0].set(xscale="log", xlabel="largest difference of probability among the classes")

    return drawn("differences", draw)
