"""Tells journal and progress what dispatcher and cluster see."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psdbatch.campaign.commit import CommitRecord
from psdbatch.campaign.directory import BlockName
from psdbatch.campaign.journal import Journal
from psdbatch.coordination.failures import Verdict
from psdbatch.monitor.progress import Progress
from psdbatch.processing.process import BlockTask

if TYPE_CHECKING:
    from psdbatch.cluster.farm import Farm

logger = logging.getLogger(__name__)


@dataclass
class Witness:
    """Sees blocks and jobs come and go.  Called from the coordinator's and from the cluster's thread.

    Attributes
    ----------
    left
        Blocks without a commit.
    farm
        Is told how long blocks take, once there is one.
    """

    journal: Journal
    progress: Progress
    left: int = 0
    farm: Farm | None = None
    known: set[BlockName] = field(default_factory=set)

    def announced(self, news: Mapping[str, Any]) -> None:
        """A block of a long chain is finished; its task goes on and reports it again at its end."""
        self.known.add(BlockName(news["run"], news["block"]))
        self._finished(news["signals"], news["written"], news["report"])

    def committed(self, record: CommitRecord) -> None:
        """A block is finished; the progress of one already announced is not counted again."""
        if record.quarantine:
            self.journal.write("quarantined", block=str(record.name), reason=record.quarantine)
        if record.name in self.known:
            self.known.discard(record.name)
        else:
            self._finished(record.signals, record.written, record.report)

    def _finished(self, signals: int, written: int, report: Mapping[str, Any]) -> None:
        self.left -= 1
        self.progress.advance(signals, written)
        if self.farm is not None and "finished" in report:
            self.farm.measured(report.get("group", ""), report["finished"] - report["started"], signals)

    def failed(self, task: BlockTask, worker: str | None, reason: str, verdict: Verdict) -> None:
        """An attempt at a task failed, or its worker went away under it."""
        blocks = [str(block.name) for block in task.blocks]
        self.journal.write("failed", blocks=blocks, worker=worker, reason=reason, verdict=str(verdict))
        logger.warning("blocks %s failed (%s): %s", blocks, verdict, reason)
        if verdict is not Verdict.AGAIN:
            self.progress.failed(reason)

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
