"""Charge ratio against amplitude as an image, and its projection per class."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import (
    ColorBar,
    ColumnDataSource,
    CustomJSHover,
    FixedTicker,
    HoverTool,
    LogColorMapper,
    LogTicker,
    Range1d,
)
from bokeh.palettes import Viridis256
from bokeh.plotting import figure
from numpy.typing import NDArray

from psdbatch.monitor.dashboard.sheet import COLOURS, GREY
from psdbatch.monitor.tally import AMPLITUDES, PER_OCTAVE, RATIOS, Tally, amplitude_edges, ratio_edges
from psdbatch.monitor.view import View

Array = NDArray[Any]

ALL, NO_ANSWER = "all", "no answer"

HEIGHT = 400

_TICKS = [v for decade in (1, 10, 100, 1000, 10_000) for v in (decade, 3 * decade) if v < 65_536]

_AMPLITUDE = f"""
const edge = (bin) => 2 ** Math.floor(bin / {PER_OCTAVE}) * (1 + (bin % {PER_OCTAVE}) / {PER_OCTAVE});
const bin = Math.floor(value);
return Math.round(edge(bin)).toLocaleString("en") + " to " + Math.round(edge(bin + 1)).toLocaleString("en");
"""
"""The amplitudes of a bin, as :func:`psdbatch.monitor.tally.amplitude_edges` has them."""


def choices(view: View) -> list[str]:
    """What may be drawn: all signals, those of each class, those without an answer; chosen by their number in this list."""
    return [ALL, *view.classes, NO_ANSWER] if view.classes else [ALL]


class PsdPlot:
    """The histogram.

    The image has one column per bin of amplitude, whose widths are no constant fraction of anything; so the axis counts
    bins, and its labels stand where the amplitudes lie.

    Attributes
    ----------
    figure
        To be laid into the page.
    """

    def __init__(self) -> None:
        self._image = ColumnDataSource({"image": [np.full((RATIOS, AMPLITUDES), np.nan, np.float32)]})
        self._colours = LogColorMapper(Viridis256, low=1, high=10, nan_color="rgba(0,0,0,0)")
        x, y = Range1d(0, AMPLITUDES), Range1d(0, 1)
        self.figure = figure(
            height=HEIGHT,
            sizing_mode="stretch_width",
            x_range=x,
            y_range=y,
            tools="pan,box_zoom,wheel_zoom,reset,save",
            title="Pulse shape",
            x_axis_label="amplitude [ADC units]",
            y_axis_label="charge ratio (long − short) / long",
        )
        self.figure.toolbar.autohide = True
        places = np.interp(_TICKS, amplitude_edges(), np.arange(AMPLITUDES + 1))
        self.figure.xaxis.ticker = FixedTicker(ticks=[float(place) for place in places])
        self.figure.xaxis.major_label_overrides = {
            float(place): f"{tick:,}" for place, tick in zip(places, _TICKS, strict=True)
        }
        drawn = self.figure.image(
            "image", x=0, y=0, dw=AMPLITUDES, dh=1, source=self._image, color_mapper=self._colours
        )
        self.figure.add_tools(
            HoverTool(
                renderers=[drawn],
                tooltips=[("amplitude", "$x{custom}"), ("charge ratio", "$y{0.00}"), ("signals", "@image{0,0}")],
                formatters={"$x": CustomJSHover(code=_AMPLITUDE)},
            )
        )
        self.figure.add_layout(
            ColorBar(
                color_mapper=self._colours, ticker=LogTicker(), width=10, border_line_color=None, padding=4, margin=0
            ),
            "right",
        )
        self._fitted: tuple[float, ...] | None = None

    def show(self, view: View, chosen: int) -> None:
        """Draw the signals of what :func:`choices` has under this number."""
        if view.tally is None:
            return
        counts = _counts(view.tally, chosen)
        image = np.where(counts > 0, counts, np.nan).T.astype(np.float32)
        self._colours.high = max(10, int(counts.max()))
        self._image.data = {"image": [np.ascontiguousarray(image)]}
        self._fit(view.tally.psd.sum(axis=0))
        self.figure.title.text = f"Pulse shape: {int(counts.sum()):,} signals"

    def _fit(self, counts: Array) -> None:
        """Show what holds all but a thousandth of the signals on each side, unless the reader has zoomed."""
        if not counts.any():
            return
        x, y = self.figure.x_range, self.figure.y_range
        untouched = self._fitted is None or (x.start, x.end, y.start, y.end) == self._fitted
        low, high = _range(counts.sum(axis=1))
        left, right = float(max(0, low - 2)), float(min(AMPLITUDES, high + 2))
        low, high = _range(counts.sum(axis=0))
        bottom, top = max(0.0, (low - 6) / RATIOS), min(1.0, (high + 6) / RATIOS)
        x.reset_start, x.reset_end, y.reset_start, y.reset_end = left, right, bottom, top
        if untouched:
            x.start, x.end, y.start, y.end = self._fitted = left, right, bottom, top


class Projection:
    """Distribution of the charge ratio per class, and of the reference's signals; shares the ratio axis with the image."""

    def __init__(self, psd: PsdPlot) -> None:
        self.figure = figure(
            height=HEIGHT,
            sizing_mode="stretch_width",
            y_range=psd.figure.y_range,
            tools="",
            toolbar_location=None,
            title="All amplitudes",
            x_axis_label="signals per bin [%]",
            y_axis_label=None,
        )
        self._lines = ColumnDataSource({"xs": [], "ys": [], "colour": [], "name": [], "width": []})
        self.figure.multi_line("xs", "ys", color="colour", line_width="width", source=self._lines, legend_field="name")
        self.figure.x_range.start = 0
        self.figure.legend.update(
            location="top_right",
            background_fill_alpha=0.7,
            border_line_color=None,
            label_text_font_size="11px",
            padding=4,
        )

    def show(self, view: View) -> None:
        """Draw the classes of ``view``."""
        if view.tally is None or not view.tally.psd.any():
            return
        steps = np.repeat(ratio_edges(), 2)[1:-1].astype(np.float32)
        lines: dict[str, list[Any]] = {"xs": [], "ys": [], "colour": [], "name": [], "width": []}

        def add(tally: Tally, k: int, colour: str, name: str, width: float) -> None:
            share = 100 * tally.psd[k].sum(axis=0) / tally.psd.sum()
            for key, value in zip(
                lines, (np.repeat(share, 2).astype(np.float32), steps, colour, name, width), strict=True
            ):
                lines[key].append(value)

        reference = view.reference.tally if view.reference and view.reference.same_classes else None
        names = view.classes or ("all signals",)
        for k, name in enumerate(names):
            if reference is not None and reference.psd.any():
                add(reference, k, GREY, "reference", 5)
            add(view.tally, k, COLOURS[k % len(COLOURS)], name, 1.8)
        self._lines.data = lines


def _counts(tally: Tally, chosen: int) -> Array:
    """int64 ``(AMPLITUDES, RATIOS)``; ``chosen`` counts from 1 on, 0 for all signals."""
    return np.asarray(tally.psd.sum(axis=0) if chosen == 0 else tally.psd[min(chosen, len(tally.psd)) - 1])


def _range(counts: Array) -> tuple[int, int]:
    """First and last bin of all but a thousandth of the signals on each side."""
    part = np.cumsum(counts) / max(1, counts.sum())
    return int(np.searchsorted(part, 0.001)), int(np.searchsorted(part, 0.999)) + 1
