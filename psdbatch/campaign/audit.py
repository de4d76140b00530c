"""Prove from the bytes that nothing is missing or doubled.

The audit trusts no counter: it indexes the acquisition files again, reads every shard of the store, compares sizes and
checksums with the commit records, and counts answers and refusals in the decoded arrays.  With ``deep`` it also reads
every signal's identity from the acquisition files and compares it with the store, signal by signal.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from psdbatch.acquisition.index import index_file
from psdbatch.acquisition.signals import Signals
from psdbatch.campaign.commit import CommitRecord
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.plan import Block, Plan, PlannedRun
from psdbatch.campaign.reading import RunReader
from psdbatch.columns import NO_LABEL, count_refused, refusal
from psdbatch.errors import CampaignError, PsdbatchError

LISTED = 50
DEEP_BATCH = 65_536


@dataclass
class Audit:
    """Outcome of an audit: ``indexed = written + refused`` and no ``problems``, or what is wrong.

    Attributes
    ----------
    indexed
        Signals found in the acquisition files by a fresh pass; those of the plan where the files were not asked.
    written
        Signals in the store with an answer.
    refused
        Signals in the store without one, by reason.
    duplicates
        Signals covered by more than one block.
    shards, bytes
        Shards read and compared.
    problems
        Everything that is wrong, one sentence each.
    inputs_read, deep
        What was compared with the acquisition files.
    """

    indexed: int = 0
    written: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    shards: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)
    inputs_read: bool = True
    deep: bool = False

    @property
    def passed(self) -> bool:
        """Whether everything is in order."""
        return not self.problems and self.indexed == self.written + sum(self.refused.values()) and not self.duplicates

    def facts(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return {"passed": self.passed, **asdict(self)}

    def equation(self) -> str:
        """The accounting equation."""
        sign = "=" if self.indexed == self.written + sum(self.refused.values()) else "≠"
        refused = sum(self.refused.values())
        return f"{self.indexed:,} signals indexed {sign} {self.written:,} written + {refused:,} refused, {self.duplicates:,} duplicates"


def audit(
    directory: CampaignDirectory,
    plan: Plan,
    inputs: bool = True,
    deep: bool = False,
    done: Callable[[int], None] | None = None,
) -> Audit:
    """Audit a campaign.

    Parameters
    ----------
    inputs
        Index the acquisition files again; without it the plan's counts are believed (archived files).
    deep
        Compare time, board and channel of every signal with the acquisition files.
    done
        Told the number of signals after each block.
    """
    result = Audit(inputs_read=inputs, deep=deep)
    result.indexed = _count_inputs(plan, result) if inputs else plan.signals
    _compare_ledger(directory, plan, result)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for run in plan.runs:
            checks = pool.map(lambda block, run=run: _check_block(directory, plan, run, block, deep), plan.blocks(run))
            covered: list[tuple[int, int]] = []
            for outcome in checks:
                _add(result, outcome)
                covered += outcome.covered
                if done:
                    done(outcome.signals)
            result.duplicates += _overlap(covered)
    return result


def _overlap(ranges: list[tuple[int, int]]) -> int:
    """Signals that more than one of the ``(first, signals)`` ranges covers."""
    twice = position = 0
    for first, signals in sorted(ranges):
        twice += max(0, min(position, first + signals) - first)
        position = max(position, first + signals)
    return twice


@dataclass
class _BlockCheck:
    signals: int
    written: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    shards: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)
    covered: list[tuple[int, int]] = field(default_factory=list)


def _add(result: Audit, outcome: _BlockCheck) -> None:
    result.written += outcome.written
    result.refused.update(outcome.refused)
    result.shards += outcome.shards
    result.bytes += outcome.bytes
    result.problems += outcome.problems


def _count_inputs(plan: Plan, result: Audit) -> int:
    files = [(run, file) for run in plan.runs for file in run.files]
    options = dict(plan.question["input"]["options"])

    def count(path: str, format_name: str) -> int | str:
        try:
            return index_file(Path(path), format_name, options).scan.signals
        except PsdbatchError as error:
            return str(error)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        counts = list(pool.map(lambda entry: count(entry[1].path, entry[1].format), files))
    total = 0
    for (run, file), found in zip(files, counts, strict=True):
        if isinstance(found, str):
            result.problems.append(f"run {run.name}: {found}")
            continue
        total += found
        if found != file.signals:
            result.problems.append(f"{file.path}: holds {found:,} signals now, {file.signals:,} when it was planned")
    return total


def _compare_ledger(directory: CampaignDirectory, plan: Plan, result: Audit) -> None:
    """Records that the plan does not know, and shards that no record knows."""
    expected = {run.name: -(-run.signals // plan.block) for run in plan.runs}
    for name in directory.committed():
        if name.number >= expected.get(name.run, 0):
            result.problems.append(f"block {name} is committed but not in the plan")
    for folder in _run_folders(directory.store):
        for shard in folder.glob("*/c.*"):
            block = int(shard.name.split(".")[1])
            if block >= expected.get(folder.name, 0):
                result.problems.append(f"{shard}: belongs to no block of the plan")


def _run_folders(store: Path) -> Iterator[Path]:
    return (entry for entry in store.iterdir() if entry.is_dir()) if store.is_dir() else iter(())


def _check_block(directory: CampaignDirectory, plan: Plan, run: PlannedRun, block: Block, deep: bool) -> _BlockCheck:
    check = _BlockCheck(block.signals)
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
    if record.quarantine:
        check.refused[f"block given up: {record.quarantine}"] += block.signals
        return check
    _check_shards(directory, record, check)
    if not check.problems:
        _check_content(directory, plan, run, block, record, check, deep)
    return check


def _check_shards(directory: CampaignDirectory, record: CommitRecord, check: _BlockCheck) -> None:
    store = directory.store / record.run
    arrays = {entry.parent.name for entry in store.glob("*/zarr.json")}
    for name in sorted(arrays - {shard.path.split("/")[0] for shard in record.shards}):
        check.problems.append(f"block {record.name}: has no shard of '{name}'")
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
    check: _BlockCheck,
    deep: bool,
) -> None:
    """Count answers and refusals in the decoded arrays; compare identities with the input."""
    rows = slice(block.first, block.first + block.signals)
    group = zarr.open_group(directory.store / run.name, mode="r")

    def column(name: str) -> Any:
        return group[name][rows]  # type: ignore[index]

    try:
        flags = column("flags")
        label = column("label") if "label" in group else None
    except (ValueError, RuntimeError, OSError) as error:
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
