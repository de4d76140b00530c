"""A campaign from start to end: prepare, process, finalise."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from psdbatch.campaign.account import Account
from psdbatch.campaign.commit import CommitRecord, quarantine
from psdbatch.campaign.directory import BlockName, CampaignDirectory
from psdbatch.campaign.expectation import kept_estimate
from psdbatch.campaign.finalise import Summary, finalise
from psdbatch.campaign.journal import Journal, reason_of
from psdbatch.campaign.plan import Block, Plan, PlannedRun, chains
from psdbatch.campaign.prepare import Campaign
from psdbatch.campaign.reference import watch_drift
from psdbatch.campaign.sample import SAMPLED, Sample, choose_sample
from psdbatch.cluster.farm import Farm, open_farm, worker_threads
from psdbatch.cluster.jobs import JobSheet
from psdbatch.coordination.dispatch import Dispatcher
from psdbatch.coordination.lock import hold
from psdbatch.coordination.notice import Notice, heeded_notice
from psdbatch.coordination.sheet import job_sheet
from psdbatch.coordination.watching import on_dashboard, page_link
from psdbatch.coordination.witness import Witness
from psdbatch.errors import TimeIsOverError
from psdbatch.golden.references import ReferenceWork, start_reference
from psdbatch.monitor.progress import Progress
from psdbatch.processing.process import COMMITS, BlockTask, block_task

QUARANTINED = "the block was given up"

_TIME_IS_OVER = "the coordinator was told that its time is over; the same command goes on"


def run_campaign(campaign: Campaign, progress: Progress, fraction: float | None = None) -> Summary:
    """Process what is left of a prepared campaign and bring its store to a readable end.

    Parameters
    ----------
    campaign
        From :func:`psdbatch.campaign.prepare.prepare`.
    progress
        Shows how it goes.
    fraction
        Process only a sample of the blocks (:func:`psdbatch.campaign.sample.choose_sample`).  Nothing else changes: a later
        pass without it does the rest.

    Raises
    ------
    PsdbatchError
        The campaign cannot go on, or another coordinator is at work; finished blocks are safe.
    """
    with hold(campaign.directory):
        return _run(campaign, progress, None if fraction is None else choose_sample(campaign.plan, fraction))


def _run(campaign: Campaign, progress: Progress, sample: Sample | None) -> Summary:
    journal = Journal(campaign.directory.journal)
    committed = set(campaign.directory.committed())
    work = _Work(campaign.plan, committed, sample)
    asked = {} if sample is None else {SAMPLED: sample.fraction}
    journal.write(
        "started",
        fingerprint=campaign.plan.fingerprint,
        blocks=campaign.plan.count_blocks(),
        left=work.left,
        threads=worker_threads(campaign.config.cluster),
        expected=kept_estimate(campaign.plan),
        **asked,
    )
    started = time.time()
    used: dict[str, Any] = {}
    try:
        if work.left:
            _process(campaign, work, journal, progress, used)
    except BaseException as error:
        journal.write("stopped", reason=reason_of(error), groups=used)
        raise
    elapsed = time.time() - started
    classes = campaign.schema(campaign.plan.runs[0].name).classes
    account = Account(campaign.plan, physics=True, watch=watch_drift(campaign.config, campaign.plan, classes))
    summary = finalise(campaign.directory, campaign.plan, work.signals - work.done, elapsed, used, sample, account)
    journal.write("finished", **{name: fact for name, fact in summary.facts().items() if name != "passes"})
    _report(campaign.directory, account, journal, progress)
    return summary


def _report(directory: CampaignDirectory, account: Account, journal: Journal, progress: Progress) -> None:
    """Draw what the pass has led to; nothing that goes wrong with that may harm a campaign that has ended well."""
    try:
        from psdbatch.report.write import write_report  # for what it draws with is needed nowhere else here

        write_report(directory, account)
    except Exception as error:
        journal.write("report failed", reason=f"{type(error).__name__}: {error}")
        progress.note(f"no report was written ({type(error).__name__}: {error}); the results are complete all the same")


class _Work:
    """What a pass is asked for: all blocks of a plan or those of a sample, less the committed ones.

    Attributes
    ----------
    left, tasks
        Blocks to do, and the tasks that they make up: a chain of blocks is one.
    blocks, earlier
        Blocks asked for, and those of them that are committed.
    signals, done
        Signals asked for, and those of them that are committed.
    """

    def __init__(self, plan: Plan, committed: set[BlockName], sample: Sample | None) -> None:
        self.plan, self.committed = plan, committed
        self.wanted = None if sample is None else sample.blocks
        lengths = [len(chain) for _, chain in self.chains()]
        self.left, self.tasks = sum(lengths), len(lengths)
        self.signals = plan.signals if sample is None else plan.count_signals(sample.blocks)
        self.blocks = plan.count_blocks() if sample is None else len(sample.blocks)
        self.earlier = committed if sample is None else sample.blocks & committed
        self.done = plan.count_signals(self.earlier)

    def chains(self) -> Iterator[tuple[PlannedRun, tuple[Block, ...]]]:
        """The blocks to do, as :func:`psdbatch.campaign.plan.chains` groups them."""
        return chains(self.plan, self.committed, self.wanted)


def _process(campaign: Campaign, work: _Work, journal: Journal, progress: Progress, used: dict[str, Any]) -> None:
    """Treat all blocks of ``work``; ``used`` takes what the worker groups used for it, by group, however it ends."""
    plan, directory, config = campaign.plan, campaign.directory, campaign.config
    progress.begin(work.signals, work.done)
    witness = Witness(journal, progress, left=work.left)
    with ExitStack() as stack:
        # A local worker makes the reference itself; elsewhere it is made while the jobs wait in the queue.
        reference = None if config.cluster.kind == "local" else stack.enter_context(start_reference(campaign))
        notice = stack.enter_context(heeded_notice())
        farm = stack.enter_context(open_farm(config.cluster, campaign_sheet(campaign), directory.certificates, witness))
        stack.enter_context(progress)
        witness.farm = farm
        progress.address(page_link(farm.client.dashboard_link) if config.cluster.dashboard else None)
        progress.workers = farm.describe
        if config.cluster.dashboard:
            shown = on_dashboard(campaign, farm, work.signals, work.blocks, work.earlier, progress.note)
            witness.live = stack.enter_context(shown)
        farm.client.subscribe_topic(COMMITS, lambda event: witness.announced(event[1]))
        dispatcher = Dispatcher(
            client=farm.client,
            threads=farm.threads,
            attempts=config.processing.attempts,
            backoff=config.processing.backoff,
            watcher=witness,
            quarantine=lambda task, failures: give_up(directory, plan, task, failures, witness),
            death_of=farm.deaths.of,
            committed=lambda task, block: directory.record(block.name).exists(),
            pulse=lambda: _pulse(farm, witness, work.tasks - dispatcher.ended, reference, notice),
            leaving=notice.given,
        )
        try:
            left_over = dispatcher.run(block_task(directory, plan, run, chain) for run, chain in work.chains())
        finally:
            used.update(farm.use())
        if notice.given() and witness.left:
            raise TimeIsOverError(f"{directory.path}: {witness.left} blocks are left; {_TIME_IS_OVER}")
    if left_over:
        journal.write("left over", blocks=[str(block.name) for task in left_over for block in task.blocks][:1000])


def _pulse(farm: Farm, witness: Witness, tasks: int, reference: ReferenceWork | None, notice: Notice) -> None:
    if notice.over():
        raise TimeIsOverError(f"blocks in flight did not end in time; {_TIME_IS_OVER}")
    if reference is not None:
        reference.check()
    if notice.given():
        farm.pulse(0, 0)  # no job is asked for that would find nothing to begin
    else:
        farm.pulse(witness.left, tasks)


def campaign_sheet(campaign: Campaign) -> JobSheet:
    """What all worker jobs of a campaign have in common."""
    inputs = {str(Path(file.path).parent) for run in campaign.plan.runs for file in run.files}
    return job_sheet("psdbatch.processing.worker", "campaign", campaign.directory, campaign.config.cluster, inputs)


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
