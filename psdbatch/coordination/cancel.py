"""Stop a campaign or training wherever it runs: its coordinator in order, then what it left in the queues."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from psdbatch.campaign.coordinated import CoordinatedDirectory
from psdbatch.campaign.journal import Journal
from psdbatch.cluster.system import JobState
from psdbatch.cluster.systems import batch_system
from psdbatch.config.cluster import System
from psdbatch.coordination.jobs import CampaignJob, Queue, ask_queue, submitted_jobs
from psdbatch.coordination.lock import Coordinator, current
from psdbatch.errors import BatchSystemError, CampaignError

ORDERLY = 120.0
"""Seconds that a coordinator has to stop by itself; then its job is cancelled outright."""


@dataclass
class Cancellation:
    """What was stopped.

    Attributes
    ----------
    coordinator
        Who it was; None if none was at work.
    orderly
        Whether it stopped by itself.
    jobs
        Numbers of the workers' jobs cancelled here; an orderly coordinator cancels them itself.
    """

    coordinator: str | None = None
    orderly: bool = True
    jobs: list[str] = field(default_factory=list)


def cancel(directory: CoordinatedDirectory, say: Callable[[str], object], orderly: float = ORDERLY) -> Cancellation:
    """Stop the coordinator and cancel all its jobs; finished blocks and checkpoints stay.

    Parameters
    ----------
    say
        Is told each step.
    orderly
        Seconds that a coordinator has to stop by itself.

    Raises
    ------
    CampaignError
        Nothing was ever started there, or its coordinator is a process on another host, or does not stop.
    BatchSystemError
        A batch system gives no answer or does not cancel.
    """
    if not directory.journal.exists():
        raise CampaignError(f"{directory.path}: is not a campaign or training that was ever started or submitted")
    done = Cancellation()
    jobs, queue = _look(directory)
    for job in jobs:
        if job.is_coordinator and queue.state(job):
            done.coordinator = f"job {job.job}"
            done.orderly &= _stop_job(job, queue, say, orderly)
    if done.orderly and (holder := current(directory)):
        _stop_process(directory, holder, say, orderly)
        done.coordinator = str(holder)
    _cancel_workers(directory, say, done)
    return done


def _stop_job(job: CampaignJob, queue: Queue, say: Callable[[str], object], orderly: float) -> bool:
    """Have a coordinator's job end; whether it did so by itself."""
    state = queue.state(job)
    system = batch_system(job.system)
    if state is not None and state.state is JobState.RUNNING:
        say(f"coordinator, job {job.job} on {state.node}: asked to stop")
        system.interrupt([job.job])
        if _wait(lambda: _has_left(job), orderly):
            say(f"coordinator, job {job.job}: has stopped")
            return True
    system.cancel([job.job])
    _wait(lambda: _has_left(job), orderly)  # while it lives it replaces workers
    say(f"coordinator, job {job.job}: cancelled")
    return state is None or state.state is not JobState.RUNNING


def _stop_process(
    directory: CoordinatedDirectory, holder: Coordinator, say: Callable[[str], object], orderly: float
) -> None:
    if not holder.is_here:
        raise CampaignError(
            f"{directory.path}: its coordinator is {holder}, which cannot be stopped from this host; "
            f"run 'psdbatch cancel {directory.path}' there, or 'kill {holder.pid}'"
        )
    if holder.is_alive_here:
        say(f"coordinator, {holder}: asked to stop")
        os.kill(holder.pid, signal.SIGTERM)
    if not _wait(lambda: not holder.is_alive_here, orderly):
        raise CampaignError(f"{directory.path}: its coordinator, {holder}, has not stopped within {orderly:.0f} s")
    say(f"coordinator, {holder}: has stopped")


def _cancel_workers(directory: CoordinatedDirectory, say: Callable[[str], object], done: Cancellation) -> None:
    jobs, queue = _look(directory)
    left: dict[System, list[CampaignJob]] = {}
    for job in jobs:
        if not job.is_coordinator and queue.state(job):
            left.setdefault(job.system, []).append(job)
    for system, workers in left.items():
        numbers = [job.job for job in workers]
        batch_system(system).cancel(numbers)
        done.jobs += numbers
        say(f"workers: {len(numbers)} jobs cancelled: {', '.join(numbers)}")


def _look(directory: CoordinatedDirectory) -> tuple[list[CampaignJob], Queue]:
    jobs = submitted_jobs(Journal(directory.journal).read())
    queue = ask_queue(jobs)
    for reason in queue.unanswered.values():
        raise BatchSystemError(f"{reason}; nothing was cancelled there; try again later")
    return jobs, queue


def _has_left(job: CampaignJob) -> bool:
    queue = ask_queue([job])
    return not queue.unanswered and queue.state(job) is None


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(1.0)
    return True
