"""The page as a Bokeh document: laid out once per browser, brought up to date every second."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from bokeh.layouts import column, row
from bokeh.models import Div, InlineStyleSheet, RadioButtonGroup, Select
from distributed.dashboard.components.scheduler import BOKEH_THEME, env

from psdbatch.monitor.dashboard import words
from psdbatch.monitor.dashboard.channel_plot import ChannelPlot, quantities
from psdbatch.monitor.dashboard.psd_plot import ALL, NO_ANSWER, Projection, PsdPlot
from psdbatch.monitor.dashboard.sheet import STYLE
from psdbatch.monitor.dashboard.throughput_plot import ThroughputPlot
from psdbatch.monitor.view import View

logger = logging.getLogger(__name__)

EVERY = 1000
"""Milliseconds between two updates."""

TABLES: Mapping[str, Callable[[View], str]] = {
    "header": words.header,
    "groups": words.groups_table,
    "stages": words.stages_table,
    "boards": words.boards_table,
    "drift": words.alarms_table,
    "quarantined": words.quarantine_table,
    "refused": words.refused_table,
}


class Page:
    """What one browser shows.

    Parameters
    ----------
    look
        Gives the campaign as it is now.

    Attributes
    ----------
    root
        To be added to a document.
    """

    def __init__(self, look: Callable[[], View]) -> None:
        self._look = look
        style = InlineStyleSheet(css=STYLE)
        self._tables = {
            name: Div(name=name, stylesheets=[style], sizing_mode="stretch_width", disable_math=True) for name in TABLES
        }
        self._psd, self._channels, self._throughput = PsdPlot(), ChannelPlot(), ThroughputPlot()
        self._projection = Projection(self._psd)
        self._classes = RadioButtonGroup(labels=[ALL], active=0, visible=False)
        self._quantity = Select(options=[], visible=False, width=260)
        for widget, what in ((self._classes, "active"), (self._quantity, "value")):
            widget.on_change(what, lambda attr, old, new: self.update())
        self._updating = False
        self.root = self._laid_out()
        self.update()

    def update(self) -> None:
        """Show the campaign as it is now.  What has not changed is not sent."""
        if self._updating:  # setting a choice asks for an update again
            return
        self._updating = True
        try:
            view = self._look()
            for name, table in self._tables.items():
                if table.text != (text := TABLES[name](view)):
                    table.text = text
            self._offer(view)
            self._psd.show(view, self._classes.labels[self._classes.active])
            self._projection.show(view)
            self._channels.show(view, self._quantity.value)
            self._throughput.show(view)
        except Exception:  # a page that fails must not fill the scheduler's log each second, nor end its loop
            logger.exception("the dashboard page cannot be brought up to date")
        finally:
            self._updating = False

    def _offer(self, view: View) -> None:
        """Offer what there is to choose from."""
        labels = [ALL, *view.classes, NO_ANSWER] if view.classes else [ALL]
        if self._classes.labels != labels:
            self._classes.update(labels=labels, active=0, visible=len(labels) > 1)
        options = quantities(view)
        if self._quantity.options != options:
            kept = self._quantity.value if self._quantity.value in options else options[0]
            self._quantity.update(options=options, value=kept, visible=True)

    def _laid_out(self) -> Any:
        wide: dict[str, Any] = {"sizing_mode": "stretch_width", "spacing": 24}
        tables = self._tables
        return column(
            tables["header"],
            row(
                column(
                    row(self._psd.figure, self._projection.figure, sizing_mode="stretch_width"),
                    self._classes,
                    sizing_mode="stretch_width",
                ),
                column(self._throughput.figure, tables["groups"], sizing_mode="stretch_width"),
                **wide,
            ),
            row(column(self._channels.figure, self._quantity, sizing_mode="stretch_width"), tables["drift"], **wide),
            row(tables["stages"], tables["boards"], **wide),
            row(tables["quarantined"], tables["refused"], **wide),
            sizing_mode="stretch_width",
            margin=(6, 18, 24, 18),
            spacing=10,
        )


def document(look: Callable[[], View], scheduler: object, extra: Mapping[str, Any], doc: Any) -> None:
    """Fill a new browser's document; called by the dashboard.

    Parameters
    ----------
    look
        Gives the campaign as it is now.
    scheduler, extra
        As the dashboard hands them to each of its pages: ``extra`` holds what its menu is made of.
    doc
        To be filled.
    """
    page = Page(look)
    doc.title = "psdbatch"
    doc.add_root(page.root)
    doc.add_periodic_callback(page.update, EVERY)
    doc.template = env.get_template("simple.html")
    doc.template_variables.update(extra)
    doc.theme = BOKEH_THEME
