"""Signals per second against time, the worker groups one upon another."""

from __future__ import annotations

import time

from bokeh.models import ColumnDataSource, CustomJSTickFormatter, HoverTool, Range1d
from bokeh.plotting import figure

from psdbatch.monitor.dashboard.sheet import GROUP_COLOURS
from psdbatch.monitor.view import View, group_name

_PREFIXES = """
if (tick >= 1e9) return (tick / 1e9) + " G";
if (tick >= 1e6) return (tick / 1e6) + " M";
return tick >= 1e3 ? (tick / 1e3) + " k" : "" + tick;
"""
"""Bokeh's own short form writes an m for millions."""


class ThroughputPlot:
    """Bars of the width of a step of time; pauses stay empty."""

    def __init__(self) -> None:
        self.figure = figure(
            height=300,
            sizing_mode="stretch_width",
            x_axis_type="datetime",
            x_range=Range1d(0, 1),
            tools="",
            title="Throughput",
            toolbar_location=None,
            y_axis_label="signals per second",
        )
        self.figure.y_range.start = 0
        self.figure.yaxis.formatter = CustomJSTickFormatter(code=_PREFIXES)
        self._bars = ColumnDataSource(
            {name: [] for name in ("left", "right", "bottom", "top", "colour", "group", "rate")}
        )
        bars = self.figure.quad(
            "left", "right", "top", "bottom", fill_color="colour", line_color=None, source=self._bars
        )
        self.figure.add_tools(HoverTool(renderers=[bars], tooltips=[("group", "@group"), ("signals/s", "@rate{0,0}")]))

    def show(self, view: View) -> None:
        """Draw the throughput of ``view``; the last step, which goes on, is drawn up to its present end."""
        width, zone = view.throughput.width, _zone(view.time)
        bars: dict[str, list[float | str]] = {name: [] for name in self._bars.data}
        below: dict[int, float] = {}
        numbers = {name: number for number, name in enumerate(view.groups)}
        for group, steps in view.throughput.groups.items():
            for step, signals in steps.items():
                end = min((step + 1) * width, max(view.time, (step + 0.25) * width))
                rate = signals / (end - step * width)
                bottom = below.get(step, 0.0)
                below[step] = bottom + rate
                bars["left"].append(1e3 * (step * width + zone))
                bars["right"].append(1e3 * (end + zone))
                bars["bottom"].append(bottom)
                bars["top"].append(bottom + rate)
                bars["colour"].append(GROUP_COLOURS[numbers.get(group, 0) % len(GROUP_COLOURS)])
                bars["group"].append(group_name(group))
                bars["rate"].append(rate)
        self._bars.data = bars
        if below:
            self.figure.x_range.start = 1e3 * (min(below) * width + zone)
        self.figure.xaxis.axis_label = f"time ({time.strftime('%Z', time.localtime(view.time))})"

    def pass_time(self, view: View) -> None:
        """Let the axis end now, so that a pause is seen; as long as the campaign runs."""
        if view.state == "running" and view.throughput.groups:
            self.figure.x_range.end = 1e3 * (view.time + _zone(view.time))


def _zone(moment: float) -> float:
    """Seconds by which the coordinator's clock is ahead of UTC, which Bokeh's axis shows."""
    return float(time.localtime(moment).tm_gmtoff)
