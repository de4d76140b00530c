"""The page as a Bokeh document: laid out once per browser, brought up to date every second."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from bokeh import events
from bokeh.layouts import column, row
from bokeh.models import CustomJS, Div, InlineStyleSheet, RadioButtonGroup, Select
from distributed.dashboard.components.scheduler import BOKEH_THEME, env

from psdbatch.monitor.dashboard import tables, words
from psdbatch.monitor.dashboard.channel_plot import ChannelPlot, quantities
from psdbatch.monitor.dashboard.psd_plot import ALL, HEIGHT, Projection, PsdPlot, choices
from psdbatch.monitor.dashboard.residual_plot import ResidualPlot
from psdbatch.monitor.dashboard.sheet import FLOWING, STYLE, beside
from psdbatch.monitor.dashboard.throughput_plot import ThroughputPlot
from psdbatch.monitor.view import View

logger = logging.getLogger(__name__)

EVERY = 1000
"""Milliseconds between two updates."""

LOST = """
if (window.psdbatch_lost) return;
window.psdbatch_lost = true;
const note = document.createElement("div");
note.textContent = "no connection since " + new Date().toTimeString().slice(0, 17) + "; the numbers are of then";
note.style = "position:fixed;bottom:0;left:0;right:0;z-index:1000;padding:8px;text-align:center;"
  + "background:#fdf0dc;color:#8a4b08;font:14px sans-serif";
for (const part of document.body.children) part.style.filter = "grayscale(1)";
document.body.appendChild(note);
const again = () => fetch(window.location.href, {cache: "no-store"})
  .then((answer) => { if (answer.ok) window.location.reload(); }, () => {});
window.setInterval(again, 3000);
"""
"""A browser that has lost the coordinator says so, and comes back with the next one at the same address."""

BELOW_MENU = """
const menu = document.getElementById("myTopnav");
if (menu) new ResizeObserver(() => { document.body.style.paddingTop = menu.offsetHeight + "px"; }).observe(menu);
"""
"""The dashboard's menu stands above the page and takes two lines in a narrow window."""

TABLES: Mapping[str, Callable[[View], str]] = {
    "header": words.header,
    "groups": tables.groups_table,
    "drift": tables.alarms_table,
    "quarantined": tables.quarantine_table,
    "refused": tables.refused_table,
    "failures": tables.failures_table,
}
COUNTED: Mapping[str, Callable[[View], str]] = {
    "runs": tables.runs_table,
    "physics": tables.physics_table,
    "stages": tables.stages_table,
    "boards": tables.boards_table,
}
"""Tables of finished blocks, which need not be made again for the same version; of 65,000 channels they cost a tenth of a second."""


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
            name: Div(name=name, stylesheets=[style], sizing_mode="stretch_width", disable_math=True)
            for name in (*TABLES, *COUNTED)
        }
        self._psd, self._channels, self._throughput = PsdPlot(), ChannelPlot(), ThroughputPlot()
        self._projection, self._residual = Projection(self._psd), ResidualPlot(HEIGHT)
        self._classes = RadioButtonGroup(labels=[ALL], active=0, visible=False)
        self._quantity = Select(options=[], visible=False, width=260)
        for widget, what in ((self._classes, "active"), (self._quantity, "value")):
            widget.on_change(what, lambda attr, old, new: self.update())
        self._updating = False
        self._drawn: tuple[Any, ...] = ()
        self.root = self._laid_out()
        self.update()

    def update(self) -> None:
        """Show the campaign as it is now.  What has not changed is not sent."""
        if self._updating:  # setting a choice asks for an update again
            return
        self._updating = True
        try:
            view = self._look()
            self._tell(TABLES, view)
            self._offer(view)
            drawn = view.version, self._classes.active, self._quantity.value
            if drawn != self._drawn:
                self._tell(COUNTED, view)
                self._draw(view)
                self._drawn = drawn
            self._throughput.pass_time(view)
        except Exception:  # a page that fails must not fill the scheduler's log each second, nor end its loop
            logger.exception("the dashboard page cannot be brought up to date")
        finally:
            self._updating = False

    def _tell(self, told: Mapping[str, Callable[[View], str]], view: View) -> None:
        for name, table in told.items():
            if self._tables[name].text != (text := table(view)):
                self._tables[name].text = text

    def _draw(self, view: View) -> None:
        self._psd.show(view, self._classes.active or 0)
        self._projection.show(view)
        self._residual.show(view)
        self._channels.show(view, self._quantity.value)
        self._throughput.show(view)

    def _offer(self, view: View) -> None:
        """Offer what there is to choose from."""
        labels = choices(view)
        if self._classes.labels != labels:
            self._classes.update(labels=labels, active=0, visible=len(labels) > 1)
        options = quantities(view)
        if self._quantity.options != options:
            kept = self._quantity.value if self._quantity.value in options else options[0]
            self._quantity.update(options=options, value=kept, visible=True)

    def _laid_out(self) -> Any:
        told = self._tables
        psd = _beside(column(self._psd.figure, self._classes, sizing_mode="stretch_width"), 480, 3)
        projection = _beside(self._projection.figure, 260)
        residual = _beside(self._residual.figure, 260)
        pace = _beside(column(self._throughput.figure, told["groups"], sizing_mode="stretch_width"), 460, 3)
        channels = _beside(column(self._channels.figure, self._quantity, sizing_mode="stretch_width"), 480, 3)
        pairs = (("runs", "physics"), ("stages", "boards"), ("quarantined", "refused"))
        wide = {"runs": 560, "physics": 640, "boards": 640}
        return column(
            told["header"],
            _flowing(psd, projection, residual, pace),
            _flowing(channels, _beside(told["drift"], 500, 2)),
            *(_flowing(*(_beside(told[name], wide.get(name, 420)) for name in pair)) for pair in pairs),
            told["failures"],
            sizing_mode="stretch_width",
            margin=(6, 18, 24, 18),
            spacing=10,
        )


def _flowing(*parts: Any) -> Any:
    return row(*parts, sizing_mode="stretch_width", stylesheets=[InlineStyleSheet(css=FLOWING)])


def _beside(part: Any, width: int, grow: int = 1) -> Any:
    part.stylesheets = [*part.stylesheets, InlineStyleSheet(css=beside(width, grow))]
    return part


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
    doc.js_on_event(events.DocumentReady, CustomJS(code=BELOW_MENU))
    if hasattr(events, "ConnectionLost"):  # younger Bokehs tell the browser
        doc.js_on_event(events.ConnectionLost, CustomJS(code=LOST))
    doc.add_periodic_callback(page.update, EVERY)
    doc.template = env.get_template("simple.html")
    doc.template_variables.update(extra)
    doc.theme = BOKEH_THEME
