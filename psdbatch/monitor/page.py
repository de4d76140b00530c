"""Reports: one HTML page that holds everything, made to be printed too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from psdbatch.plain import plain

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1080px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; margin-bottom: 0.2em; } h2 { font-size: 1.15em; margin: 1.8em 0 0.4em; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; margin: 0.6em 0; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2em 0.6em; text-align: right; border-bottom: 1px solid #e4e4e4; vertical-align: top; }
th { font-weight: 600; } td { white-space: nowrap; } th:first-child, td:first-child { text-align: left; }
table.facts td { text-align: left; overflow-wrap: anywhere; white-space: normal; } table.facts td:first-child { color: #666; white-space: nowrap; }
svg { max-width: 100%; height: auto; display: block; } .small { color: #666; font-size: 0.87em; }
ul.notes li { margin: 0.2em 0; } figure { margin: 0.6em 0; break-inside: avoid; } figcaption { color: #555; font-size: 0.87em; }
.wide { overflow-x: auto; font-size: 0.8em; }
.result { font-size: 1.25em; padding: 0.7em 0.9em; border-left: 5px solid #228833; background: #f2f8f2; margin: 0.8em 0 0.3em; overflow-wrap: anywhere; }
.result.open { border-color: #cc8800; background: #fdf7ea; } .result small { display: block; font-size: 0.72em; color: #555; margin-top: 0.3em; }
.plots { display: flex; flex-wrap: wrap; gap: 0 1em; align-items: flex-start; } .plots > * { flex: 1 1 24em; min-width: 0; max-width: min(100%, 34em); }
.plots .wide { font-size: 0.75em; max-width: min(100%, 46em); } .plots .wide th { white-space: normal; } .plots .wide th, .plots .wide td { padding: 0.2em 0.4em; }
details { margin: 0.5em 0; } summary { cursor: pointer; color: #246; } pre { font-size: 0.85em; white-space: pre-wrap; overflow-wrap: anywhere; background: #f7f7f7; padding: 0.6em; }
.wide td.long { white-space: normal; overflow-wrap: anywhere; text-align: left; min-width: 16em; }
@page { size: A4; margin: 15mm; }
@media print {
body { margin: 0; max-width: none; font-size: 11px; } h2 { break-after: avoid; } tr { break-inside: avoid; }
.wide { overflow: visible; } .wide td, .wide th { white-space: normal; padding: 0.15em 0.35em; } .wide td:first-child { overflow-wrap: anywhere; } .wide td.long { min-width: 10em; }
.plots > *, .plots .wide { flex: 0 1 48%; max-width: 48%; } .plots .wide td { white-space: nowrap; }
details.printed::details-content { content-visibility: visible; }
}
"""


LONG = 60
"""Cells with more letters are broken into lines."""


def page(title: str, facts: Mapping[str, Any], notes: Sequence[str], sections: Sequence[str]) -> str:
    """The whole page."""
    told = f"<h2>To know</h2><ul class=notes>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>"
    return (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n"
        f"{fact_table(facts) if facts else ''}\n{told if notes else ''}\n" + "\n".join(sections) + "\n</body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A heading and what belongs under it."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def picture(svg: str, caption: str) -> str:
    """A plot with what it shows."""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def result(words: str, more: str, well: bool) -> str:
    """What came out, in one line; ``more`` below it; green if all is well."""
    return f'<p class="result{"" if well else " open"}">{escape(words)}<small>{escape(more)}</small></p>'


def side_by_side(pictures: Sequence[str]) -> str:
    """Pictures beside each other where the page is wide enough."""
    return f"<div class=plots>{''.join(pictures)}</div>"


def folded(title: str, words: str, printed: bool = False) -> str:
    """Long text, word for word, that opens when asked for; with ``printed`` also on paper."""
    return f"<details{' class=printed' if printed else ''}><summary>{escape(title)}</summary><pre>{escape(words)}</pre></details>"


def text(words: str) -> str:
    """A small paragraph."""
    return f"<p class=small>{escape(words)}</p>"


def fact_table(facts: Mapping[str, Any]) -> str:
    """Names and values."""
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(_words(value))}</td></tr>" for name, value in facts.items())
    return f"<table class=facts>{rows}</table>"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table; the first column names the row."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<div class=wide><table><tr>{top}</tr>{body}</table></div>"


def _cell(value: Any) -> str:
    words = _words(value)
    return f"<td{' class=long' if len(words) > LONG else ''}>{escape(words)}</td>"


def _words(value: Any) -> str:
    value = plain(value)
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_words(entry) for entry in value)
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_words(entry)}" for name, entry in value.items())
    return str(value)
