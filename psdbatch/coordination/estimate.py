"""What a plan will cost: output, files, time, memory; kept, so that the summary can compare it with the truth."""

from __future__ import annotations

import socket
from dataclasses import asdict, dataclass
from typing import Any

from psdbatch.campaign.directory import BLOCKS_PER_FOLDER
from psdbatch.campaign.expectation import Comparison, Interval, compare_estimate, keep_estimate, kept_estimate
from psdbatch.campaign.finalise import Summary
from psdbatch.campaign.plan import Plan
from psdbatch.campaign.prepare import Campaign
from psdbatch.coordination.probe import Probe
from psdbatch.golden.batch import kinds

PLAIN_FILES = 21
"""In any campaign: configuration, plan, journal, summary, report, physics, metadata; the directories for index, commits, staging, logs,
tuning and golden batch; those of coordinator, model and store with one, three and one file."""


@dataclass(frozen=True)
class Estimate:
    """Expectation for a campaign.

    ``bytes``, ``seconds`` and ``memory`` are intervals (low, high); without a probe ``seconds`` and ``memory`` are
    None and ``bytes`` is what the columns hold uncompressed.  ``caution`` says what a probe cannot know.
    """

    runs: int
    files: int
    signals: int
    blocks: int
    damaged_regions: int
    inodes: int
    bytes: Interval
    seconds: Interval | None
    memory: Interval | None
    caution: str | None = None

    def facts(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return asdict(self)


def estimate(campaign: Campaign, probe: Probe | None) -> Estimate:
    """Expectation from the plan, and from a probe's pace where there is one; kept for :func:`compare`."""
    plan = campaign.plan
    raw = {run.name: sum(_itemsize(column) for column in campaign.schema(run.name).columns) for run in plan.runs}
    most = float(sum(raw[run.name] * run.signals for run in plan.runs))
    expected = Estimate(
        runs=len(plan.runs),
        files=sum(len(run.files) for run in plan.runs),
        signals=plan.signals,
        blocks=plan.count_blocks(),
        damaged_regions=sum(file.damage for run in plan.runs for file in run.files),
        inodes=count_inodes(campaign),
        bytes=_interval(probe.bytes_per_signal, plan.signals) if probe else (most * 0.5, most),
        seconds=_seconds(plan, probe) if probe else None,
        memory=_memory(plan, probe, max(raw.values())) if probe else None,
        caution=_caution(campaign, probe) if probe else None,
    )
    if probe:
        keep_estimate(plan, expected.facts())
    return expected


def compare(plan: Plan, summary: Summary) -> list[Comparison]:
    """Expected interval and truth of bytes, seconds and memory, if this plan was estimated before.

    Only a pass that did the whole campaign is compared, and time and memory only where they were measured on its workers.
    """
    if summary.processed < plan.signals:
        return []
    return compare_estimate(kept_estimate(plan), summary.bytes, summary.elapsed, summary.peak_memory)


def count_inodes(campaign: Campaign) -> int:
    """Files and directories that the finished campaign will have.

    On top come a log for each job, and a small file for each device on which a batch size was measured.
    """
    total = PLAIN_FILES + len(kinds(campaign.plan))  # reference answers to each kind of signals
    total += campaign.config.cluster.kind != "local"  # and what is expected of workers elsewhere
    for run in campaign.plan.runs:
        arrays = len(campaign.schema(run.name).columns)
        blocks = -(-run.signals // campaign.plan.block)
        total += arrays * (blocks + 2) + 2  # shards; each array's directory and metadata; the group's
        total += blocks + -(-blocks // BLOCKS_PER_FOLDER) + 1 + len(run.files)  # records and their directories, indexes
    return total


def _caution(campaign: Campaign, probe: Probe) -> str | None:
    """Jobs are not asked for to plan; the machine that plans may be a login node without a GPU."""
    if campaign.config.cluster.kind == "local":
        return None
    return (
        f"time and memory were measured on this machine ({socket.gethostname()}, {probe.threads} threads) as if it did all the "
        "work alone; the workers of the batch system may differ in pace, memory and number"
    )


def _itemsize(column: Any) -> int:
    return int(column.empty(1).nbytes)


def _interval(values: tuple[float, ...], factor: float) -> Interval:
    return min(values) * factor, max(values) * factor


def _seconds(plan: Plan, probe: Probe) -> Interval:
    low, high = _interval(probe.paces, plan.signals / probe.threads)
    return low + probe.start_up * 0.5, high + probe.start_up


def _memory(plan: Plan, probe: Probe, bytes_per_signal: int) -> Interval:
    """A probe is smaller than a block: the rest of a block's columns, and their encoded form, come on top."""
    rest = max(0, min(plan.block, plan.signals) - probe.signals) * bytes_per_signal * probe.threads
    return float(probe.memory), probe.memory * 1.2 + 2.0 * rest
