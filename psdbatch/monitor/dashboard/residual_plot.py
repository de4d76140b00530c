"""Distribution of the quality monitor's residual, beside the reference's; only there with such a model."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, Range1d
from bokeh.plotting import figure
from numpy.typing import NDArray

from psdbatch.monitor.dashboard.sheet import BUSY, GREY
from psdbatch.monitor.tally import Tally, residual_edges
from psdbatch.monitor.view import View

Array = NDArray[Any]

MARGIN = 2
"""Bins that are shown on both sides of the signals."""


class ResidualPlot:
    """Signals by residual; a pulse unlike the training signals has a large one.

    Attributes
    ----------
    figure
        To be laid into the page; invisible as long as there is nothing to show.
    """

    def __init__(self, height: int) -> None:
        self.figure = figure(
            height=height,
            sizing_mode="stretch_width",
            x_axis_type="log",
            x_range=Range1d(1e-3, 1),
            tools="",
            toolbar_location=None,
            title="Residual",
            x_axis_label="residual of the quality monitor",
            y_axis_label="signals per bin [%]",
            visible=False,
        )
        self.figure.y_range.start = 0
        self._known = ColumnDataSource({"x": [], "y": []})
        self._here = ColumnDataSource({"x": [], "y": []})
        self.figure.line("x", "y", source=self._known, color=GREY, line_width=5)
        self.figure.line("x", "y", source=self._here, color=BUSY, line_width=1.8)

    def show(self, view: View) -> None:
        """Draw all channels of ``view`` together."""
        if view.tally is None or not view.tally.residuals.any():
            return
        self._here.data = _steps(view.tally)
        reference = view.reference.tally if view.reference else None
        beside = reference is not None and bool(reference.residuals.any())
        if reference is not None and beside:
            self._known.data = _steps(reference)
        filled = np.flatnonzero(view.tally.residuals.sum(axis=0))
        edges, x = residual_edges(), self.figure.x_range
        x.start = float(edges[max(0, filled[0] - MARGIN)])
        x.end = float(edges[min(len(edges) - 1, filled[-1] + 1 + MARGIN)])
        self.figure.title.text = f"Residual{' (grey: reference)' * beside}"
        self.figure.visible = True


def _steps(tally: Tally) -> dict[str, Array]:
    counts = tally.residuals.sum(axis=0)
    return {
        "x": np.repeat(residual_edges(), 2)[1:-1].astype(np.float32),
        "y": np.repeat(100 * counts / counts.sum(), 2).astype(np.float32),
    }
