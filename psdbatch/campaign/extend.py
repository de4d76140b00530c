"""What may change between two starts of a campaign: runs are added, nothing else."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from psdbatch.campaign.plan import Plan, PlannedRun
from psdbatch.errors import ChangedError


def extend(old: Plan, new: Plan, finished: Collection[str]) -> Plan:
    """The plan of a campaign that goes on: the ``old`` runs untouched, and those that ``new`` adds.

    ``finished`` names the runs that need their files no more; they may be absent from ``new``.

    Raises
    ------
    ChangedError
        The question, or a file of an unfinished run, is not what the campaign was planned with.
    """
    changes = [
        f"{where}: was {json.dumps(before)}, is now {json.dumps(now)}"
        for where, before, now in differences(old.question, new.question)
    ]
    found = {run.name: run for run in new.runs}
    for run in old.runs:
        if run.name in found:
            changes += _file_changes(run, found[run.name])
        elif run.name not in finished:
            changes.append(f"run '{run.name}' is not finished and not among the input files any more")
    if changes:
        raise ChangedError(
            "the campaign was planned with something else; restore it, or start another campaign directory:\n"
            + "\n".join(f"  {change}" for change in changes[:20])
            + (f"\n  and {len(changes) - 20} more" if len(changes) > 20 else "")
        )
    known = {run.name for run in old.runs}
    return Plan(old.question, old.block, (*old.runs, *(run for run in new.runs if run.name not in known)))


def _file_changes(old: PlannedRun, new: PlannedRun) -> Iterator[str]:
    before = {file.path: file for file in old.files}
    now = {file.path: file for file in new.files}
    for path in sorted(before.keys() - now.keys()):
        yield f"run '{old.name}': {path} is not among the input files any more"
    for path in sorted(now.keys() - before.keys()):
        yield f"run '{old.name}': {path} is new; files can only be added as new runs"
    for path in sorted(before.keys() & now.keys()):
        if before[path].size != now[path].size:
            yield f"{path}: has {now[path].size:,} bytes, had {before[path].size:,}"
        elif replace(now[path], index=before[path].index) != before[path]:  # which number it has does not matter
            yield f"{path}: was modified (same size, other modification time or content)"


def differences(old: Any, new: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two nested dictionaries differ, as names joined by dots, and what stands there."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), f"{where}.{key}" if where else key)
    elif old != new:
        yield where, old, new
