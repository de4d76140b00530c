"""A comparison on the terminal."""

from __future__ import annotations

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from psdbatch.comparison.comparing import Comparison
from psdbatch.comparison.facts import channels, side_facts, whole, windows
from psdbatch.comparison.rows import State
from psdbatch.monitor.shares import Share

MOST_ROWS = 40
WORST_CHANNELS = 10


def comparison_table(found: Comparison) -> RenderableType:
    """Accounting, confusion, agreement against amplitude, worst channels, notes."""
    parts: list[RenderableType] = [_summary(found), Text()]
    if found.agreement.compared:
        parts += [_confusion(found), Text(), _windows(found), Text(), _channels(found)]
    parts += [Text(f"note: {note}") for note in found.notes[:MOST_ROWS]]
    if len(found.notes) > MOST_ROWS:
        parts.append(Text(f"and {len(found.notes) - MOST_ROWS:,} more notes; --json has them all"))
    return Group(*parts)


def sides(found: Comparison) -> list[tuple[str, str]]:
    """What A and B are."""
    rows = []
    for letter, side in (("A", found.a), ("B", found.b)):
        facts = side_facts(side)
        if "online_column" in facts:
            one, other = side.answers.classes
            words = f"{facts['online_column']}: {other} from {facts['threshold']:g} on, else {one}"
        else:
            words = f"{facts['model'] or 'model unknown'} {(facts['digest'] or '')[:12]}".strip()
        rows.append((letter, f"{facts['store']} ({words})"))
    return rows


def accounting(found: Comparison) -> list[tuple[str, str]]:
    """The accounting equation, and why signals were not compared."""
    count = found.accounting
    rows = [
        (
            "signals",
            f"{count['signals']:,} = {count['compared']:,} compared + {count['only_a']:,} answered in A only + "
            f"{count['only_b']:,} in B only + {count['neither']:,} in neither",
        )
    ]
    states = found.agreement.states
    words = {State.REFUSED: "refused in {}", State.UNFINISHED: "not finished in {}", State.ABSENT: "not in {}"}
    for state, text in words.items():
        for letter, counts in (("A", states[state]), ("B", states[:, state])):
            if counts.sum():
                rows.append((text.format(letter), f"{int(counts.sum()):,}"))
    aside = found.aside
    for letter, number in (("A", aside.a), ("B", aside.b)):
        if number:
            kind = "without" if letter == "A" else "with"
            rows.append((f"left aside in {letter}", f"{number:,} signals recorded {kind} samples"))
    for letter, number in (("A", aside.repeated_a), ("B", aside.repeated_b)):
        if number:
            rows.append((f"repeated in {letter}", f"{number:,} signals with time, board and channel of an earlier one"))
    for letter, number in (("A", aside.lost_a), ("B", aside.lost_b)):
        if number:
            reason = f"{number:,} signals so damaged that time, board and channel are lost"
            rows.append((f"without a hit in {letter}", reason))
    return rows


def answers(found: Comparison) -> list[tuple[str, str]]:
    """Overall agreement, and differences of probability."""
    total = whole(found)
    rows = [("same class", "no signal was compared" if total is None else percent(total))]
    for name, entry in found.agreement.differences.items():
        if entry.signals:
            rows.append(
                (
                    f"probability of {name}",
                    f"B - A: mean {entry.total / entry.signals:+.3g}, mean size {entry.magnitude / entry.signals:.3g}, "
                    f"largest {entry.largest:.3g} (run {entry.run}, signal {entry.signal:,})",
                )
            )
    return rows


def _summary(found: Comparison) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    how = "by position" if found.match == "position" else "by time, board and channel"
    for name, value in [*sides(found), ("signals matched", how), *accounting(found), *answers(found)]:
        table.add_row(Text(name), Text(value))
    return table


def _confusion(found: Comparison) -> RenderableType:
    names, counts = found.agreement.classes, found.agreement.confusion
    table = Table("A \\ B", box=None)
    for name in names:
        table.add_column(Text(name), justify="right")
    for name, row in zip(names, counts, strict=True):
        total = max(1, int(row.sum()))
        table.add_row(Text(name), *(f"{int(count):,} ({100 * count / total:.2f} %)" for count in row))
    return table


def _windows(found: Comparison) -> RenderableType:
    table = Table("amplitude [ADC units]", box=None)
    for name in ("signals", "same class", *(f"{name} in A, other in B" for name in found.agreement.classes)):
        table.add_column(Text(name), justify="right")
    for window in windows(found):
        left = [int(row.sum() - row[k]) for k, row in enumerate(window.confusion)]
        totals = window.confusion.sum(axis=1)
        cells = [
            f"{count:,} ({100 * count / total:.2f} %)" if total else ""
            for count, total in zip(left, totals, strict=True)
        ]
        table.add_row(window.words, f"{window.agreement.total:,}", percent(window.agreement), *cells)
    return table


def _channels(found: Comparison) -> RenderableType:
    table = Table("channels with the least agreement", box=None)
    for name in ("signals", "same class"):
        table.add_column(name, justify="right")
    known = list(channels(found))
    order = np.argsort([entry.high for _, _, entry in known], kind="stable")[:WORST_CHANNELS]
    for k in order:
        board, channel, value = known[k]
        table.add_row(f"board {board} channel {channel}", f"{value.total:,}", percent(value))
    if len(known) > WORST_CHANNELS:
        table.add_row(f"and {len(known) - WORST_CHANNELS:,} more channels")
    return table


def percent(value: Share) -> str:
    """``99.991 % (+0.004 -0.007)``."""
    return f"{100 * value.value:.3f} % (+{100 * (value.high - value.value):.3f} -{100 * (value.value - value.low):.3f})"
