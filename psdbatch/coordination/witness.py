"""Tells journal and progress what dispatcher and cluster see."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psdbatch.campaign.commit import CommitRecord
from psdbatch.campaign.directory import BlockName
from psdbatch.coordination.failures import Verdict
from psdbatch.coordination.job_witness import JobWitness
from psdbatch.monitor.progress import Progress
from psdbatch.processing.process import BlockTask

if TYPE_CHECKING:
    from psdbatch.cluster.farm import Farm
    from psdbatch.coordination.live import Live

logger = logging.getLogger(__name__)


@dataclass
class Witness(JobWitness):
    """Sees blocks and jobs come and go.  Called from the coordinator's and from the cluster's thread.

    Attributes
    ----------
    left
        Blocks without a commit.
    farm
        Is told how long blocks take, once there is one.
    live
        Adds up finished blocks for the dashboard, if there is one.
    """

    progress: Progress
    left: int = 0
    farm: Farm | None = None
    live: Live | None = None
    known: set[BlockName] = field(default_factory=set)

    def announced(self, news: Mapping[str, Any]) -> None:
        """A block of a long chain is finished; its task goes on and reports it again at its end."""
        record = CommitRecord(identity="", attempt="", shards=(), **{**news, "refusals": tuple(news["refusals"])})
        self.known.add(record.name)
        self._finished(record)

    def committed(self, record: CommitRecord) -> None:
        """A block is finished; the progress of one already announced is not counted again."""
        if record.quarantine:
            self.journal.write("quarantined", block=str(record.name), reason=record.quarantine)
        if record.name in self.known:
            self.known.discard(record.name)
        else:
            self._finished(record)

    def _finished(self, record: CommitRecord) -> None:
        self.left -= 1
        self.progress.advance(record.signals, record.written)
        if self.live is not None:
            self.live.finished(record)
        report = record.report
        if self.farm is not None and "finished" in report:
            self.farm.measured(report.get("group", ""), report["finished"] - report["started"], record.signals)

    def failed(self, task: BlockTask, worker: str | None, reason: str, verdict: Verdict) -> None:
        """An attempt at a task failed, or its worker went away under it."""
        blocks = [str(block.name) for block in task.blocks]
        self.journal.write("failed", blocks=blocks, worker=worker, reason=reason, verdict=str(verdict))
        logger.warning("blocks %s failed (%s): %s", blocks, verdict, reason)
        if verdict is not Verdict.AGAIN:
            if self.live is not None:
                self.live.failed(worker or "", reason)
            self.progress.failed(reason)
