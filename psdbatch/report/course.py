"""How a campaign went: throughput, expectation and truth, stage times, worker groups, passes, failures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from psdbatch.campaign.history import SILENT, Failure
from psdbatch.monitor.page import picture, section, table, text
from psdbatch.report.content import Content
from psdbatch.report.pace_plot import throughput_plot
from psdbatch.wording import duration, quantity

MOST_ROWS = 40
HERE = "this machine"

_MEASURES: dict[str, tuple[str, Callable[[float], str]]] = {
    "bytes": ("output", lambda value: quantity(value, "B")),
    "seconds": ("time", duration),
    "memory": ("memory of a worker", lambda value: quantity(value, "B")),
}


def course_sections(content: Content) -> list[str]:
    """Sections in the order in which they are asked for."""
    return [_throughput(content), _compared(content), _stages(content), _groups(content)]


def _throughput(content: Content) -> str:
    throughput = content.account.throughput
    if not throughput.groups:
        return section("Throughput", text("No block has told when it was made."))
    done = content.summary.signals - content.summary.missing
    worked = sum(one.elapsed for one in content.history.passes)
    rate = f"On average {quantity(done / worked, 'signals/s')} over {duration(worked)} of work. " if worked > 0 else ""
    note = (
        f"{rate}Mean of each {duration(throughput.width)}, over the part of it in which blocks were treated: start-up is not in "
        "the plot. Pauses are cut out where a dotted line stands."
    )
    return section("Throughput over time", picture(throughput_plot(throughput), note))


def _compared(content: Content) -> str:
    if not content.compared:
        reason = "the campaign is not whole yet" if content.summary.missing else "'psdbatch plan' was not asked before"
        return section("Plan against truth", text(f"Nothing to compare: {reason}."))
    rows = []
    for name, (low, high), truth in content.compared:
        words, say = _MEASURES[name]
        kept = "as planned" if low <= truth <= high else f"{truth / (high if truth > high else low):.2f} of the limit"
        rows.append([words, f"{say(low)} to {say(high)}", say(truth), kept])
    return section("Plan against truth", table(["", "planned", "in truth", ""], rows))


def _stages(content: Content) -> str:
    account = content.account
    if not account.seconds:
        return section("Time per stage", text("No block has told its times."))
    stages = list(account.seconds)
    total = sum(account.seconds.values())
    recorded = sum(board.signals for board in account.boards.values()) + account.unnamed.signals
    rows = [_stage_row("all boards", recorded, account.seconds, stages)]
    boards = sorted(account.boards.items(), key=lambda entry: int(entry[0]))
    for name, board in boards[:MOST_ROWS]:
        shared = len(boards) > 1 and not board.alone
        rows.append(_stage_row(f"board {name}", board.signals, board.stages, stages, shared))
    if account.unnamed.signals:
        rows.append(_stage_row("boards not recorded", account.unnamed.signals, account.unnamed.stages, stages))
    more = [text(f"and {len(boards) - MOST_ROWS:,} more boards")] if len(boards) > MOST_ROWS else []
    return section(
        "Time per stage and acquisition board",
        table(["", "signals", *(f"{stage} [s]" for stage in stages), "all [s]", "per signal [µs]"], rows),
        *more,
        text(
            f"Time of worker threads, {duration(total)} together: "
            + ", ".join(f"{stage} {account.seconds[stage] / total:.0%}" for stage in stages if total)
            + ". Where boards share a block its time is divided among them by their signals; a board without a block of its own "
            "has no time per signal that could differ from the others'."
        ),
    )


def _stage_row(
    name: str, signals: int, seconds: Mapping[str, float], stages: list[str], shared: bool = False
) -> list[Any]:
    spent = [seconds.get(stage, 0.0) for stage in stages]
    return [
        name,
        signals,
        *(f"{one:,.2f}" for one in spent),
        f"{sum(spent):,.2f}",
        "shared" if shared else f"{1e6 * sum(spent) / max(1, signals):.2f}",
    ]


def _groups(content: Content) -> str:
    rows = []
    for use in content.groups:
        lost = None if not use.hours else f"{100 * use.lost_hours / use.hours:.2g} %"
        pace = None if not use.hours else quantity(use.signals / use.hours / 3600, "signals/s")
        busy = None if use.busy is None else f"{100 * use.busy:.0f} %"
        rows.append([use.name or HERE, use.jobs, f"{use.hours:,.3g}", busy, lost, use.blocks, use.signals, pace])
    head = ["group", "jobs", "worker hours", "at work", "thrown away", "blocks", "signals", "pace of a worker"]
    hours = sum(use.hours for use in content.groups)
    return section(
        "Workers",
        table(head, rows),
        text(
            f"{hours:,.3g} worker hours in all passes (GPU-hours, where each worker has a GPU; for {HERE} the time of the passes). "
            "At work: share of the worker threads' time that went into blocks that count. Thrown away: blocks that were not finished. "
            "The rest is start-up, measuring, and waiting."
        ),
        _engines(content),
        _passes(content),
    )


def _engines(content: Content) -> str:
    rows = [
        [name or HERE, device, batch or None, blocks, len(group.hosts)]
        for name, group in sorted(content.account.groups.items())
        for (device, batch), blocks in group.engines.most_common(MOST_ROWS)
    ]
    return table(["group", "device", "batch [signals]", "blocks", "hosts of the group"], rows[:MOST_ROWS])


def _passes(content: Content) -> str:
    passes = content.history.passes
    if not passes:
        return text("The journal tells of no pass.")
    rows = []
    for one in reversed(passes[-MOST_ROWS:]):
        began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(one.started))
        end = f"{one.end}: {one.reason}" if one.reason else one.end
        asked = "all" if one.sample is None else f"sample of {one.sample:g}"
        hours = sum(use.get("worker_seconds", 0.0) for use in one.groups.values()) / 3600 or None
        took = duration(one.elapsed) if one.elapsed or one.end != SILENT else None
        rows.append([began, took, end, asked, one.left, one.processed, hours, one.host])
    head = [
        "pass begun",
        "took",
        "end",
        "asked for",
        "blocks left at its start",
        "signals to do",
        "worker hours of jobs",
        "host",
    ]
    more = text(f"and {len(passes) - MOST_ROWS:,} earlier passes") if len(passes) > MOST_ROWS else ""
    return table(head, rows) + more


def failures_section(content: Content) -> str:
    """Attempts, workers and jobs that failed, by reason."""
    history = content.history
    parts = []
    for failures, head in (
        (history.attempts, "attempt failed because"),
        (history.deaths, "worker died because"),
        (history.ends, "job ended because"),
    ):
        if failures:
            parts.append(table([head, "times", "what was done", "first", "last"], _failure_rows(failures)))
            if len(failures) > MOST_ROWS:
                parts.append(text(f"and {len(failures) - MOST_ROWS:,} more reasons"))
    if parts:
        parts.append(text("Reasons that differ in their numbers only are one row, in the words of the first."))
    return section("Failures", *(parts or [text("No attempt failed, and no worker died.")]))


def _failure_rows(failures: Mapping[str, Failure]) -> list[list[Any]]:
    ordered = sorted(failures.values(), key=lambda failure: -failure.times)[:MOST_ROWS]
    return [
        [
            failure.example,
            failure.times,
            ", ".join(f"{verdict} {count:,}" for verdict, count in failure.verdicts.most_common()) or None,
            _moment(failure.first),
            _moment(failure.last),
        ]
        for failure in ordered
    ]


def _moment(when: float) -> str:
    return time.strftime("%m-%d %H:%M:%S", time.gmtime(when))
