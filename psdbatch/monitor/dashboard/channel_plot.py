"""One quantity of every channel, beside the reference's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, Range1d
from bokeh.plotting import figure
from numpy.typing import NDArray

from psdbatch.monitor.dashboard.sheet import BAD, BUSY, GREY, LINE
from psdbatch.monitor.drift import FLAGS, NO_ANSWER
from psdbatch.monitor.tally import Tally
from psdbatch.monitor.view import View

Array = NDArray[Any]

MEANS = {"mean charge ratio": "ratio", "mean amplitude": "amplitude", "mean residual": "residual"}
"""What :mod:`psdbatch.monitor.drift` calls a mean, and the moments that it is made of."""
SIGNALS = "signals"
OF_FLAGS = {f"fraction {name}": k for k, name in enumerate(FLAGS)}
UNANSWERED = f"fraction {NO_ANSWER}"

MOST_CHANNELS = 4096
"""Channels that are drawn; the first ones by board and channel."""
MOST_BARS = 500
"""Channels that are drawn with error bars; those of more would run into each other."""
MOST_NAMES = 24
"""Boards that are named at the axis."""


@dataclass(frozen=True)
class Points:
    """A quantity of each channel, float64 ``(channels,)``: value and its standard deviation."""

    value: Array
    sigma: Array


def quantities(view: View) -> list[str]:
    """What there is to draw, the most telling first; named as drift alarms name it."""
    told = view.classes if len(view.classes) > 2 else view.classes[1:] or view.classes
    means = [name for name, moments in MEANS.items() if view.tally is None or getattr(view.tally, moments).any()]
    answers = [UNANSWERED] if view.classes else []
    return [*(f"fraction of {name}" for name in told), *means, *answers, *OF_FLAGS, SIGNALS]


def points(tally: Tally, quantity: str, classes: tuple[str, ...]) -> Points:
    """``quantity`` of all channels of ``tally``; NaN where it is not known."""
    signals = tally.answers.sum(axis=1).astype(float)
    if quantity == SIGNALS:
        return Points(signals, np.sqrt(signals))
    with np.errstate(divide="ignore", invalid="ignore"):
        if quantity in MEANS:
            number, total, squares = getattr(tally, MEANS[quantity]).T
            mean = total / number
            return Points(mean, np.sqrt(np.maximum(squares / number - mean**2, 0) / number))
        if quantity == UNANSWERED:
            count, whole = tally.answers[:, -1], signals
        elif quantity in OF_FLAGS:
            count, whole = tally.flagged[:, OF_FLAGS[quantity]], signals
        else:
            count = tally.answers[:, classes.index(quantity.removeprefix("fraction of "))]
            whole = tally.answers[:, :-1].sum(axis=1)
        value = count / whole
        return Points(value, np.sqrt(value * (1 - value) / whole))


def channel_rows(view: View, quantity: str) -> dict[str, Array]:
    """What is drawn of each channel of campaign and reference: value and error on both sides, place, signals, ring.

    ``ring`` is 2 for a channel whose alarm is about this quantity, 1 for one with another alarm, else 0.
    """
    assert view.tally is not None
    tally, reference = view.tally, view.reference.tally if view.reference else None
    if quantity.startswith("fraction of") and not (view.reference and view.reference.same_classes):
        reference = None
    channel = np.union1d(tally.channel, tally.channel if reference is None else reference.channel)[:MOST_CHANNELS]
    here = _spread(points(tally, quantity, view.classes), tally.channel, channel)
    known = Points(np.full(len(channel), np.nan), np.full(len(channel), np.nan))
    if reference is not None:
        known = _spread(points(reference, quantity, view.classes), reference.channel, channel)
        if quantity == SIGNALS:  # for as many signals as there are here
            scale = tally.signals / max(1, reference.signals)
            known = Points(known.value * scale, known.sigma * scale)
    signals = _spread(points(tally, SIGNALS, view.classes), tally.channel, channel).value
    ring = np.zeros(len(channel))
    for alarm in view.alarms:
        place = np.searchsorted(channel, (alarm.drift.board << 16) + alarm.drift.channel)
        if place < len(channel) and channel[place] == (alarm.drift.board << 16) + alarm.drift.channel:
            ring[place] = max(ring[place], 2 if alarm.drift.what == quantity else 1)
    bars = here.sigma if len(channel) <= MOST_BARS else np.zeros(len(channel))
    return {
        "channel": channel,
        "value": here.value,
        "low": here.value - bars,
        "high": here.value + bars,
        "signals": signals,
        "known": known.value,
        "known_low": known.value - known.sigma,
        "known_high": known.value + known.sigma,
        "ring": ring,
    }


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
        names = ("x", "y", "low", "high", "board", "number", "signals", "known", "known_low", "known_high")
        self._points = ColumnDataSource({name: [] for name in (*names, "left", "right", "solid", "dashed")})
        self.figure.vspan(x="x", source=self._boards, line_color=LINE)
        drawn = {"source": self._points}
        self.figure.quad("left", "right", "known_high", "known_low", fill_color=GREY, line_color=GREY, **drawn)
        self.figure.segment("x", "low", "x", "high", color=BUSY, **drawn)
        ring = {"fill_color": None, "line_width": 2, "line_color": BAD, "marker": "circle"}
        self.figure.scatter("x", "y", size="solid", **ring, **drawn)
        self.figure.scatter("x", "y", size="dashed", line_dash="dotted", **ring, **drawn)
        dots = self.figure.scatter("x", "y", size=6, marker="circle", color=BUSY, **drawn)
        told = ("board", "@board"), ("channel", "@number"), ("value", "@y{0.0000}")
        more = ("reference", "@known{0.0000}"), ("signals", "@signals{0,0}")
        self.figure.add_tools(HoverTool(renderers=[dots], tooltips=[*told, *more]))
        self._layout: tuple[int, ...] | None = None

    def show(self, view: View, quantity: str) -> None:
        """Draw ``quantity``, one of :func:`quantities`."""
        if view.tally is None or not len(view.tally.channel):
            return
        rows = channel_rows(view, quantity)
        channel, x = rows["channel"], np.arange(len(rows["channel"]))
        self._points.data = {
            "x": x.astype(np.float32),
            "y": rows["value"].astype(np.float32),
            "board": (channel >> 16).astype(np.int32),
            "number": (channel & 0xFFFF).astype(np.int32),
            "left": (x - 0.4).astype(np.float32),
            "right": (x + 0.4).astype(np.float32),
            "solid": np.where(rows["ring"] == 2, 16, 0).astype(np.float32),
            "dashed": np.where(rows["ring"] == 1, 16, 0).astype(np.float32),
            **{
                name: rows[name].astype(np.float32)
                for name in ("low", "high", "signals", "known", "known_low", "known_high")
            },
        }
        self._name_boards(channel >> 16)
        reference = " (grey: reference)" if np.isfinite(rows["known"]).any() else ""
        first = f", the first {MOST_CHANNELS:,} of {view.channels:,} channels" if view.channels > MOST_CHANNELS else ""
        self.figure.title.text = f"{quantity} of each channel{first}{reference}"
        self.figure.yaxis.axis_label = quantity

    def _name_boards(self, boards: Array) -> None:
        if self._layout == tuple(boards.tolist()):
            return
        self._layout = tuple(boards.tolist())
        found, starts, counts = np.unique(boards, return_index=True, return_counts=True)
        every = -(-len(found) // MOST_NAMES)
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
