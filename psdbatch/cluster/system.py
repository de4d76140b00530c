"""Batch systems: what SLURM and Grid Engine are asked for, in one vocabulary.

Each system is one short file beside this one and fills the same methods.  All of them call the system's own commands
and wait for the answer: call them in a thread where nothing may wait.
"""

from __future__ import annotations

import os
import re
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from psdbatch.config.cluster import JobRequest, System
from psdbatch.errors import BatchSystemBusyError, BatchSystemError

PATIENCE = 30.0
"""Seconds that a command may take; a controller under load answers late, a dead one never."""

UNKNOWN_END = "no reason became known"


class JobState(StrEnum):
    """What a job does, as far as a campaign cares."""

    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(frozen=True)
class QueuedJob:
    """A job as its batch system lists it.

    Attributes
    ----------
    id
        Number given by the system.
    state
        What it does.
    reason
        Why it does not run, or how it stands, in the system's own words.
    node
        Where it runs; empty before.
    ends
        When a running job is killed, in seconds since 1970; None: no limit is known.
    """

    id: str
    state: JobState
    reason: str = ""
    node: str = ""
    ends: float | None = None


@dataclass(frozen=True)
class JobEnd:
    """How a job left the queue.

    Attributes
    ----------
    reason
        In the user's words, with the system's own in brackets.
    innocent
        Whether what the job was working on had certainly nothing to do with it: cancelled, preempted, out of time, or
        the node failed.
    """

    reason: str = UNKNOWN_END
    innocent: bool = False


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    output: str
    complaint: str


class BatchSystem(ABC):
    """One kind of batch system."""

    kind: ClassVar[System]
    name: ClassVar[str]
    directive: ClassVar[str]
    """How a line of a job script begins that holds options."""
    job_variable: ClassVar[str]
    """Environment variable in which a job finds its own number."""
    site_variables: ClassVar[tuple[str, ...]]
    """Environment variables that its commands need to find their server."""
    run_again: ClassVar[str]
    """Shell line with which a job that is about to end has itself queued again."""
    enduring: ClassVar[tuple[str, ...]]
    """Options of a job that runs again if its node dies, and hears of its end before it comes."""
    suspension: ClassVar[re.Pattern[str]]
    """Found in how a running job stands while it is suspended."""
    passing: ClassVar[tuple[str, ...]]
    """Parts of complaints that say nothing about a job: the server is restarting, overloaded, out of reach."""

    @abstractmethod
    def ask(self, jobs: Collection[str]) -> dict[str, QueuedJob]:
        """What the system knows about jobs of this user, asked for all in one go.

        Returns
        -------
        dict
            By job; jobs that the system no longer lists are left out.

        Raises
        ------
        BatchSystemBusyError
            There was no answer; nothing follows from that.
        BatchSystemError
            The system cannot be asked on this host.
        """

    @abstractmethod
    def how_it_ended(self, jobs: Collection[str]) -> dict[str, JobEnd]:
        """Why jobs left the queue, as far as it can be found out now; never an error."""

    @abstractmethod
    def cancel(self, jobs: Collection[str]) -> None:
        """Cancel jobs in one command; those already gone do not matter.

        Raises
        ------
        BatchSystemError
            In the system's own words.
        """

    @abstractmethod
    def interrupt(self, jobs: Collection[str]) -> None:
        """Have running jobs made by ``psdbatch submit`` stop in their own time; others are cancelled.

        Raises
        ------
        BatchSystemError
            In the system's own words.
        """

    @abstractmethod
    def submit(self, script: Path) -> str:
        """Submit a job script that carries its options; its number.

        Raises
        ------
        BatchSystemError
            The job is refused, in the system's own words.
        """

    @abstractmethod
    def never(self, job: QueuedJob) -> str | None:
        """Why a pending job cannot start whatever becomes free, or None if it may."""

    def suspended(self, job: QueuedJob) -> bool:
        """Whether the job holds its node but may not work for now."""
        return job.state is JobState.RUNNING and bool(self.suspension.search(job.reason))

    @abstractmethod
    def options(self, job: JobRequest, name: str, log: Path) -> list[str]:
        """Options of the submit command for ``job``.

        Parameters
        ----------
        name
            Name of the job in the queue.
        log
            File for what the job prints; ``{job}`` in it stands for the job's number.
        """

    def _call(self, *command: str, environment: Mapping[str, str] | None = None) -> Answer:
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PATIENCE,
                check=False,
                stdin=subprocess.DEVNULL,
                env=dict(environment if environment is not None else os.environ),
            )
        except subprocess.TimeoutExpired as error:
            raise BatchSystemBusyError(
                f"{self.name} does not answer: '{command[0]}' took more than {PATIENCE:.0f} s"
            ) from error
        except OSError as error:
            raise BatchSystemError(
                f"{self.name}'s command '{command[0]}' cannot be run here ({error.strerror}); "
                f"use a host from which jobs can be submitted, or put {self.name}'s commands on the PATH"
            ) from error
        return Answer(done.returncode, done.stdout, done.stderr.strip() or done.stdout.strip())

    def _complain(self, what: str, complaint: str) -> BatchSystemError:
        """The error for a command that failed; one that says nothing about jobs is told apart."""
        kind = BatchSystemBusyError if any(part in complaint for part in self.passing) else BatchSystemError
        return kind(f"{what}: {complaint or 'it does not say why'}")
