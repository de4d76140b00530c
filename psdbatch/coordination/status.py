"""State of a campaign, from its directory and from the batch systems that know of its jobs: nothing has to run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psdbatch.campaign.coordinated import CoordinatedDirectory
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.finalise import Summary, count_records, describe
from psdbatch.campaign.history import History
from psdbatch.campaign.journal import Journal
from psdbatch.campaign.plan import Plan
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
    work = who_is_at_work(directory, events)
    if plan is None:
        return Status(**vars(work), summary=None, runs=(), last_commit=None, recent_rate=None)
    history = History(events)
    account = count_records(directory, plan, starts=history.starts)
    newest = account.recent.newest
    return Status(
        **vars(work),
        summary=describe(directory, account, history, running=work.coordinator is not None),
        runs=tuple(
            RunState(run.name, run.signals, run.blocks, run.finished, run.quarantined) for run in account.runs.values()
        ),
        last_commit=None if newest is None else time.time() - newest,
        recent_rate=account.recent.rate,
    )
