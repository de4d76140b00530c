"""A campaign from start to end: prepare, process, finalise."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from psdbatch.campaign.commit import CommitRecord, quarantine
from psdbatch.campaign.directory import BlockName, CampaignDirectory
from psdbatch.campaign.finalise import Summary, finalise
from psdbatch.campaign.journal import Journal
from psdbatch.campaign.plan import Plan, chains
from psdbatch.campaign.prepare import Campaign
from psdbatch.cluster.farm import Farm, open_farm
from psdbatch.cluster.jobs import JobSheet
from psdbatch.coordination.dispatch import Dispatcher
from psdbatch.coordination.lock import hold
from psdbatch.coordination.notice import Notice, heeded_notice
from psdbatch.coordination.sheet import job_sheet
from psdbatch.coordination.witness import Witness
from psdbatch.errors import TimeIsOverError
from psdbatch.golden.references import ReferenceWork, start_reference
from psdbatch.monitor.progress import Progress
from psdbatch.processing.process import COMMITS, BlockTask, block_task

QUARANTINED = "the block was given up"

_TIME_IS_OVER = "the coordinator was told that its time is over; the same command goes on"


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
        The campaign cannot go on, or another coordinator is at work; finished blocks are safe.
    """
    with hold(campaign.directory):
        return _run(campaign, progress)


def _run(campaign: Campaign, progress: Progress) -> Summary:
    journal = Journal(campaign.directory.journal)
    committed = set(campaign.directory.committed())
    left = sum(len(chain) for _, chain in chains(campaign.plan, committed))
    journal.write("started", fingerprint=campaign.plan.fingerprint, blocks=campaign.plan.count_blocks(), left=left)
    started = time.time()
    used: dict[str, Any] = {}
    try:
        if left:
            used = _process(campaign, committed, journal, progress)
    except BaseException as error:
        journal.write("stopped", reason=f"{type(error).__name__}: {error}")
        raise
    processed = campaign.plan.signals - campaign.plan.count_signals(committed)
    summary = finalise(campaign.directory, campaign.plan, processed, time.time() - started, used)
    journal.write("finished", **summary.facts())
    return summary


def _process(campaign: Campaign, committed: set[BlockName], journal: Journal, progress: Progress) -> dict[str, Any]:
    """Treat all blocks that have no commit; what the worker groups used for it, by group."""
    plan, directory, config = campaign.plan, campaign.directory, campaign.config
    progress.begin(plan.signals, plan.count_signals(committed))
    witness = Witness(journal, progress, left=plan.count_blocks() - len(committed))
    with ExitStack() as stack:
        # A local worker makes the reference itself; elsewhere it is made while the jobs wait in the queue.
        reference = None if config.cluster.kind == "local" else stack.enter_context(start_reference(campaign))
        notice = stack.enter_context(heeded_notice())
        farm = stack.enter_context(open_farm(config.cluster, campaign_sheet(campaign), directory.certificates, witness))
        stack.enter_context(progress)
        witness.farm = farm
        progress.address(farm.client.dashboard_link if config.cluster.dashboard else None)
        progress.workers = farm.describe
        farm.client.subscribe_topic(COMMITS, lambda event: witness.announced(event[1]))
        dispatcher = Dispatcher(
            client=farm.client,
            threads=farm.threads,
            attempts=config.processing.attempts,
            backoff=config.processing.backoff,
            watcher=witness,
            quarantine=lambda task, failures: give_up(directory, plan, task, failures, witness),
            death_of=farm.deaths.of,
            pulse=lambda: _pulse(farm, witness, reference, notice),
            leaving=notice.given,
        )
        left_over = dispatcher.run(_tasks(directory, plan, committed))
        used = farm.use()
        if notice.given() and witness.left:
            raise TimeIsOverError(f"{directory.path}: {witness.left} blocks are left; {_TIME_IS_OVER}")
    if left_over:
        journal.write("left over", blocks=[str(block.name) for task in left_over for block in task.blocks][:1000])
    return used


def _pulse(farm: Farm, witness: Witness, reference: ReferenceWork | None, notice: Notice) -> None:
    if notice.over():
        raise TimeIsOverError(f"blocks in flight did not end in time; {_TIME_IS_OVER}")
    if reference is not None:
        reference.check()
    farm.pulse(witness.left)


def campaign_sheet(campaign: Campaign) -> JobSheet:
    """What all worker jobs of a campaign have in common."""
    inputs = {str(Path(file.path).parent) for run in campaign.plan.runs for file in run.files}
    return job_sheet("psdbatch.processing.worker", "campaign", campaign.directory, campaign.config.cluster, inputs)


def _tasks(directory: CampaignDirectory, plan: Plan, committed: set[BlockName]) -> Iterator[BlockTask]:
    for run, chain in chains(plan, committed):
        yield block_task(directory, plan, run, chain)


def give_up(
    directory: CampaignDirectory, plan: Plan, task: BlockTask, failures: list[str], witness: Witness
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
    witness.committed(record)
    if not left[1:]:
        return None
    return replace(
        task,
        blocks=tuple(task.blocks[number] for number in left[1:]),
        identities=tuple(task.identities[number] for number in left[1:]),
    )


def release_quarantined(directory: CampaignDirectory) -> list[BlockName]:
    """Forget the commits of quarantined blocks, so that the next start tries them again."""
    released = []
    for name in list(directory.committed()):
        path = directory.record(name)
        if CommitRecord.read(path).quarantine:
            Path(path).unlink()
            released.append(name)
    return released
