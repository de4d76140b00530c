"""Plots of a campaign's physics, drawn from its tally alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.monitor.drawing import drawn, logarithmic
from psdbatch.monitor.plots import COLOURS, OTHERS, class_map, colour, density, legend_name
from psdbatch.monitor.tally import Tally, amplitude_edges, ratio_edges, residual_edges

Array = NDArray[Any]

AMPLITUDE = "amplitude [ADC units]"
RATIO = "charge ratio (long - short) / long"
UNANSWERED = "no answer"

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

    return drawn("charge ratio against amplitude", draw, 1 + bool(classes))


def ratio_plot(tally: Tally, classes: Sequence[str]) -> str:
    """Distribution of the charge ratio by class, in four parts of the amplitudes that hold as many signals each."""
    edges = ratio_edges()
    rows = _filled(tally.psd.sum(axis=(0, 1)), 0.001)
    parts = _quarters(tally.psd.sum(axis=(0, 2)))
    lines = [(name, slice(k, k + 1), colour(k)) for k, name in enumerate([*classes][: len(COLOURS)])]
    if rest := classes[len(COLOURS) :]:
        lines.append((f"{len(rest)} more classes", slice(len(COLOURS), len(classes)), OTHERS))
    lines.append((UNANSWERED if classes else "all signals", slice(-1, None), "0.75" if classes else colour(0)))

    def draw(axes: Any) -> None:
        for ax, part in zip(axes, parts, strict=True):
            for name, own, shade in lines:
                counts = tally.psd[own, part, rows].sum(axis=(0, 1))
                if counts.any():
                    edge = edges[rows.start : rows.stop + 1]
                    ax.stairs(counts, edge, color=shade, label=legend_name(name), lw=1.2)
            low, high = amplitude_edges()[[part.start, part.stop]]
            ax.set(yscale="log", xlabel="charge ratio", title=f"amplitude {low:,.0f} to {high:,.0f} ADC units")
            ax.minorticks_off()  # they would take longer than the rest of the plot
        axes[0].set_ylabel(f"signals per {edges[1]:g}")
        axes[0].legend(loc="lower center", frameon=True, framealpha=0.85, edgecolor="none")

    return drawn("distribution of the charge ratio", draw, len(parts), 2.9, 2.6)


def channel_map(tally: Tally, values: Array, errors: Array, title: str, label: str) -> str:
    """One value per channel, boards against channels; channels without a value stay grey.

    ``errors`` are the values' standard deviations by counting: the colours span three of them about the mean at least,
    or chance alone would show as a pattern.
    """
    boards, row = np.unique(tally.boards, return_inverse=True)
    channels, column = np.unique(tally.channels, return_inverse=True)
    cells = np.full((len(boards), len(channels)), np.nan)
    cells[row, column] = values
    span = _span(values[np.isfinite(values)], errors[np.isfinite(values)])

    def draw(axes: Any) -> None:
        ax = axes[0]
        ax.set_facecolor("0.92")
        mesh = ax.pcolormesh(np.ma.masked_invalid(cells), cmap="viridis", rasterized=True, **span)
        ax.figure.colorbar(mesh, ax=ax, label=label, pad=0.02)
        for axis, names, words in ((ax.xaxis, channels, "channel"), (ax.yaxis, boards, "board")):
            shown = np.unique(np.linspace(0, len(names) - 1, min(len(names), 16)).astype(int))
            axis.set_ticks(shown + 0.5, [str(names[k]) for k in shown])
            axis.set_label_text(words)
        ax.set_title(title)

    return drawn(title, draw, 1, 4.2, float(np.clip(1.2 + 0.22 * len(boards), 2.2, 5.0)))


def _span(values: Array, errors: Array) -> dict[str, float]:
    """Limits of the colours; of a value without a neighbour, too."""
    if not len(values):
        return {}
    middle, reach = float(values.mean()), 3 * float(np.median(errors)) or 1e-6
    low, high = min(values.min(), middle - reach), max(values.max(), middle + reach)
    return {"vmin": float(max(low, 0.0)), "vmax": float(high)}


def residual_plot(tally: Tally) -> str:
    """Distribution of the quality monitor's residual."""
    counts = tally.residuals.sum(axis=0)
    part = _filled(counts)

    def draw(axes: Any) -> None:
        axes[0].stairs(counts[part], residual_edges()[part.start : part.stop + 1], color=COLOURS[0])
        axes[0].set(yscale="log", ylabel="signals per bin", title="all channels")
        logarithmic(axes[0], "residual [amplitude of the signal]")

    return drawn("distribution of the residual", draw, 1, 4.2, 2.8)


def run_plot(names: Sequence[str], answers: Sequence[Array], classes: Sequence[str]) -> str:
    """Fraction of each class by run, in the order of the plan; ``answers`` as in a run's account.

    Of two classes the second is drawn as it is, of more their differences from the whole campaign's, so that a drift of
    any of them can be seen.
    """
    chosen = np.unique(np.linspace(0, len(names) - 1, min(len(names), MOST_RUNS_DRAWN)).astype(int))
    counts = np.array([answers[k] for k in chosen], float)[:, :-1]
    whole = np.sum(answers, axis=0)[:-1]
    means = 100 * whole / max(1, whole.sum())
    total = np.maximum(counts.sum(axis=1), 1)
    several = len(classes) > 2

    def draw(axes: Any) -> None:
        ax = axes[0]
        for k in range(min(len(classes), len(COLOURS))) if several else [1]:
            share = counts[:, k] / total
            error = 100 * np.sqrt(np.maximum(share * (1 - share), 0) / total)
            words = legend_name(f"{classes[k]}, all runs {means[k]:.2f} %")
            style = {"fmt": "o", "ms": 3, "lw": 1, "color": colour(k), "label": words}
            ax.errorbar(np.arange(len(chosen)), 100 * share - several * means[k], error, **style)
        ax.axhline(0.0 if several else means[1], color="0.6", lw=0.8, ls="--", zorder=0)
        ticks = np.unique(np.linspace(0, len(chosen) - 1, min(len(chosen), 12)).astype(int))
        ax.set_xticks(ticks, [_short(names[chosen[k]]) for k in ticks], rotation=30, ha="right")
        ax.set_ylabel("fraction - all runs' [%-points]" if several else "fraction of signals [%]")
        ax.margins(x=0.03, y=0.12)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

    return drawn("class fractions by run", draw, 1, 8.4, 2.6)


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
    """A name that fits under an axis."""
    return name if len(name) < 16 else f"{name[:6]}…{name[-8:]}"
