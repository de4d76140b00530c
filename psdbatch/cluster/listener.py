"""Whoever writes down what becomes of jobs."""

from __future__ import annotations

from typing import Any, Protocol


class Listener(Protocol):
    """Is told about jobs and workers; called from the cluster's thread."""

    def submitted(self, group: str, worker: str, system: str, job: str) -> None:
        """A job was accepted."""

    def ended(self, group: str, worker: str, job: str, reason: str) -> None:
        """A job has left the queue."""

    def admitted(self, facts: dict[str, Any]) -> None:
        """A worker passed its examination; what it found out about itself."""

    def died(self, facts: dict[str, Any]) -> None:
        """A worker process died; its nanny says how."""

    def said(self, message: str) -> None:
        """Something the user should read."""
