"""What came out, and what did not: the accounting equation, refused signals, quarantined blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psdbatch.campaign.account import GivenUp, RunAccount
from psdbatch.monitor.page import result, section, table, text
from psdbatch.report.channels import MOST_CLASSES, MOST_FOLDED, folded_rows, percent
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
    if content.account.damaged:
        parts.append(
            f"{len(content.account.damaged):,} commit records are damaged and counted nowhere; they are named below."
        )
    if summary.damaged_regions:
        parts.append(
            f"The acquisition files have {summary.damaged_regions:,} damaged regions: signals in them that cannot be "
            "counted are in none of these numbers."
        )
    well = not (summary.left or summary.quarantined or content.account.damaged)
    return result(equation, " ".join(parts), well)


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
    if summary.quarantined:
        return (
            f"Ended, but {summary.quarantined:,} of {summary.blocks:,} blocks were given up: their signals have a reason instead "
            "of an answer; 'psdbatch run --retry-quarantined' tries them again."
        )
    return "Whole: every signal of the plan has its answer or a reason. 'psdbatch audit' proves it from the bytes."


def refused_section(content: Content) -> str:
    """Signals without an answer by reason and file, and blocks that were given up."""
    account = content.account
    parts = []
    if account.refused:
        total = max(1, content.summary.signals)
        rows = [[reason, count, f"{100 * count / total:.3g} %"] for reason, count in account.refused.most_common()]
        parts.append(table(["refused because", "signals", "of all"], rows[:MOST_ROWS]))
    elif not account.totals["quarantined"]:
        parts.append(text("No signal was refused, and no block was given up."))
    if account.files:
        parts.append(table(["file", "signals", "refused because"], _file_rows(content)))
        parts.append(_more(len(account.files), "files"))
    parts += _damaged(content)
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
    if account.damaged:
        parts.append(table(["damaged commit record"], [[words] for words in account.damaged[:MOST_ROWS]]))
        parts.append(_more(len(account.damaged), "records"))
    return section("Refused and quarantined", *parts)


def _file_rows(content: Content) -> list[list[object]]:
    runs = {run.name: run for run in content.plan.runs}
    return [
        [runs[run].files[number].path, count, reason]
        for (run, number, reason), count in content.account.files.most_common(MOST_ROWS)
    ]


def _damaged(content: Content) -> list[str]:
    """Files with damage: what the index could not read, and what the reader said of the first place."""
    causes, rows = content.account.causes, []
    for run in content.plan.runs:
        for number, file in enumerate(run.files):
            cause = causes.get((run.name, number))
            if file.damage or cause:
                rows.append([file.path, file.damage, cause and cause.replace(f"{file.path}: ", "", 1)])
    if not rows:
        return []
    return [table(["damaged file", "regions", "first damage"], rows[:MOST_ROWS]), _more(len(rows), "files")]


def _files(content: Content, block: GivenUp) -> str:
    run = content.plan.run(block.block.run)
    first = content.account.file_of(run.name, block.first)
    last = content.account.file_of(run.name, block.first + block.signals - 1)
    names = [file.path for file in run.files[first : last + 1]]
    more = f" and {len(names) - MOST_FILES:,} more" if len(names) > MOST_FILES else ""
    return ", ".join(names[:MOST_FILES]) + more


def runs_section(content: Content) -> str:
    """The accounting equation of each run, and its classes."""
    runs = list(content.account.runs.values())
    classes = content.classes
    rows = [[*_run_row(run), *_run_classes(run, classes)] for run in runs[:MOST_FOLDED]]
    head = ["run", "signals", "written", "refused", "missing", "blocks", "given up"]
    if any(run.answers is not None for run in runs):
        head += [*(f"{name} [%]" for name in classes[:MOST_CLASSES]), "mean charge ratio"]
    more = [text(f"and {len(runs) - MOST_FOLDED:,} more runs")] if len(runs) > MOST_FOLDED else []
    rows = [row[: len(head)] for row in rows]
    return section("Runs", table(head, rows[:MOST_ROWS]), folded_rows("runs", head, rows[MOST_ROWS:]), *more)


def _run_row(run: RunAccount) -> list[Any]:
    refused = sum(run.refused.values())
    blocks = f"{run.finished:,} of {run.blocks:,}"
    return [run.name, run.signals, run.recorded - refused, refused, run.signals - run.recorded, blocks, run.quarantined]


def _run_classes(run: RunAccount, classes: Sequence[str]) -> list[Any]:
    number, total, _ = run.ratio
    ratio = f"{total / number:.4f}" if number else None
    if run.answers is None:
        return [None] * len(classes[:MOST_CLASSES]) + [ratio]
    answered = int(run.answers[:-1].sum())
    return [*(percent(int(count), answered) for count in run.answers[:-1][:MOST_CLASSES]), ratio]


def _more(count: int, what: str) -> str:
    return text(f"and {count - MOST_ROWS:,} more {what}") if count > MOST_ROWS else ""
