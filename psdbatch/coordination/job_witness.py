"""Writes down what becomes of jobs and workers, whatever they work for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from psdbatch.campaign.journal import Journal


class Notes(Protocol):
    """Where a user reads."""

    def note(self, message: str) -> None:
        """Show a line."""


@dataclass
class JobWitness:
    """Tells the journal about jobs and workers, and the user what matters of it.

    Called from the cluster's thread.
    """

    journal: Journal
    progress: Notes

    def submitted(self, group: str, worker: str, system: str, job: str) -> None:
        """A job was accepted."""
        self.journal.write("job submitted", group=group, worker=worker, system=system, job=job)

    def ended(self, group: str, worker: str, job: str, reason: str) -> None:
        """A job has left the queue."""
        self.journal.write("job ended", group=group, worker=worker, job=job, reason=reason)

    def admitted(self, facts: Mapping[str, Any]) -> None:
        """A worker passed its examination."""
        self.journal.write("worker admitted", **facts)

    def died(self, facts: Mapping[str, Any]) -> None:
        """A worker process died; its nanny says how."""
        self.journal.write("worker died", **facts)

    def said(self, message: str) -> None:
        """Something about jobs that the user should read."""
        self.journal.write("cluster", message=message)
        self.progress.note(message)
