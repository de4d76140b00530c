"""Plots as SVG text, to be laid into a page."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from html import escape
from typing import Any

from psdbatch.monitor.plots import STYLE, without_formulas

Draw = Callable[[Any], None]


def drawn(name: str, draw: Draw, columns: int = 1, width: float = 5.0, height: float = 3.4) -> str:
    """SVG of ``draw(axes)``, ``axes`` of shape ``(columns,)``.

    ``name`` says what is drawn, to those who hear the page read, and keeps the identifiers of several plots apart.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings = {**STYLE, "svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}
    with mpl.rc_context(settings):
        sheet = Figure(figsize=(width * columns, height), layout="constrained")
        FigureCanvasSVG(sheet)
        draw(sheet.subplots(1, columns, squeeze=False)[0])
        without_formulas(sheet)
        text = io.StringIO()
        sheet.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    mark = f"p{hashlib.sha256(name.encode()).hexdigest()[:8]}-"
    svg = re.sub(r'( id="|xlink:href="#|url\(#)', rf"\g<1>{mark}", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(name)}" ', 1)


def logarithmic(ax: Any, words: str, vertical: bool = False) -> None:
    """Logarithmic axis with numbers that people read: 50, 100, 200 rather than powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if vertical:
        ax.set(yscale="log", ylabel=words)
    else:
        ax.set(xscale="log", xlabel=words)
    low, high = ax.get_ylim() if vertical else ax.get_xlim()
    axis = ax.yaxis if vertical else ax.xaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
