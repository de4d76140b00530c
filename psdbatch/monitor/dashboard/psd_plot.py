"""Charge ratio against amplitude as an image, and its projection per class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.models import ColorBar, ColumnDataSource, FixedTicker, HoverTool, LogColorMapper, LogTicker, Range1d
from bokeh.palettes import Viridis256
from bokeh.plotting import figure
from numpy.typing import NDArray

from psdbatch.monitor.dashboard.sheet import COLOURS
from psdbatch.monitor.tally import AMPLITUDES, RATIOS, Tally, amplitude_edges, ratio_edges
from psdbatch.monitor.view import View

Array = NDArray[Any]

ALL, NO_ANSWER = "all", "no answer"

_TICKS = [v for decade in (1, 10, 100, 1000, 10_000) for v in (decade, 3 * decade) if v < 65_536]


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
            height=400,
            sizing_mode="stretch_width",
            x_range=x,
            y_range=y,
            tools="pan,box_zoom,wheel_zoom,reset,save",
            title="Pulse shape against amplitude",
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
            HoverTool(renderers=[drawn], tooltips=[("charge ratio", "$y{0.00}"), ("signals", "@image{0,0}")])
        )
        self.figure.add_layout(
            ColorBar(color_mapper=self._colours, ticker=LogTicker(), title="signals", width=12, border_line_color=None),
            "right",
        )
        self._shown: tuple[int, str] | None = None

    def show(self, view: View, chosen: str) -> None:
        """Draw the signals of the class ``chosen``, or :data:`ALL`, or those with :data:`NO_ANSWER`."""
        if view.tally is None or self._shown == (view.tally.signals, chosen):
            return
        counts = _counts(view.tally, view.classes, chosen)
        image = np.where(counts > 0, counts, np.nan).T.astype(np.float32)
        self._colours.high = max(10, int(counts.max()))
        self._image.data = {"image": [np.ascontiguousarray(image)]}
        if self._shown is None or self._shown[0] < 1000:
            self._fit(view.tally.psd.sum(axis=0))
        self._shown = (view.tally.signals, chosen)
        self.figure.title.text = f"Pulse shape against amplitude: {int(counts.sum()):,} signals"

    def _fit(self, counts: Array) -> None:
        """Show what holds all but a thousandth of the signals on each side."""
        x, y = self.figure.x_range, self.figure.y_range
        low, high = _range(counts.sum(axis=1))
        x.start, x.end = max(0, low - 2), min(AMPLITUDES, high + 2)
        low, high = _range(counts.sum(axis=0))
        y.start, y.end = max(0.0, (low - 6) / RATIOS), min(1.0, (high + 6) / RATIOS)
        x.reset_start, x.reset_end, y.reset_start, y.reset_end = x.start, x.end, y.start, y.end


class Projection:
    """Distribution of the charge ratio per class, and of the reference's signals; shares the ratio axis with the image."""

    def __init__(self, psd: PsdPlot) -> None:
        self.figure = figure(
            height=400,
            width=260,
            y_range=psd.figure.y_range,
            tools="",
            title="All amplitudes",
            x_axis_label="signals per bin [%]",
            y_axis_label=None,
        )
        self._lines = ColumnDataSource({"xs": [], "ys": [], "colour": [], "name": [], "width": []})
        self.figure.multi_line("xs", "ys", color="colour", line_width="width", source=self._lines)
        self.figure.x_range.start = 0

    def show(self, view: View) -> None:
        """Draw the classes of ``view``."""
        if view.tally is None or not view.tally.psd.any():
            return
        steps = np.repeat(ratio_edges(), 2)[1:-1]
        total = view.tally.psd.sum()
        lines: dict[str, list[Any]] = {"xs": [], "ys": [], "colour": [], "name": [], "width": []}

        def add(counts: Array, whole: int, colour: str, name: str, width: float) -> None:
            lines["xs"].append(np.repeat(100 * counts / whole, 2))
            lines["ys"].append(steps)
            lines["colour"].append(colour)
            lines["name"].append(name)
            lines["width"].append(width)

        reference = view.reference.tally if view.reference else None
        same = view.reference is not None and view.reference.same_classes
        names = view.classes or (ALL,)
        for k, name in enumerate(names):
            if reference is not None and same and reference.psd.any():
                add(reference.psd[k].sum(axis=0), reference.psd.sum(), "#c4c8ce", f"{name}, reference", 5)
            add(view.tally.psd[k].sum(axis=0), total, COLOURS[k % len(COLOURS)], name, 1.8)
        self._lines.data = lines


def _counts(tally: Tally, classes: Sequence[str], chosen: str) -> Array:
    """int64 ``(AMPLITUDES, RATIOS)``."""
    if chosen == NO_ANSWER:
        return np.asarray(tally.psd[-1])
    if chosen in classes:
        return np.asarray(tally.psd[list(classes).index(chosen)])
    return np.asarray(tally.psd.sum(axis=0))


def _range(counts: Array) -> tuple[int, int]:
    """First and last bin of all but a thousandth of the signals on each side."""
    part = np.cumsum(counts) / max(1, counts.sum())
    return int(np.searchsorted(part, 0.001)), int(np.searchsorted(part, 0.999)) + 1
