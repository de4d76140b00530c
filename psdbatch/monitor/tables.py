"""What commands print: facts as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from psdbatch.config.schema import settings_facts
from psdbatch.monitor.card_rows import card_rows
from psdbatch.wording import duration, quantity

if TYPE_CHECKING:
    from pydantic import BaseModel

    from psdbatch.acquisition.convert import ConversionSummary
    from psdbatch.acquisition.index import FileIndex
    from psdbatch.campaign.audit import Audit
    from psdbatch.campaign.finalise import Summary
    from psdbatch.campaign.plan import Plan
    from psdbatch.coordination.estimate import Estimate
    from psdbatch.coordination.status import AtWork, Status
    from psdbatch.models.facts import ModelFacts
    from psdbatch.training.freeze_request import FrozenFile

MOST_ROWS = 40


def index_table(indexes: Iterable[FileIndex]) -> RenderableType:
    """One row per acquisition file."""
    table = Table(Column("file", overflow="fold"), "format", "signals", "samples", "bytes", "damaged regions", box=None)
    for index in indexes:
        scan = index.scan
        samples = f"{scan.longest}" if scan.shortest == scan.longest else f"{scan.shortest}-{scan.longest}"
        kind = index.format if index.compression == "none" else f"{index.format}, {index.compression}"
        table.add_row(index.path, kind, f"{scan.signals:,}", samples, f"{index.size:,}", f"{len(scan.damage)}")
    return table


def damage_table(indexes: Iterable[FileIndex]) -> RenderableType:
    """One row per damaged region."""
    table = Table(
        Column("file", overflow="fold"), "byte", "bytes", "first signal", "places kept", "what is wrong", box=None
    )
    for index in indexes:
        for damage in index.scan.damage:
            table.add_row(
                index.path,
                f"{damage.offset:,}",
                f"{damage.bytes:,}",
                f"{damage.first:,}",
                f"{damage.signals:,}",
                damage.reason,
            )
    return table


def plan_table(plan: Plan) -> RenderableType:
    """One row per run."""
    table = Table("run", "files", "signals", "blocks", "samples", "damaged regions", box=None)
    for run in plan.runs[:MOST_ROWS]:
        table.add_row(
            run.name,
            f"{len(run.files):,}",
            f"{run.signals:,}",
            f"{-(-run.signals // plan.block):,}",
            f"{run.samples} x {run.sample_dtype}",
            f"{sum(file.damage for file in run.files):,}",
        )
    if len(plan.runs) > MOST_ROWS:
        table.add_row(f"and {len(plan.runs) - MOST_ROWS:,} more runs")
    return table


def estimate_table(expected: Estimate) -> RenderableType:
    """What the campaign will cost."""
    facts = [
        ("runs", f"{expected.runs:,}"),
        ("acquisition files", f"{expected.files:,}"),
        ("signals", f"{expected.signals:,}"),
        ("blocks", f"{expected.blocks:,}"),
        ("damaged regions", f"{expected.damaged_regions:,}"),
        ("output", _between(expected.bytes, lambda value: quantity(value, "B"))),
        ("files and directories", f"{expected.inodes:,}"),
    ]
    if expected.seconds:
        facts.append(("time", _between(expected.seconds, duration)))
    if expected.memory:
        facts.append(("memory of a worker", _between(expected.memory, lambda value: quantity(value, "B"))))
    if expected.caution:
        facts.append(("caution", expected.caution))
    return fact_table(facts)


def summary_table(summary: Summary, compared: Iterable[tuple[str, tuple[float, float], float]] = ()) -> RenderableType:
    """Accounting equation, throughput, time per stage and board, and how good the plan's estimate was."""
    facts = [
        ("signals", f"{summary.signals:,} = {_accounting(summary)}"),
        *((f"refused: {reason}", f"{count:,}") for reason, count in summary.refused.items()),
        *(
            [("damaged regions", f"{summary.damaged_regions:,} in the files; what cannot be counted is in no number")]
            if summary.damaged_regions
            else []
        ),
        ("blocks", f"{summary.finished:,} of {summary.blocks:,} finished, {summary.quarantined:,} quarantined"),
        *_sample(summary),
        ("store", f"{quantity(summary.bytes, 'B')} in {summary.shards:,} shards"),
        ("this pass", duration(summary.elapsed)),
        *(
            (
                f"workers {name}",
                f"{use['jobs']} jobs, {duration(use['worker_seconds'])}, {use['lost_seconds']:.0f} s thrown away",
            )
            for name, use in summary.groups.items()
        ),
    ]
    total = sum(summary.seconds.values())
    if total:
        stages = ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in summary.seconds.items())
        facts.append(("time of all blocks", f"{duration(total)}: {stages}"))
        facts += [
            (f"board {board}", f"{share['signals']:,.0f} signals, {duration(share['seconds'])}")
            for board, share in list(summary.boards.items())[:MOST_ROWS]
        ]
    write = {
        "bytes": lambda value: quantity(value, "B"),
        "memory": lambda value: quantity(value, "B"),
        "seconds": duration,
    }
    facts += [
        (f"{name}: planned", f"{_between(interval, write[name])}; in truth {write[name](truth)}")
        for name, interval, truth in compared
    ]
    return fact_table(facts)


def status_table(status: Status) -> RenderableType:
    """State of a campaign."""
    facts = [("coordinator", status.coordinator)] if status.coordinator else []
    if status.summary is None:
        facts.append(("plan", "none yet: the coordinator makes it when it starts"))
    else:
        facts += _progress(status, status.summary)
    if status.last_event:
        facts.append(("last event", say_event(status.last_event)))
    parts = [fact_table(facts)]
    if status.jobs or status.unanswered:
        parts += [Text(), jobs_table(status)]
    if status.runs:
        table = Table("run", "signals", "blocks", "finished", "quarantined", box=None)
        for run in status.runs[:MOST_ROWS]:
            table.add_row(run.name, f"{run.signals:,}", f"{run.blocks:,}", f"{run.finished:,}", f"{run.quarantined:,}")
        parts += [Text(), table]
    return Group(*parts)


