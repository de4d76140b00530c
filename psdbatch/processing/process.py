"""What a worker runs: the blocks of one chain one after another, each committed on its own."""

from __future__ import annotations

import errno
import os
import resource
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from distributed import get_worker

from psdbatch.campaign.commit import Attempt, CommitRecord
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.layout import store_layout
from psdbatch.campaign.model import CampaignModels, kept_models
from psdbatch.campaign.plan import Block, Plan, PlannedRun
from psdbatch.campaign.provenance import versions
from psdbatch.campaign.reading import RunReader
from psdbatch.campaign.schema import Schema, SignalKind, make_schema
from psdbatch.cluster.names import GROUP
from psdbatch.cluster.walltime import this_shift
from psdbatch.cluster.watchdog import deadline, end_process
from psdbatch.columns import identified
from psdbatch.config import CampaignConfig, WorkerGroup, read_config
from psdbatch.errors import DeviceError, StorageError
from psdbatch.models.batching import BatchedEngine
from psdbatch.monitor.tally import Tally
from psdbatch.processing.admission import agreeing_engine
from psdbatch.processing.block import BlockResult, Stages, compute_block
from psdbatch.processing.engines import worker_group
from psdbatch.results.shards import encode_shard
from psdbatch.results.store import shard_file

COMMITS = "psdbatch-commit"
"""Topic of the events that report a finished block of a chain: a commit record without shards and secondary facts."""

ANNOUNCED = ("started", "finished", "group", "seconds", "boards", "tally")
"""What such an event says of a block's report."""

ANNOUNCED_REFUSALS = 100
"""Ranges of refused signals that such an event lists."""


@dataclass(frozen=True)
class BlockTask:
    """Everything a worker needs to know that does not lie in the campaign directory: a few hundred bytes.

    Attributes
    ----------
    campaign
        Path of the campaign directory.
    run
        The run, without its list of files.
    blocks, identities
        The chain's blocks in order, and what their answers depend on.
    indexes
        Name of the index of each file that the blocks touch, by the file's number in the run.
    """

    campaign: str
    run: PlannedRun
    blocks: tuple[Block, ...]
    identities: tuple[str, ...]
    indexes: Mapping[int, str]


def block_task(campaign: CampaignDirectory, plan: Plan, run: PlannedRun, blocks: tuple[Block, ...]) -> BlockTask:
    """The task for a chain of blocks of ``run``."""
    touched = {segment.file for block in blocks for segment in block.segments}
    return BlockTask(
        campaign=str(campaign.path),
        run=replace(run, files=()),
        blocks=blocks,
        identities=tuple(plan.identity(run, block) for block in blocks),
        indexes={file: run.files[file].index for file in touched},
    )


def process_blocks(task: BlockTask) -> list[CommitRecord]:
    """Read, infer, store and commit the blocks of a chain; blocks already committed are passed over.

    Returns
    -------
    list of CommitRecord
        The records that count, whether this attempt or another one won.

    Raises
    ------
    NoTimeLeftError
        The worker's job ends too soon for the next block; those before it are committed.
    PsdbatchError
        Said in the user's words, with the block it happened in.
    """
    campaign = CampaignDirectory(Path(task.campaign))
    session = open_session(task.campaign)
    with deadline(session.config.processing.time_limit, f"preparing the model for run {task.run.name}", campaign.logs):
        engine, schema = session.engine(task.run), session.schema(task.run)
    records = []
    with RunReader({file: campaign.index / name for file, name in task.indexes.items()}) as reader:
        for block, identity in zip(task.blocks, task.identities, strict=True):
            record = campaign.record(block.name)
            if record.exists():
                records.append(CommitRecord.read(record))
                continue
            with (
                this_shift().block(str(block.name), block.signals),
                deadline(session.config.processing.time_limit, f"block {block.name}", campaign.logs),
                sound_device(f"block {block.name}", campaign.logs),
            ):
                records.append(_process(campaign, session, task.run, block, identity, reader, engine, schema))
            if len(task.blocks) > 1:
                _announce(records[-1])
    return records


@contextmanager
def sound_device(what: str, notes: Path) -> Iterator[None]:
    """End the worker process if its device fails in the body: the next one is examined before it gets a block."""
    try:
        yield
    except DeviceError as error:
        if not _on_worker():
            raise
        end_process(f"{what}: {error}", notes)


def _on_worker() -> bool:
    try:
        get_worker()
    except ValueError:
        return False
    return True


