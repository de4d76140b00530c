"""What came out, and what did not: the accounting equation, refused signals, quarantined blocks."""

from __future__ import annotations

from psdbatch.campaign.account import GivenUp
from psdbatch.monitor.page import folded, result, section, table, text
from psdbatch.report.content import Content
from psdbatch.wording import quantity

MOST_ROWS = 40
MOST_FILES = 3


def result_line(content: Content, now: str) -> str:
    """The accounting equation with its numbers, and whether the campaign is whole."""
    summary = content.summary
    refused = sum(summary.refused.values())
    equation = (
        f"{summary.signals:,} signals = {summary.written:,} written + {refused:,} refused + {summary.missing:,} missing"
    )
    parts = [
        _verdict(content),
        f"{summary.finished:,} of {summary.blocks:,} blocks, {quantity(summary.bytes, 'B')} in {summary.shards:,} files. As of {now}.",
    ]
    if summary.damaged_regions:
        parts.append(
            f"The acquisition files have {summary.damaged_regions:,} damaged regions: signals in them that cannot be "
            "counted are in none of these numbers."
        )
    return result(equation, " ".join(parts), not summary.left and not summary.quarantined)


def _verdict(content: Content) -> str:
    summary = content.summary
    if summary.left:
        blocks = summary.blocks - summary.finished
        return f"Unfinished: {blocks:,} blocks are left; the same command goes on."
    if summary.missing and summary.sample is not None:
        return (
            f"A sample of {summary.sample.fraction:g} of the blocks, finished ({summary.sample.signals:,} signals); "
            "a start without --sample does the rest."
        )
    return "Whole: every signal of the plan has its answer or a reason. 'psdbatch audit' proves it from the bytes."


def refused_section(content: Content) -> str:
    """Signals without an answer by reason and file, and blocks that were given up."""
    account = content.account
    if not account.refused and not account.totals["quarantined"]:
        return section("Refused and quarantined", text("No signal was refused, and no block was given up."))
    total = max(1, content.summary.signals)
    rows = [[reason, count, f"{100 * count / total:.3g} %"] for reason, count in account.refused.most_common()]
    parts = [table(["refused because", "signals", "of all"], rows[:MOST_ROWS])]
    if account.files:
        parts.append(table(["file", "signals", "refused because", "first damage"], _file_rows(content)))
        parts.append(_more(len(account.files), "files"))
    if account.totals["quarantined"]:
        parts.append(
            table(
                ["quarantined block", "signals", "files", "given up because"],
                [
                    [str(one.block), one.signals, _files(content, one), one.reason]
                    for one in account.given_up[:MOST_ROWS]
                ],
            )
        )
        parts.append(_more(account.totals["quarantined"], "blocks"))
        parts.append(text("'psdbatch run --retry-quarantined' tries them again."))
    return section("Refused and quarantined", *parts)


def _file_rows(content: Content) -> list[list[object]]:
    runs = {run.name: run for run in content.plan.runs}
    return [
        [runs[run].files[number].path, count, reason, content.account.causes.get((run, number))]
        for (run, number, reason), count in content.account.files.most_common(MOST_ROWS)
    ]


def _files(content: Content, block: GivenUp) -> str:
    run = content.plan.run(block.block.run)
    first = content.account.file_of(run.name, block.first)
    last = content.account.file_of(run.name, block.first + block.signals - 1)
    names = [file.path for file in run.files[first : last + 1]]
    more = f" and {len(names) - MOST_FILES:,} more" if len(names) > MOST_FILES else ""
    return ", ".join(names[:MOST_FILES]) + more


def runs_section(content: Content) -> str:
    """The accounting equation of each run."""
    runs = list(content.account.runs.values())
    rows = [
        [
            run.name,
            run.signals,
            run.recorded - sum(run.refused.values()),
            sum(run.refused.values()),
            run.signals - run.recorded,
            f"{run.finished:,} of {run.blocks:,}",
        ]
        for run in runs
    ]
    head = ["run", "signals", "written", "refused", "missing", "blocks"]
    rest = "\n".join(
        " ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row) for row in rows[MOST_ROWS:5000]
    )
    return section(
        "Runs",
        table(head, rows[:MOST_ROWS]),
        _more(len(runs), "runs"),
        folded("more runs: " + ", ".join(head), rest) if rest else "",
    )


def _more(count: int, what: str) -> str:
    return text(f"and {count - MOST_ROWS:,} more {what}") if count > MOST_ROWS else ""
