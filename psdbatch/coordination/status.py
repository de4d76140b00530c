"""State of a campaign, from its directory and from the batch systems that know of its jobs: nothing has to run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from psdbatch.campaign.commit import CommitRecord
from psdbatch.campaign.coordinated import CoordinatedDirectory
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.finalise import Summary, summarise
from psdbatch.campaign.journal import Journal
from psdbatch.campaign.plan import Plan
from psdbatch.campaign.sample import SAMPLED, choose_sample
from psdbatch.coordination.jobs import GroupJobs, ask_queue, count_jobs, submitted_jobs
from psdbatch.coordination.lock import current


@dataclass(frozen=True)
class RunState:
    """Blocks of one run: in the plan, finished, and quarantined."""

    name: str
    signals: int
    blocks: int
    finished: int
    quarantined: int


@dataclass(frozen=True)
class AtWork:
    """Who is at work, whatever it is for.

    Attributes
    ----------
    last_event
        The newest line of the journal.
    coordinator
        Who coordinates now, if anyone does.
    jobs
        Batch jobs by group; empty where there were none.
    unanswered
        Why batch systems could not be asked.
    """

    last_event: dict[str, object] | None
    coordinator: str | None
    jobs: tuple[GroupJobs, ...]
    unanswered: tuple[str, ...]


@dataclass(frozen=True)
class Status(AtWork):
    """What directory and batch systems tell of a campaign.

    Attributes
    ----------
    summary
        None until the coordinator has planned the campaign.
    last_commit
        Age of the newest commit in seconds.
    recent_rate
        Signals per second over the commits of the last ten minutes.
    """

    summary: Summary | None
    runs: tuple[RunState, ...]
    last_commit: float | None
    recent_rate: float | None


RECENT = 600.0


def who_is_at_work(directory: CoordinatedDirectory, events: Sequence[dict[str, Any]]) -> AtWork:
    """Who is at work by a journal's events; each batch system is asked once about the jobs that may be left."""
    jobs = submitted_jobs(events)
    queue, holder = ask_queue(jobs), current(directory)
    return AtWork(
        last_event=events[-1] if events else None,
        coordinator=str(holder) if holder else None,
        jobs=count_jobs(jobs, queue),
        unanswered=tuple(queue.unanswered.values()),
    )


def read_status(directory: CampaignDirectory) -> Status:
    """Read commit records and journal, and ask each batch system once about the jobs that may be left.

    Raises
    ------
    CampaignError
        There is no campaign, not even one that was submitted.
    """
    events = list(Journal(directory.journal).read())
    plan = None if submitted_jobs(events) and not directory.plan.exists() else Plan.read(directory.plan)
    records = [CommitRecord.read(directory.record(name)) for name in directory.committed()] if plan else []
    finished = Counter(record.run for record in records)
    quarantined = Counter(record.run for record in records if record.quarantine)
    times = [
        (record.report["finished"], record.report["started"], record.signals)
        for record in records
        if "finished" in record.report
    ]
    newest = max((finish for finish, _, _ in times), default=None)
    return Status(
        **vars(who_is_at_work(directory, events)),
        summary=_summary(plan, records, events) if plan else None,
        runs=tuple(
            RunState(run.name, run.signals, -(-run.signals // plan.block), finished[run.name], quarantined[run.name])
            for run in plan.runs
        )
        if plan
        else (),
        last_commit=None if newest is None else time.time() - newest,
        recent_rate=_rate([entry for entry in times if newest is not None and entry[0] > newest - RECENT]),
    )


def _summary(plan: Plan, records: list[CommitRecord], events: Iterable[Mapping[str, Any]]) -> Summary:
    """Numbers of the campaign, and of the sample if the last start was asked for one only."""
    summary = summarise(plan, iter(records))
    fraction = next((event.get(SAMPLED) for event in reversed([*events]) if event.get("event") == "started"), None)
    if fraction is None:
        return summary
    return replace(summary, sample=choose_sample(plan, fraction).state(plan, (record.name for record in records)))


def _rate(times: list[tuple[float, float, int]]) -> float | None:
    if not times:
        return None
    span = max(finish for finish, _, _ in times) - min(start for _, start, _ in times)
    return sum(signals for _, _, signals in times) / span if span > 0 else None
