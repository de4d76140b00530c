"""Process parts of some blocks for real, in a throw-away campaign, to learn pace, memory and output size."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from psdbatch.campaign.commit import CommitRecord
from psdbatch.campaign.directory import BlockName, CampaignDirectory
from psdbatch.campaign.plan import Block, Plan, PlannedRun, Segment
from psdbatch.campaign.prepare import Campaign, write_campaign
from psdbatch.cluster.local import local_cluster, workers_of
from psdbatch.processing.process import BlockTask, block_task, process_blocks

PROBE_SIGNALS = 131_072
"""Signals of a probe at most; enough for many batches, and seconds of work for a slow network."""

PROBES_PER_THREAD = 3


@dataclass(frozen=True)
class Probe:
    """What the probes measured.

    Attributes
    ----------
    paces
        Seconds per signal of each probe, with all worker threads busy.
    threads
        Worker threads that were busy.
    start_up
        Seconds until the workers were ready: processes, model, compilation, batch size.
    bytes_per_signal
        Compressed output of each probe.
    memory
        Largest resident memory of a worker process (bytes), and signals of a probe.
    """

    paces: tuple[float, ...]
    threads: int
    start_up: float
    bytes_per_signal: tuple[float, ...]
    memory: int
    signals: int


def probe_campaign(campaign: Campaign) -> Probe:
    """Measure ``campaign`` on the workers that it configures.

    Raises
    ------
    PsdbatchError
        A part of a block fails; the campaign would fail in the same way.
    """
    processes, threads = workers_of(campaign.config.cluster)
    count = processes * threads * PROBES_PER_THREAD
    started = time.monotonic()
    with _throw_away(campaign) as trial:
        tasks = list(_tasks(trial, count))
        with local_cluster(campaign.config.cluster, trial.directory.logs) as (_, client):
            client.run(_warm_up, tasks[0])
            ready = time.monotonic()
            records = [
                record
                for result in client.gather(client.map(process_blocks, tasks, pure=False, key="probe"))
                for record in result
            ]
    return Probe(
        paces=tuple(_seconds(record) / record.signals for record in records),
        threads=min(processes * threads, len(tasks)),
        start_up=ready - started,
        bytes_per_signal=tuple(sum(shard.bytes for shard in record.shards) / record.signals for record in records),
        memory=max(int(record.report["peak_memory"]) for record in records),
        signals=max(record.signals for record in records),
    )


def _seconds(record: CommitRecord) -> float:
    return float(record.report["finished"] - record.report["started"])


def _warm_up(task: BlockTask) -> None:
    from psdbatch.processing.process import open_session

    open_session(task.campaign).engine(task.run)


@contextmanager
def _throw_away(campaign: Campaign) -> Iterator[Campaign]:
    """The same campaign in a directory beside it, so that the same disk is measured; removed at the end."""
    beside = campaign.directory.path.parent
    while not beside.exists():
        beside = beside.parent
    try:
        folder = Path(tempfile.mkdtemp(prefix=".psdbatch-probe-", dir=beside))
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="psdbatch-probe-"))
    try:
        trial = replace(campaign, directory=CampaignDirectory(folder))
        write_campaign(trial)
        yield trial
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tasks(campaign: Campaign, count: int) -> Iterator[BlockTask]:
    for run, block in _spread(campaign.plan, count):
        yield block_task(campaign.directory, campaign.plan, run, (_part(block),))


def _spread(plan: Plan, count: int) -> Iterator[tuple[PlannedRun, Block]]:
    """About ``count`` blocks at equal distances over all runs."""
    blocks = plan.count_blocks()
    wanted = {round(place * (blocks - 1) / max(1, count - 1)) for place in range(count)}
    numbered = enumerate((run, block) for run in plan.runs for block in plan.blocks(run))
    yield from (entry for number, entry in numbered if number in wanted)


def _part(block: Block) -> Block:
    """The first signals of a block."""
    segments: list[Segment] = []
    left = min(PROBE_SIGNALS, block.signals)
    total = left
    for segment in block.segments:
        if left:
            segments.append(replace(segment, signals=min(left, segment.signals)))
            left -= segments[-1].signals
    return Block(BlockName(block.name.run, block.name.number), block.first, total, tuple(segments))
