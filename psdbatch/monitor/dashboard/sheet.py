"""Colours and style of the page."""

from psdbatch.monitor.plots import COLOURS

TEXT, FAINT, LINE = "#222222", "#6b7280", "#e5e7eb"
GOOD, WARN, BAD, BUSY = "#228833", "#b45309", "#cc3311", "#4477aa"
LIGHT, GREY = "#99bbdd", "#c4c8ce"

GROUP_COLOURS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#aa3377", "#ee7733", "#999999")
"""Of worker groups (P. Tol's bright scheme): red is left to trouble."""

STYLE = f"""
:host {{ font: 14px/1.45 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; color: {TEXT}; width: 100%; }}
.bk-clearfix {{ width: 100%; }}
h1 {{ font-size: 20px; margin: 0 0 2px; font-weight: 650; }}
h2 {{ font-size: 14px; margin: 10px 0 4px; font-weight: 650; }}
.faint {{ color: {FAINT}; font-weight: 400; }}
.bar {{ height: 22px; background: {LINE}; border-radius: 4px; overflow: hidden; display: flex; margin: 6px 0; }}
.bar div {{ height: 100%; }}
.facts {{ display: flex; flex-wrap: wrap; gap: 4px 34px; margin: 4px 0 8px; }}
.fact b {{ display: block; font-size: 22px; font-weight: 600; line-height: 1.2; font-variant-numeric: tabular-nums; }}
.fact span {{ color: {FAINT}; font-size: 12px; }}
.notes {{ margin: 2px 0; }}
.note {{ display: inline-block; padding: 2px 10px; border-radius: 10px; margin: 2px 6px 2px 0; font-size: 13px; }}
.good {{ background: #e3f3e6; color: #14602a; }} .warn {{ background: #fdf0dc; color: #8a4b08; }}
.bad {{ background: #fbe3dd; color: #9b230b; }} .busy {{ background: #e4ecf5; color: #2b5580; }}
table {{ border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; width: 100%; }}
th, td {{ padding: 3px 10px 3px 0; text-align: right; border-bottom: 1px solid {LINE}; white-space: nowrap; vertical-align: top; }}
th {{ font-weight: 600; color: {FAINT}; font-size: 12px; }}
th.left, td.left {{ text-align: left; }}
td.wrap {{ white-space: normal; overflow-wrap: anywhere; text-align: left; }}
td.share {{ width: 30%; min-width: 90px; }}
td.share div {{ height: 10px; margin-top: 5px; background: {BUSY}; border-radius: 2px; }}
.dot {{ display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 7px; }}
.scroll {{ max-height: 300px; overflow: auto; }}
"""

FLOWING = """
:host { display: flex !important; flex-flow: row wrap !important; gap: 6px 24px !important; width: 100% !important; }
"""
"""Parts stand beside each other where there is room for them, else below each other."""


def beside(width: int, grow: int = 1) -> str:
    """A part of a flowing row that is at least ``width`` pixels wide where the window is, and takes ``grow`` of what is left."""
    return f":host {{ flex: {grow} 1 {width}px !important; min-width: min({width}px, 100%) !important; width: auto !important; }}"


__all__ = [
    "BAD",
    "BUSY",
    "COLOURS",
    "FAINT",
    "FLOWING",
    "GOOD",
    "GREY",
    "GROUP_COLOURS",
    "LIGHT",
    "LINE",
    "STYLE",
    "TEXT",
    "WARN",
    "beside",
]
