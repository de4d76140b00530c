"""The page's tables as HTML; what comes from files and messages is escaped."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from html import escape

import numpy as np

from psdbatch.monitor.dashboard.sheet import GROUP_COLOURS
from psdbatch.monitor.dashboard.words import compared
from psdbatch.monitor.tally import Tally
from psdbatch.monitor.view import RunView, View, group_name
from psdbatch.wording import duration, quantity

ROWS = 50
"""Rows of a table at most."""


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


def runs_table(view: View) -> str:
    """The last runs: how far, and their physics, so that a detector that changes is seen before it moves the sums."""
    names = _told_classes(view.classes)
    rows = [
        (
            escape(run.name),
            f"{100 * run.done / max(1, run.signals):.0f} %",
            f"{run.done:,}",
            f"{run.refused:,}",
            *(_class_share(run, k) for k in names),
            _mean(*run.ratio),
        )
        for run in reversed(view.runs)
    ]
    head = ("run", "done", "signals", "refused", *(f"{view.classes[k]} [%]" for k in names), "mean charge ratio")
    return _table("Runs", head, rows, "the last ones, newest first")


def physics_table(view: View) -> str:
    """Acquisition boards: signals, classes and mean charge ratio, with the reference's."""
    tally, names = view.tally, _told_classes(view.classes)
    if tally is None or not len(tally.channel):
        return _table("Acquisition boards", ("board",), ())
    reference = view.reference.tally if view.reference is not None else None
    same = reference is not None and view.reference is not None and view.reference.same_classes
    boards = np.unique(tally.boards)
    rows = []
    for board in boards[:ROWS]:
        here = tally.boards == board
        there = None if reference is None else reference.boards == board
        answered = tally.answers[here].sum(axis=0)
        cells = [f"{int(board)}", f"{int(answered.sum()):,}"]
        if view.classes:
            cells.append(f"{int(answered[-1]):,}")
        for k in names:
            cells.append(_share(answered, k))
            if reference is not None:
                cells.append(_share(reference.answers[there].sum(axis=0), k) if same else "–")
        cells.append(_mean(*tally.ratio[here].sum(axis=0)))
        if reference is not None:
            cells.append(_mean(*reference.ratio[there].sum(axis=0)))
        rows.append(tuple(cells))
    classes = [f"{view.classes[k]} [%]" for k in names]
    with_reference = [cell for name in [*classes, "mean charge ratio"] for cell in _twice(name, reference)]
    head = ("board", "signals", *(("refused",) if view.classes else ()), *with_reference)
    return _table("Acquisition boards", head, rows, "", len(boards))


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
    """Acquisition boards: what a signal costs in each stage."""
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
        for number, board in sorted(view.boards.items())[:ROWS]
    ]
    head = ("board", "signals", "time", *stages, "all stages")
    words = "time of worker threads, and µs per signal by stage; shared: no block of its own"
    return _table("Time per board", head, rows, words, len(view.boards))


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
            _number(alarm.drift.value),
            _number(alarm.drift.reference),
            alarm.drift.significance,
            escape(alarm.run or "all"),
        )
        for alarm in view.alarms[:ROWS]
    ]
    head = ("board", "channel", "what", "here", "reference", "σ", "run")
    none = reference.state or ("none differs" if view.compared else "nothing compared yet")
    words = (
        f"against {reference.name}: {compared(view)}" if reference.tally is not None else f"against {reference.name}"
    )
    return _table("Drift", head, rows, words, view.all_alarms, empty=none)


def quarantine_table(view: View) -> str:
    """Blocks that were given up."""
    rows = [
        (escape(entry.block), f"{entry.signals:,}", escape(", ".join(entry.files)), escape(entry.reason))
        for entry in view.quarantined[:ROWS]
    ]
    head, all_of_them = ("block", "signals", "files", "reason"), view.blocks.get("quarantined", 0)
    return _table("Quarantined blocks", head, rows, "", all_of_them, left=1, wrap=2, empty="none")


def failures_table(view: View) -> str:
    """The last attempts that failed."""
    rows = [
        (time.strftime("%H:%M:%S", time.localtime(entry.time)), escape(entry.worker), escape(entry.reason))
        for entry in reversed(view.failures)
    ]
    head = ("at", "worker", "reason")
    return _table("Failed attempts", head, rows, "", view.failed_attempts, left=2, wrap=1, empty="none in this pass")


def refused_table(view: View) -> str:
    """Files with refused signals, and files of which the index could not read everything."""
    rows = [(f"{entry.signals:,}", escape(entry.path), escape(entry.reason)) for entry in view.refused_files[:ROWS]]
    rows += [
        ("not countable", escape(entry.path), escape(f"{entry.regions:,} damaged, the first at {entry.first}"))
        for entry in view.damaged_files[:ROWS]
    ]
    head = ("signals", "file", "reason")
    return _table("Refused signals and damaged files", head, rows, "", left=0, wrap=2, empty="none")


def _told_classes(classes: Sequence[str]) -> range:
    """Of two classes the second says it all; of many the first ones."""
    return range(1, 2) if len(classes) == 2 else range(min(len(classes), 5))


def _class_share(run: RunView, k: int) -> str:
    return _share(np.array(run.answers), k) if run.answers else "–"


def _share(answers: np.ndarray[tuple[int, ...], np.dtype[np.int64]], k: int) -> str:
    """Per cent of class ``k`` of the signals with an answer, and its counting error."""
    total = int(answers[:-1].sum())
    if not total:
        return "–"
    share = float(answers[k]) / total
    return f"{100 * share:.2f} ± {100 * math.sqrt(share * (1 - share) / total):.2f}"


def _mean(number: float, total: float, squares: float) -> str:
    if not number:
        return "–"
    mean = total / number
    return f"{mean:.4f} ± {math.sqrt(max(0.0, squares / number - mean**2) / number):.4f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _twice(name: str, reference: Tally | None) -> tuple[str, ...]:
    return (name,) if reference is None else (name, "reference")


def _per_signal(seconds: float, signals: int) -> str:
    return f"{1e6 * seconds / signals:,.3f}" if signals else "–"


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
    more = f"the first {len(rows):,} of {total:,}" if total > len(rows) > 0 else ""
    said = "; ".join(part for part in (words, more) if part)
    told = f' <span class="faint">{escape(said)}</span>' if said else ""
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
