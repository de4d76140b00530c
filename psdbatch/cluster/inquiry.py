"""Questions to the batch systems: what has become of every job, asked at intervals, all jobs in one command."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from psdbatch.cluster.group import Group, Placed
from psdbatch.cluster.system import BatchSystem, JobEnd, JobState, QueuedJob
from psdbatch.config.cluster import System
from psdbatch.errors import BatchSystemError

logger = logging.getLogger(__name__)

HURRY = 5.0
"""Seconds between two questions to a batch system when a worker was lost; twice as many each time in a row."""


@dataclass
class Answers:
    """What the batch systems say.

    Attributes
    ----------
    queued
        Jobs that wait or run, with their batch system and what it says of them.
    ended
        Jobs that have left their queue, with the reason.
    """

    queued: list[tuple[BatchSystem, Placed, QueuedJob]] = field(default_factory=list)
    ended: list[tuple[Placed, JobEnd]] = field(default_factory=list)


class Inquiry:
    """Asks about the jobs of worker groups.

    Parameters
    ----------
    groups
        By name.
    systems
        The groups' batch systems.
    poll
        Seconds between two questions.
    """

    def __init__(self, groups: Mapping[str, Group], systems: Mapping[System, BatchSystem], poll: float) -> None:
        self._groups, self._systems, self._poll = groups, systems, poll
        self._asked = 0.0
        self._hurry = False
        self._least = HURRY

    def soon(self) -> None:
        """Ask earlier than usual."""
        self._hurry = True

    async def ask(self) -> Answers:
        """Answers of the batch systems, if it is time to ask; a system that does not answer is left out."""
        now = time.monotonic()
        if now - self._asked < (min(self._least, self._poll) if self._hurry else self._poll):
            return Answers()
        self._least = 2 * self._least if self._hurry else HURRY  # a worker may be missing for minutes
        self._asked, self._hurry = now, False
        answers = Answers()
        for kind, system in self._systems.items():
            placed = {
                job.id: job
                for group in self._groups.values()
                if group.system == kind
                for job in group.jobs.values()
                if job.id
            }
            if placed:
                try:
                    await _ask(system, placed, answers)
                except BatchSystemError as error:  # nothing follows from a question without an answer
                    logger.warning("%s", error)
        return answers


async def _ask(system: BatchSystem, placed: Mapping[str, Placed], answers: Answers) -> None:
    found = await asyncio.to_thread(system.ask, list(placed))
    gone = [job for job in placed if job not in found or found[job].state is JobState.FINISHED]
    ends = await asyncio.to_thread(system.how_it_ended, gone) if gone else {}
    answers.queued += [(system, placed[job], facts) for job, facts in found.items() if job not in gone]
    answers.ended += [(placed[job], ends.get(job, JobEnd())) for job in gone]