def _announce(record: CommitRecord) -> None:
    """Tell the coordinator of a finished block while its chain goes on; a chain may take hours."""
    if not _on_worker():
        return
    news = {"run": record.run, "block": record.block, "first": record.first, "signals": record.signals}
    news["refused"], news["refusals"] = dict(record.refused), list(record.refusals[:ANNOUNCED_REFUSALS])
    news["report"] = {key: record.report[key] for key in ANNOUNCED}
    get_worker().log_event(COMMITS, news)


def _process(
    campaign: CampaignDirectory,
    session: Session,
    run: PlannedRun,
    block: Block,
    identity: str,
    reader: RunReader,
    engine: BatchedEngine,
    schema: Schema,
) -> CommitRecord:
    started, stages = time.time(), Stages()
    result = compute_block(run, block, reader, engine, schema, stages)
    with stages("tally"):
        tally = Tally.of(identified(result.columns), len(schema.classes)).encode()
    with _storing(campaign, block):
        attempt = Attempt(campaign, block.name)
        try:
            stage_shards(attempt, session.config, block, result, schema, stages)
            return attempt.commit(
                first=block.first,
                signals=block.signals,
                identity=identity,
                refused=result.refused,
                refusals=result.refusals,
                report={**_report(started, result, engine), "tally": tally},
            )
        except OSError:
            if campaign.record(block.name).exists():  # another attempt won and removed this one's staging
                return CommitRecord.read(campaign.record(block.name))
            attempt.abandon()
            raise


def stage_shards(
    attempt: Attempt, config: CampaignConfig, block: Block, result: BlockResult, schema: Schema, stages: Stages
) -> None:
    """Encode every column of a block and write it to the attempt's directory."""
    layout = store_layout(config.processing, config.results)
    for column in schema.columns:
        with stages("encode"):
            shard = encode_shard(
                result.columns[column.name],
                chunk=layout.chunk,
                shard=layout.block,
                level=layout.level,
                fill_value=column.fill_value(),
            )
        with stages("write"):
            attempt.stage(shard_file(column, block.name.number), shard)


@dataclass(frozen=True)
class Session:
    """A campaign as a worker process knows it: read once from the campaign directory."""

    directory: CampaignDirectory
    config: CampaignConfig
    facts: CampaignModels
    group: WorkerGroup | None

    def schema(self, run: PlannedRun) -> Schema:
        """Columns of the run's group."""
        return make_schema(self.config, self.facts, run.timestamp_unit, run.columns)

    def engine(self, run: PlannedRun) -> BatchedEngine:
        """The engine for the run's signals; made and examined once per process, with the batch size measured here."""
        return agreeing_engine(self.directory, self.config, self.facts, SignalKind.of(run), self.group).engine


@lru_cache(maxsize=4)
def open_session(campaign: str) -> Session:
    """Session of the campaign in directory ``campaign``."""
    directory = CampaignDirectory(Path(campaign))
    config = read_config(directory.config)
    return Session(directory, config, kept_models(config, directory), worker_group(config))


@contextmanager
def _storing(campaign: CampaignDirectory, block: Block) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "see the system's log")
        failure = f"{campaign.path}: block {block.name} cannot be stored: {error.strerror or error}; {advice}"
        if error.errno in _PERHAPS_THE_NODE and os.environ.get(GROUP) and _on_worker():
            end_process(failure, campaign.logs)
        raise StorageError(f"{failure}; finished blocks are safe", lasting=error.errno in _ADVICE) from error


_ADVICE = {
    errno.ENOSPC: "make room and run the same command again",
    errno.EDQUOT: "the quota is used up; make room and run the same command again",
    errno.EROFS: "the file system is mounted read-only",
    errno.EACCES: "write permission is missing",
    errno.EPERM: "write permission is missing",
    errno.ENOENT: "the directory has vanished",
    errno.ENOTDIR: "the directory has vanished",
    errno.ESTALE: "the directory has vanished",
}
"""What to do about a file system that will not take the next block either."""

_PERHAPS_THE_NODE = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.ESTALE}
"""What a farm's node may have alone, for want of a mounted file system.  Its worker ends itself, as the next one there will
not pass the examination; if all nodes are like that, the campaign ends for want of workers."""


def _report(started: float, result: BlockResult, engine: BatchedEngine) -> dict[str, Any]:
    return {
        "started": round(started, 3),
        "finished": round(time.time(), 3),
        "seconds": {stage: round(seconds, 6) for stage, seconds in result.seconds.items()},
        "boards": {str(board): signals for board, signals in result.boards.items()},  # as JSON and msgpack want keys
        "group": os.environ.get(GROUP, ""),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "device": engine.device,
        "batch": engine.batch,
        "versions": versions(),
        "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
