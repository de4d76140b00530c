"""A campaign from start to end: prepare, process, finalise."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from distributed import Client

from psdbatch.campaign.commit import CommitRecord, quarantine
from psdbatch.campaign.directory import BlockName, CampaignDirectory
from psdbatch.campaign.dispatch import Dispatcher
from psdbatch.campaign.failures import Verdict
from psdbatch.campaign.finalise import Summary, finalise
from psdbatch.campaign.journal import Journal
from psdbatch.campaign.plan import Plan, chains
from psdbatch.campaign.prepare import Campaign
from psdbatch.campaign.process import COMMITS, BlockTask, block_task
from psdbatch.cluster.local import local_cluster, workers_of
from psdbatch.cluster.nanny import DEATHS
from psdbatch.monitor.progress import Progress

logger = logging.getLogger(__name__)

QUARANTINED = "the block was given up"


def run_campaign(campaign: Campaign, progress: Progress) -> Summary:
    """Process what is left of a prepared campaign and bring its store to a readable end.

    Parameters
    ----------
    campaign
        From :func:`psdbatch.campaign.prepare.prepare`.
    progress
        Shows how it goes.

    Raises
    ------
    PsdbatchError
        The campaign cannot go on; finished blocks are safe.
    """
    journal = Journal(campaign.directory.journal)
    committed = set(campaign.directory.committed())
    left = sum(len(chain) for _, chain in chains(campaign.plan, committed))
    journal.write("started", fingerprint=campaign.plan.fingerprint, blocks=campaign.plan.count_blocks(), left=left)
    started = time.time()
    try:
        if left:
            _process(campaign, committed, journal, progress)
    except BaseException as error:
        journal.write("stopped", reason=f"{type(error).__name__}: {error}")
        raise
    processed = campaign.plan.signals - campaign.plan.count_signals(committed)
    summary = finalise(campaign.directory, campaign.plan, processed, time.time() - started)
    journal.write("finished", **summary.facts())
    return summary


def _process(campaign: Campaign, committed: set[BlockName], journal: Journal, progress: Progress) -> None:
    plan, directory = campaign.plan, campaign.directory
    progress.begin(plan.signals, plan.count_signals(committed))
    with local_cluster(campaign.config.cluster, directory.logs) as client, progress:
        progress.address(client.dashboard_link if campaign.config.cluster.dashboard else None)
        watcher = Witness(journal, progress)
        dispatcher = Dispatcher(
            client=client,
            threads=lambda: _threads(client, campaign),
            attempts=campaign.config.processing.attempts,
            backoff=campaign.config.processing.backoff,
            watcher=watcher,
            quarantine=lambda task, failures: give_up(directory, plan, task, failures, watcher),
        )
        client.subscribe_topic(COMMITS, lambda event: watcher.announced(event[1]))
        client.subscribe_topic(DEATHS, lambda event: note_death(event, dispatcher.deaths, journal))
        left_over = dispatcher.run(_tasks(directory, plan, committed))
    if left_over:
        journal.write("left over", blocks=[str(block.name) for task in left_over for block in task.blocks][:1000])


def _tasks(directory: CampaignDirectory, plan: Plan, committed: set[BlockName]) -> Iterator[BlockTask]:
    for run, chain in chains(plan, committed):
        yield block_task(directory, plan, run, chain)


def _threads(client: Client, campaign: Campaign) -> int:
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    processes, threads = workers_of(campaign.config.cluster)
    return sum(worker["nthreads"] for worker in workers) or processes * threads


def give_up(
    directory: CampaignDirectory, plan: Plan, task: BlockTask, failures: list[str], watcher: Witness
) -> BlockTask | None:
    """Commit the block that failed without answers, so that the campaign ends and says what is missing.

    A chain's blocks are taken in order: the first unfinished one failed.  Those behind it come back as a task.
    """
    left = [number for number, block in enumerate(task.blocks) if not directory.record(block.name).exists()]
    if not left:
        return None
    block = task.blocks[left[0]]
    record = quarantine(
        directory,
        block.name,
        first=block.first,
        signals=block.signals,
        identity=plan.identity(plan.run(task.run.name), block),
        refused={QUARANTINED: block.signals},
        refusals=({"first": block.first, "signals": block.signals, "reason": failures[-1]},),
        quarantine="; ".join(dict.fromkeys(failures)),
    )
    watcher.committed(record)
    if not left[1:]:
        return None
    return replace(
        task,
        blocks=tuple(task.blocks[number] for number in left[1:]),
        identities=tuple(task.identities[number] for number in left[1:]),
    )


def note_death(event: tuple[float, Any], deaths: dict[str, str], journal: Journal) -> None:
    """Keep the reason that a nanny reported, for whoever asks how a task's worker died."""
    facts = event[1]
    deaths[facts["worker"]] = facts["reason"]
    journal.write("worker died", **facts)


@dataclass
class Witness:
    """Tells journal and progress what the dispatcher sees."""

    journal: Journal
    progress: Progress
    known: set[BlockName] = field(default_factory=set)

    def announced(self, news: Mapping[str, Any]) -> None:
        """A block of a long chain is finished; its task goes on and reports it again at its end."""
        self.known.add(BlockName(news["run"], news["block"]))
        self.progress.advance(news["signals"], news["written"])

    def committed(self, record: CommitRecord) -> None:
        """A block is finished; the progress of one already announced is not counted again."""
        if record.quarantine:
            self.journal.write("quarantined", block=str(record.name), reason=record.quarantine)
        if record.name in self.known:
            self.known.discard(record.name)
        else:
            self.progress.advance(record.signals, record.written)

    def failed(self, task: BlockTask, worker: str | None, reason: str, verdict: Verdict) -> None:
        blocks = [str(block.name) for block in task.blocks]
        self.journal.write("failed", blocks=blocks, worker=worker, reason=reason, verdict=str(verdict))
        logger.warning("blocks %s failed (%s): %s", blocks, verdict, reason)
        self.progress.failed(reason)


def release_quarantined(directory: CampaignDirectory) -> list[BlockName]:
    """Forget the commits of quarantined blocks, so that the next start tries them again."""
    released = []
    for name in list(directory.committed()):
        path = directory.record(name)
        if CommitRecord.read(path).quarantine:
            Path(path).unlink()
            released.append(name)
    return released
