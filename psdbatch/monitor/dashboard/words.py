"""The page's words and tables as HTML; what comes from files and messages is escaped."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from html import escape

from psdbatch.monitor.dashboard.sheet import BAD, BUSY, GOOD, GROUP_COLOURS
from psdbatch.monitor.view import View, group_name
from psdbatch.wording import duration, quantity

ROWS = 50
"""Rows of a table at most."""


def header(view: View) -> str:
    """Name, progress, the numbers that matter, and trouble."""
    done, quarantined = view.blocks.get("finished", 0), view.blocks.get("quarantined", 0)
    whole = max(1, sum(view.blocks.values()))
    flying = view.blocks.get("in flight", 0)
    bar = "".join(
        f'<div style="width:{100 * count / whole:.3f}%;background:{colour}"></div>'
        for count, colour in ((done, GOOD), (quarantined, BAD), (flying, "#99bbdd"))
    )
    facts = [
        (f"{100 * view.fraction:.1f} %", f"{view.done:,} of {view.signals:,} signals"),
        (quantity(view.rate, "signals/s") if view.rate else "–", "rate over the last minutes"),
        (_left(view), "time left at this rate"),
        (f"{done:,}", "blocks finished"),
        (f"{flying:,}", "blocks in flight"),
        (f"{view.blocks.get('waiting', 0):,}", "blocks waiting"),
        (f"{quarantined:,}", "blocks quarantined"),
    ]
    told = "".join(
        f'<div class="fact"><b>{escape(value)}</b><span>{escape(what)}</span></div>' for value, what in facts
    )
    notes = "".join(f'<span class="note {kind}">{escape(note)}</span>' for kind, note in _notes(view))
    now = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(view.time))
    return (
        f'<h1>{escape(view.campaign)} <span class="faint" style="font-size:13px">{now}</span></h1>'
        f'<div class="bar">{bar}</div><div class="facts">{told}</div><div class="notes">{notes}</div>'
    )


def _left(view: View) -> str:
    if view.signals and view.done >= view.signals:
        return "done"
    return "–" if view.left is None else duration(view.left)


def _notes(view: View) -> Iterable[tuple[str, str]]:
    """Trouble first; that there is none is said too."""
    trouble = []
    if view.blocks.get("quarantined"):
        trouble.append(("bad", f"{view.blocks['quarantined']:,} blocks quarantined"))
    if view.all_alarms:
        channels = len({(alarm.drift.board, alarm.drift.channel) for alarm in view.alarms})
        more = "more than " if view.all_alarms > len(view.alarms) else ""
        trouble.append(
            ("bad", f"{more}{channels:,} channel{'s drift' if channels != 1 else ' drifts'} from the reference")
        )
    if view.refused:
        refused = sum(view.refused.values())
        trouble.append(("warn", f"{refused:,} signals refused ({100 * refused / max(1, view.done):.3g} %)"))
    if view.failed_attempts:
        trouble.append(("warn", f"{view.failed_attempts:,} failed attempts"))
    if view.reference is not None and view.reference.state:
        trouble.append(("warn", f"reference {view.reference.name}: {view.reference.state}"))
    yield from trouble or [("good", "no trouble")]
    if not any(group.running for group in view.groups.values()) and view.done < view.signals:
        yield "busy", "waiting for the first worker" if not view.done else "no worker at the moment"
    if view.unread:
        yield "busy", f"{view.unread:,} blocks of earlier passes are still being read"


def groups_table(view: View) -> str:
    """Worker groups: their jobs, what they did, how fast they are."""
    rows = []
    for number, (name, group) in enumerate(view.groups.items()):
        jobs = ", ".join(f"{count} {state}" for state, count in group.jobs.items() if count) or "none"
        dot = f'<span class="dot" style="background:{GROUP_COLOURS[number % len(GROUP_COLOURS)]}"></span>'
        rows.append(
            (
                dot + escape(group_name(name)),
                escape(jobs),
                f"{group.blocks:,}",
                quantity(group.signals, ""),
                quantity(group.rate, "signals/s") if group.rate else "–",
                quantity(group.rate / group.running, "signals/s") if group.rate and group.running else "–",
            )
        )
    head = ("group", "jobs", "blocks", "signals", "rate", "per job")
    return _table("Worker groups", head, rows, left=2, empty="no worker yet")


def stages_table(view: View) -> str:
    """Where the time goes."""
    total = sum(view.seconds.values())
    rows = [
        (escape(stage), duration(seconds), f"{100 * seconds / total:.1f} %", _bar(seconds / total))
        for stage, seconds in sorted(view.seconds.items(), key=lambda entry: -entry[1])
        if total
    ]
    return _table("Time per stage", ("stage", "time", "share", ""), rows, "added over all blocks", bars=True)


def boards_table(view: View) -> str:
    """Acquisition boards: signals, and what one costs in each stage."""
    stages = list(view.seconds)
    rows = [
        (
            str(number),
            f"{board.signals:,}",
            duration(board.seconds),
            *(
                "shared" if board.shared else _per_signal(board.stages.get(stage, 0.0), board.signals)
                for stage in stages
            ),
            "shared" if board.shared else _per_signal(board.seconds, board.signals),
        )
        for number, board in sorted(view.boards.items())
    ]
    head = ("board", "signals", "time", *map(escape, stages), "all stages")
    return _table("Acquisition boards", head, rows, "time of worker threads, and µs per signal by stage")


def _per_signal(seconds: float, signals: int) -> str:
    return f"{1e6 * seconds / signals:.3g}" if signals else "–"


def alarms_table(view: View) -> str:
    """Drift from the reference."""
    reference = view.reference
    if reference is None:
        return "<h2>Drift</h2><div class=faint>no reference: name one with 'reference' in [monitor]</div>"
    rows = [
        (
            f"{alarm.drift.board}",
            f"{alarm.drift.channel}",
            escape(alarm.drift.named),
            f"{alarm.drift.value:,.4g}",
            f"{alarm.drift.reference:,.4g}",
            alarm.drift.significance,
            escape(alarm.run or "all"),
        )
        for alarm in view.alarms[:ROWS]
    ]
    head = ("board", "channel", "what", "here", "reference", "σ", "run")
    none = "no channel differs" if not reference.state else reference.state
    return _table("Drift", head, rows, f"against {reference.name}", view.all_alarms, empty=none)


def quarantine_table(view: View) -> str:
    """Blocks that were given up."""
    rows = [
        (escape(entry.block), f"{entry.signals:,}", escape(", ".join(entry.files)), escape(entry.reason))
        for entry in view.quarantined[:ROWS]
    ]
    head, all_of_them = ("block", "signals", "files", "reason"), view.blocks.get("quarantined", 0)
    return _table("Quarantined blocks", head, rows, "", all_of_them, left=1, wrap=2, empty="none")


def refused_table(view: View) -> str:
    """Files with refused signals."""
    rows = [(f"{entry.signals:,}", escape(entry.path), escape(entry.reason)) for entry in view.refused_files[:ROWS]]
    return _table(
        "Refused signals", ("signals", "file", "reason"), rows, "by acquisition file", left=0, wrap=2, empty="none"
    )


def _bar(share: float) -> str:
    return f'<div style="width:{100 * share:.1f}%"></div>'


def _table(
    title: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    words: str = "",
    total: int = 0,
    left: int = 1,
    wrap: int = 0,
    empty: str = "nothing yet",
    bars: bool = False,
) -> str:
    """``rows`` of HTML; the first ``left`` columns begin at the left, the last ``wrap`` ones may break."""
    more = f"; the first {len(rows):,} of {total:,}" if total > len(rows) else ""
    told = f' <span class="faint">{escape(words + more)}</span>' if words + more else ""
    if not rows:
        return f"<h2>{escape(title)}{told}</h2><div class=faint>{escape(empty)}</div>"
    kinds = ["left" if k < left else "" for k in range(len(head))]
    for k in range(wrap):
        kinds[-1 - k] = "left wrap"
    if bars:
        kinds[-1] = "share"
    top = "".join(f'<th class="{kind}">{escape(name)}</th>' for name, kind in zip(head, kinds, strict=True))
    body = "".join(
        "<tr>" + "".join(f'<td class="{kind}">{cell}</td>' for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<h2>{escape(title)}{told}</h2><div class=scroll><table><tr>{top}</tr>{body}</table></div>"


__all__ = [
    "BUSY",
    "alarms_table",
    "boards_table",
    "groups_table",
    "header",
    "quarantine_table",
    "refused_table",
    "stages_table",
]
