"""Prove from the bytes that nothing is missing or doubled.

The audit trusts no counter: it indexes the acquisition files again, reads every shard of the store, compares sizes and
checksums with the commit records, metadata with the checksums of the last pass, and counts answers and refusals in the
decoded arrays.  With ``deep`` it also reads every signal's identity from the acquisition files and compares it with the
store, signal by signal.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from psdbatch.acquisition.index import index_file
from psdbatch.campaign.audit_block import BlockCheck, check_block
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.finalise import read_checksums
from psdbatch.campaign.plan import Plan
from psdbatch.errors import CampaignError, PsdbatchError
from psdbatch.results.store import METADATA, checksums, read_metadata


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
        Signals covered by more than one commit record.
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
        return {"passed": self.passed, **vars(self), "refused": dict(self.refused)}

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
    _compare_metadata(directory, plan, result)
    _compare_ledger(directory, plan, result)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for run in plan.runs:
            columns = _columns(directory.store / run.name)
            checks = pool.map(partial(check_block, directory, plan, run, columns, deep), plan.blocks(run))
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


def _add(result: Audit, outcome: BlockCheck) -> None:
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


def _compare_metadata(directory: CampaignDirectory, plan: Plan, result: Audit) -> None:
    """The store's metadata are those of the last pass, and that pass had this plan."""
    try:
        before = read_checksums(directory)
    except CampaignError as error:
        result.problems.append(str(error))
        return
    if not before:
        result.problems.append(f"{directory.store}: its metadata were never gathered; run the campaign to its end")
        return
    metadata = read_metadata(directory.store)
    now = checksums(metadata)
    for name in sorted(before.keys() | now.keys()):
        if name not in now:
            result.problems.append(f"{directory.store / name}: is missing")
        elif name not in before:
            result.problems.append(
                f"{directory.store / name}: was added after the last pass; run the campaign to its end"
            )
        elif before[name] != now[name]:
            result.problems.append(f"{directory.store / name}: is not what the last pass left (checksum)")
    if before.get(METADATA) == now.get(METADATA):
        attributes = json.loads(metadata[METADATA])["attributes"]
        if attributes.get("plan_fingerprint") != plan.fingerprint:
            result.problems.append(f"{directory.plan}: is not the plan that the store was made for (fingerprint)")


def _compare_ledger(directory: CampaignDirectory, plan: Plan, result: Audit) -> None:
    """Records that the plan does not know, and files of the store that belong to no block."""
    blocks = {run.name: -(-run.signals // plan.block) for run in plan.runs}
    for name in directory.committed():
        if name.number >= blocks.get(name.run, 0):
            result.problems.append(f"block {name} is committed but not in the plan")
    for run in _folders(directory.store):
        columns = _columns(run)
        for column in _folders(run):
            for entry in column.iterdir():
                block = _block_of(entry.name, columns.get(column.name, 0))
                if entry.name != METADATA and (block is None or block >= blocks.get(run.name, 0)):
                    result.problems.append(f"{entry}: belongs to no block of the plan")


def _block_of(name: str, dimensions: int) -> int | None:
    """Number of the block whose shard a file's name says, in an array with so many trailing dimensions."""
    match = re.fullmatch(r"c\.(0|[1-9][0-9]*)((?:\.0)*)", name)
    return int(match[1]) if match and len(match[2]) == 2 * dimensions else None


def _folders(path: Path) -> Iterator[Path]:
    return (entry for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else iter(())


def _columns(run: Path) -> dict[str, int]:
    """Number of trailing dimensions of every array of a run; damaged metadata are told elsewhere."""
    columns = {}
    for path in run.glob("*/" + METADATA):
        with suppress(ValueError, TypeError, KeyError):
            columns[path.parent.name] = len(json.loads(path.read_bytes())["shape"]) - 1
    return columns
