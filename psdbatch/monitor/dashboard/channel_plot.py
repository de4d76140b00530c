"""One quantity of every channel, beside the reference's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, Range1d
from bokeh.plotting import figure
from numpy.typing import NDArray

from psdbatch.monitor.dashboard.sheet import BAD, BUSY, FAINT, LINE
from psdbatch.monitor.tally import Tally
from psdbatch.monitor.view import View

Array = NDArray[Any]

RATIO, RESIDUAL, UNANSWERED = "mean charge ratio", "mean residual", "fraction without an answer"
SIGNALS = "signals"

MOST_CHANNELS = 4096
"""Channels that are drawn; the first ones by board and channel."""


@dataclass(frozen=True)
class Points:
    """A quantity of each channel, float64 ``(channels,)``: value and its standard deviation."""

    value: Array
    sigma: Array


def quantities(view: View) -> list[str]:
    """What there is to draw, the most telling first."""
    classes = [f"fraction of {name}" for name in (view.classes[1:] or view.classes)]
    if len(view.classes) > 2:
        classes = [f"fraction of {name}" for name in view.classes]
    residual = [RESIDUAL] if view.tally is not None and view.tally.residual.any() else []
    return [*classes, RATIO, *residual, *([UNANSWERED] if classes else []), SIGNALS]


def points(tally: Tally, quantity: str, classes: tuple[str, ...]) -> Points:
    """``quantity`` of all channels of ``tally``; NaN where it is not known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if quantity == SIGNALS:
            signals = tally.answers.sum(axis=1).astype(float)
            return Points(signals, np.sqrt(signals))
        if quantity in (RATIO, RESIDUAL):
            number, total, squares = (tally.ratio if quantity == RATIO else tally.residual).T
            mean = total / number
            return Points(mean, np.sqrt(np.maximum(squares / number - mean**2, 0) / number))
        if quantity == UNANSWERED:
            count, whole = tally.answers[:, -1], tally.answers.sum(axis=1)
        else:
            count = tally.answers[:, classes.index(quantity.removeprefix("fraction of "))]
            whole = tally.answers[:, :-1].sum(axis=1)
        value = count / whole
        return Points(value, np.sqrt(value * (1 - value) / whole))


class ChannelPlot:
    """Channels along the horizontal axis, board after board; channels with an alarm are ringed."""

    def __init__(self) -> None:
        self.figure = figure(
            height=300,
            sizing_mode="stretch_width",
            x_range=Range1d(-1, 1),
            tools="pan,box_zoom,wheel_zoom,reset,save",
            active_drag="box_zoom",
            title="Channels",
            x_axis_label="board (channels from left to right)",
        )
        self.figure.toolbar.autohide = True
        self._boards = ColumnDataSource({"x": []})
        self._known = ColumnDataSource({"left": [], "right": [], "y": []})
        self._points = ColumnDataSource(
            {name: [] for name in ("x", "y", "low", "high", "board", "channel", "signals", "known", "ring")}
        )
        self.figure.vspan(x="x", source=self._boards, line_color=LINE)
        self.figure.segment("left", "y", "right", "y", source=self._known, color=FAINT, line_width=2)
        self.figure.segment("x", "low", "x", "high", source=self._points, color=BUSY)
        ring = {"fill_color": None, "line_width": 2, "line_color": BAD}
        self.figure.scatter("x", "y", size="ring", source=self._points, marker="circle", **ring)
        dots = self.figure.scatter("x", "y", size=6, source=self._points, marker="circle", color=BUSY)
        self.figure.add_tools(
            HoverTool(
                renderers=[dots],
                tooltips=[
                    ("board", "@board"),
                    ("channel", "@channel"),
                    ("value", "@y{0.0000}"),
                    ("reference", "@known{0.0000}"),
                    ("signals", "@signals{0,0}"),
                ],
            )
        )
        self._layout: tuple[int, ...] | None = None

    def show(self, view: View, quantity: str) -> None:
        """Draw ``quantity``, one of :func:`quantities`."""
        if view.tally is None or not len(view.tally.channel):
            return
        tally = view.tally
        reference = view.reference.tally if view.reference and view.reference.tally is not None else None
        if (
            reference is not None
            and quantity.startswith("fraction of")
            and not (view.reference and view.reference.same_classes)
        ):
            reference = None
        packed = np.union1d(tally.channel, reference.channel if reference is not None else tally.channel)[
            :MOST_CHANNELS
        ]
        here = _spread(points(tally, quantity, view.classes), tally.channel, packed)
        signals = _spread(points(tally, SIGNALS, view.classes), tally.channel, packed).value
        known = np.full(len(packed), np.nan)
        if reference is not None:
            known = _spread(points(reference, quantity, view.classes), reference.channel, packed).value
            if quantity == SIGNALS:  # for as many signals as there are here
                known = known * tally.signals / max(1, reference.signals)
        alarms = {(alarm.drift.board << 16) + alarm.drift.channel for alarm in view.alarms}
        x = np.arange(len(packed), dtype=float)
        self._points.data = {
            "x": x,
            "y": here.value,
            "low": here.value - here.sigma,
            "high": here.value + here.sigma,
            "board": packed >> 16,
            "channel": packed & 0xFFFF,
            "signals": signals,
            "known": known,
            "ring": np.array([16 if int(channel) in alarms else 0 for channel in packed], float),
        }
        self._known.data = {"left": x - 0.4, "right": x + 0.4, "y": known}
        self._name_boards(packed >> 16)
        self.figure.title.text = f"{quantity} of each channel" + (" (grey: reference)" if reference is not None else "")
        self.figure.yaxis.axis_label = quantity

    def _name_boards(self, boards: Array) -> None:
        if self._layout == tuple(boards.tolist()):
            return
        self._layout = tuple(boards.tolist())
        found, starts, counts = np.unique(boards, return_index=True, return_counts=True)
        every = max(1, len(found) // 40)
        middles = [float(place) for place in (starts + (counts - 1) / 2)[::every]]
        self.figure.xaxis.ticker = FixedTicker(ticks=middles)
        self.figure.xaxis.major_label_overrides = {
            place: str(board) for place, board in zip(middles, found[::every].tolist(), strict=True)
        }
        self._boards.data = {"x": starts[1:] - 0.5}
        x = self.figure.x_range
        x.start, x.end = -0.7, len(boards) - 0.3
        x.reset_start, x.reset_end = x.start, x.end


def _spread(found: Points, channel: Array, packed: Array) -> Points:
    """``found`` of the channels ``channel`` at the places of ``packed``; NaN for the others."""
    value, sigma = np.full(len(packed), np.nan), np.full(len(packed), np.nan)
    inside = np.isin(channel, packed)
    places = np.searchsorted(packed, channel[inside])
    value[places], sigma[places] = found.value[inside], found.sigma[inside]
    return Points(value, sigma)