def say_event(event: Mapping[str, object]) -> str:
    """A line of the journal as people read it."""
    return ": ".join(str(event[key]) for key in ("event", "message", "reason") if event.get(key))


def jobs_table(status: AtWork) -> RenderableType:
    """Batch jobs: one row per group, and what could not be asked."""
    table = Table("jobs", "system", "pending", "running", "finished", Column("waiting for", overflow="fold"), box=None)
    for group in status.jobs:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in group.pending.items())
        table.add_row(
            group.group,
            group.system,
            f"{sum(group.pending.values()):,}",
            f"{group.running:,}",
            f"{group.finished:,}",
            Text(reasons),
        )
    return Group(table, *(Text(f"no answer: {reason}") for reason in status.unanswered))


def _progress(status: Status, summary: Summary) -> list[tuple[str, str]]:
    facts = [
        ("signals", f"{summary.signals:,} = {_accounting(summary)}"),
        ("blocks", f"{summary.finished:,} of {summary.blocks:,} finished, {summary.quarantined:,} quarantined"),
        *_sample(summary),
    ]
    if status.last_commit is not None:
        facts.append(("last commit", f"{duration(status.last_commit)} ago"))
    if status.recent_rate and summary.left:
        at_work = (
            f": {duration(summary.left / status.recent_rate)} left" if status.coordinator else " before it stopped"
        )
        facts.append(("pace", f"{quantity(status.recent_rate, 'signals/s')}{at_work}"))
    return facts


def _sample(summary: Summary) -> list[tuple[str, str]]:
    """How far the sample is that the last start was asked for, and how the rest is done."""
    if summary.sample is None or not summary.missing:
        return []
    sample = summary.sample
    rest = f"; {summary.missing:,} signals are left for a start without --sample" if not sample.missing else ""
    return [
        (
            f"sample of {sample.fraction:g}",
            f"{sample.finished:,} of {sample.blocks:,} blocks finished, {sample.signals:,} signals{rest}",
        )
    ]


def audit_table(result: Audit) -> RenderableType:
    """Verdict, accounting equation and problems of an audit."""
    facts = [
        ("audit", "passed" if result.passed else "FAILED"),
        ("accounting", result.equation()),
        *((f"refused: {reason}", f"{count:,}") for reason, count in result.refused.items()),
        ("shards", f"{result.shards:,} read, {quantity(result.bytes, 'B')}, checksums compared"),
        ("acquisition files", _inputs(result)),
    ]
    facts += [("problem", problem) for problem in result.problems[:MOST_ROWS]]
    if len(result.problems) > MOST_ROWS:
        facts.append(("", f"and {len(result.problems) - MOST_ROWS:,} more problems"))
    return fact_table(facts)


def model_table(facts: ModelFacts) -> RenderableType:
    """Inputs, outputs, operations and digest of a model."""
    rows: list[tuple[str, str]] = [("model", facts.source), ("digest", facts.digest)]
    rows.append(("input", _tensor(facts.input)))
    rows += [("output", _tensor(output)) for output in facts.outputs]
    rows.append(("parameters", f"{facts.parameters:,}"))
    rows.append(("operations", ", ".join(f"{name} {count}" for name, count in sorted(facts.operations.items()))))
    return fact_table(rows + card_rows(facts.card))


def frozen_table(frozen: FrozenFile) -> RenderableType:
    """A frozen file, its card, and how it was compared."""
    compared = f"differs from the network by {frozen.difference:.1g} at most, allowed {frozen.tolerance:.0e}"
    return fact_table(
        [("frozen", frozen.path), ("digest", frozen.digest), ("compared", compared), *card_rows(frozen.card)]
    )


def conversion_table(summary: ConversionSummary) -> RenderableType:
    """Counts of a conversion, and the damage met."""
    facts = [
        ("from", str(summary.source)),
        ("to", str(summary.target)),
        ("signals", f"{summary.signals:,} = {summary.written:,} written + {summary.omitted:,} omitted"),
        ("damaged", f"{summary.damaged:,}"),
    ]
    facts += [(f"byte {damage.offset:,}", damage.reason) for damage in summary.damage[:MOST_ROWS]]
    return fact_table(facts)


def settings_table(model: type[BaseModel]) -> RenderableType:
    """Keys of a configuration section with defaults and meanings."""
    table = Table("key", "default", "meaning", box=None)
    for entry in settings_facts(model):
        table.add_row(entry["key"], repr(entry["default"]), entry["meaning"])
    return table


def _tensor(tensor: Any) -> str:
    shape = ", ".join("any" if size is None else str(size) for size in tensor.shape)
    return f"{tensor.name}: {tensor.dtype} ({shape}), {tensor.operation}"


def _accounting(summary: Summary) -> str:
    refused = sum(summary.refused.values())
    missing = f" + {summary.missing:,} not done" if summary.missing else ""
    return f"{summary.written:,} written + {refused:,} refused{missing}"


def _inputs(result: Audit) -> str:
    if result.deep:
        return "counted again; time, board and channel of every signal compared"
    return "counted again" if result.inputs_read else "not read"


def _between(interval: tuple[float, float], write: Any) -> str:
    low, high = write(interval[0]), write(interval[1])
    return str(low) if low == high else f"{low} to {high}"


def fact_table(rows: Iterable[tuple[str, str]]) -> RenderableType:
    """Names and values, one a line."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    return table
