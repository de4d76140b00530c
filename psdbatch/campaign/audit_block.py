"""The audit of one block: its record, its shards' bytes, its decoded answers."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr

from psdbatch.acquisition.signals import Signals
from psdbatch.campaign.commit import CommitRecord
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.plan import Block, Plan, PlannedRun
from psdbatch.campaign.reading import RunReader
from psdbatch.columns import NO_LABEL, count_refused, refusal
from psdbatch.errors import CampaignError, PsdbatchError
from psdbatch.results.store import shard_path

DEEP_BATCH = 65_536


@dataclass
class BlockCheck:
    """What was found about a block of ``signals`` signals.

    Attributes
    ----------
    written, refused
        Signals in the store with an answer, and those without one by reason.
    shards, bytes
        Shards read and compared.
    problems
        Everything that is wrong, one sentence each.
    covered
        ``(first, signals)`` as the commit record says.
    """

    signals: int
    written: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    shards: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)
    covered: list[tuple[int, int]] = field(default_factory=list)


def check_block(
    directory: CampaignDirectory, plan: Plan, run: PlannedRun, columns: Mapping[str, int], deep: bool, block: Block
) -> BlockCheck:
    """Audit one block.

    Parameters
    ----------
    columns
        Number of trailing dimensions of every array of the run.
    deep
        Compare time, board and channel of every signal with the acquisition files.
    """
    check = BlockCheck(block.signals)
    path = directory.record(block.name)
    if not path.exists():
        check.problems.append(f"block {block.name}: not finished ({block.signals:,} signals)")
        return check
    try:
        record = CommitRecord.read(path)
    except CampaignError as error:
        check.problems.append(str(error))
        return check
    check.covered.append((record.first, record.signals))
    if record.identity != plan.identity(run, block) or (record.first, record.signals) != (block.first, block.signals):
        check.problems.append(f"block {block.name}: was computed from something else than the plan says")
    expected = {shard_path(name, block.name.number, dimensions) for name, dimensions in columns.items()}
    if record.quarantine:
        check.refused[f"block given up: {record.quarantine}"] += block.signals
        for name in sorted(expected):
            if (directory.store / run.name / name).exists():
                check.problems.append(f"block {block.name}: was given up, but the store holds {name}")
        return check
    for name in sorted(expected ^ {shard.path for shard in record.shards}):
        check.problems.append(f"block {block.name}: {name} is not both in its record and a column of the store")
    _check_shards(directory, record, check)
    if not check.problems:
        _check_content(directory, plan, run, block, record, check, deep)
    return check


def _check_shards(directory: CampaignDirectory, record: CommitRecord, check: BlockCheck) -> None:
    store = directory.store / record.run
    for shard in record.shards:
        path = store / shard.path
        try:
            with path.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
            size = path.stat().st_size
        except OSError as error:
            check.problems.append(f"{path}: cannot be read: {error.strerror}")
            continue
        check.shards += 1
        check.bytes += size
        if size != shard.bytes:
            check.problems.append(f"{path}: has {size:,} bytes, was committed with {shard.bytes:,}")
        elif digest != shard.sha256:
            check.problems.append(f"{path}: its bytes are not those that were committed (checksum)")


def _check_content(
    directory: CampaignDirectory,
    plan: Plan,
    run: PlannedRun,
    block: Block,
    record: CommitRecord,
    check: BlockCheck,
    deep: bool,
) -> None:
    """Count answers and refusals in the decoded arrays; compare identities with the input."""
    rows = slice(block.first, block.first + block.signals)

    def column(name: str) -> Any:
        return group[name][rows]  # type: ignore[index]

    try:
        group = zarr.open_group(directory.store / run.name, mode="r")
        flags = column("flags")
        label = column("label") if "label" in group else None
    except Exception as error:  # whatever damaged metadata make of the bytes, the audit tells it and goes on
        check.problems.append(f"block {block.name}: cannot be decoded: {error}")
        return
    refused = refusal(flags) != 0
    check.refused.update(count_refused(flags))
    check.written = int((~refused).sum())
    if check.refused != Counter(record.refused):
        check.problems.append(
            f"block {block.name}: the store refuses {dict(check.refused)}, the record {dict(record.refused)}"
        )
    if label is not None and not np.array_equal(label == NO_LABEL, refused):
        check.problems.append(f"block {block.name}: labels and flags do not agree about the refused signals")
    if deep:
        check.problems += _compare_identity(
            directory, run, block, {name: column(name) for name in ("timestamp", "board", "channel")}
        )


def _compare_identity(
    directory: CampaignDirectory, run: PlannedRun, block: Block, stored: dict[str, Any]
) -> Iterator[str]:
    out = Signals.allocate(min(DEEP_BATCH, block.signals), run.samples, run.sample_dtype)
    indexes = {segment.file: directory.index / run.files[segment.file].index for segment in block.segments}
    try:
        with RunReader(indexes) as reader:
            for first in range(0, block.signals, len(out)):
                part = out[: min(len(out), block.signals - first)]
                reader.read(block, first, part)
                for name, values in stored.items():
                    wrong = np.flatnonzero(values[first : first + len(part)] != getattr(part, name))
                    if len(wrong):
                        yield (
                            f"block {block.name}: {name} of signal {block.first + first + int(wrong[0]):,} of run {run.name} "
                            f"differs from the acquisition file ({len(wrong):,} such signals in this batch)"
                        )
    except PsdbatchError as error:
        yield f"block {block.name}: the acquisition files cannot be compared: {error}"
