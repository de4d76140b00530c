"""Batch jobs of a campaign: the journal knows their numbers, the batch systems what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from psdbatch.cluster.system import JobState, QueuedJob
from psdbatch.cluster.systems import batch_system
from psdbatch.config.cluster import System
from psdbatch.errors import BatchSystemError

SUBMITTED, ENDED, COORDINATOR_SUBMITTED = "job submitted", "job ended", "coordinator submitted"
"""Events of the journal."""

COORDINATOR = "coordinator"
"""Stands for a group where the coordinator's own jobs are meant; names of worker groups may be the same."""


@dataclass(frozen=True)
class CampaignJob:
    """A job that the campaign submitted.

    Attributes
    ----------
    group, worker
        What it was for; ``worker`` is None for the coordinator's own job.
    ended
        Why it left the queue, if the coordinator saw it leave.
    """

    system: System
    job: str
    group: str
    worker: str | None
    ended: str | None = None

    @property
    def is_coordinator(self) -> bool:
        """Whether it is the coordinator's own."""
        return self.worker is None


@dataclass(frozen=True)
class GroupJobs:
    """Jobs of one group now: pending by reason, running, and finished since the campaign began."""

    group: str
    system: System
    pending: Mapping[str, int]
    running: int
    finished: int


@dataclass(frozen=True)
class Queue:
    """What the batch systems say about a campaign's jobs.

    Attributes
    ----------
    listed
        By system and number; jobs that have left the queue are missing or finished.
    unanswered
        Systems that could not be asked, with the reason.
    """

    listed: Mapping[tuple[System, str], QueuedJob]
    unanswered: Mapping[System, str]

    def state(self, job: CampaignJob) -> QueuedJob | None:
        """How a job stands; None if it has left the queue, or if nothing is known."""
        if job.ended is not None:
            return None
        found = self.listed.get((job.system, job.job))
        return found if found is not None and found.state is not JobState.FINISHED else None


def submitted_jobs(events: Iterable[Mapping[str, Any]]) -> list[CampaignJob]:
    """All jobs that a journal tells of, in the order of their submission."""
    jobs: dict[tuple[str, str], CampaignJob] = {}
    for event in events:
        if event.get("event") == SUBMITTED:
            job = CampaignJob(event["system"], event["job"], event["group"], event["worker"])
            jobs[event["worker"], event["job"]] = job
        elif event.get("event") == COORDINATOR_SUBMITTED:
            jobs[COORDINATOR, event["job"]] = CampaignJob(event["system"], event["job"], COORDINATOR, None)
        elif event.get("event") == ENDED and (job := jobs.get((event["worker"], event["job"]))):  # type: ignore[assignment]
            jobs[event["worker"], event["job"]] = replace(job, ended=event["reason"])
    return list(jobs.values())


def ask_queue(jobs: Iterable[CampaignJob]) -> Queue:
    """Ask each batch system once about the jobs that nobody has seen end."""
    numbers: dict[System, list[str]] = {}
    for job in jobs:
        if job.ended is None:
            numbers.setdefault(job.system, []).append(job.job)
    listed: dict[tuple[System, str], QueuedJob] = {}
    unanswered: dict[System, str] = {}
    for system, asked in numbers.items():
        try:
            listed |= {(system, number): found for number, found in batch_system(system).ask(asked).items()}
        except BatchSystemError as error:
            unanswered[system] = str(error)
    return Queue(listed, unanswered)


def count_jobs(jobs: Iterable[CampaignJob], queue: Queue) -> tuple[GroupJobs, ...]:
    """Jobs by group, the coordinator's first; those of a system that gave no answer are left out, as nothing is known."""
    groups: dict[tuple[bool, str, System], list[CampaignJob]] = {}
    for job in jobs:
        if job.ended is not None or job.system not in queue.unanswered:
            groups.setdefault((not job.is_coordinator, job.group, job.system), []).append(job)
    return tuple(_count(group, system, groups[key], queue) for key in sorted(groups) for _, group, system in [key])


def _count(group: str, system: System, jobs: list[CampaignJob], queue: Queue) -> GroupJobs:
    states = [queue.state(job) for job in jobs]
    return GroupJobs(
        group=group,
        system=system,
        pending=dict(Counter(state.reason for state in states if state and state.state is JobState.PENDING)),
        running=sum(1 for state in states if state and state.state is JobState.RUNNING),
        finished=states.count(None),
    )
