"""State of a campaign, read from its directory alone: nothing has to run."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from psdbatch.campaign.commit import CommitRecord
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.finalise import Summary, summarise
from psdbatch.campaign.journal import Journal
from psdbatch.campaign.plan import Plan


@dataclass(frozen=True)
class RunState:
    """Blocks of one run: in the plan, finished, and quarantined."""

    name: str
    signals: int
    blocks: int
    finished: int
    quarantined: int


@dataclass(frozen=True)
class Status:
    """What the directory tells.

    ``last_commit`` is the age of the newest commit in seconds; ``recent_rate`` signals per second over the commits
    of the last ten minutes; ``last_event`` the newest line of the journal.
    """

    summary: Summary
    runs: tuple[RunState, ...]
    last_commit: float | None
    recent_rate: float | None
    last_event: dict[str, object] | None


RECENT = 600.0


def read_status(directory: CampaignDirectory, plan: Plan) -> Status:
    """Read commit records and the journal's last line."""
    records = [CommitRecord.read(directory.record(name)) for name in directory.committed()]
    finished = Counter(record.run for record in records)
    quarantined = Counter(record.run for record in records if record.quarantine)
    times = [
        (record.report["finished"], record.report["started"], record.signals)
        for record in records
        if "finished" in record.report
    ]
    now = time.time()
    newest = max((finish for finish, _, _ in times), default=None)
    last_event = None
    for event in Journal(directory.journal).read():
        last_event = event
    return Status(
        summary=summarise(plan, iter(records)),
        runs=tuple(
            RunState(run.name, run.signals, -(-run.signals // plan.block), finished[run.name], quarantined[run.name])
            for run in plan.runs
        ),
        last_commit=None if newest is None else now - newest,
        recent_rate=_rate([entry for entry in times if newest is not None and entry[0] > newest - RECENT]),
        last_event=last_event,
    )


def _rate(times: list[tuple[float, float, int]]) -> float | None:
    if not times:
        return None
    span = max(finish for finish, _, _ in times) - min(start for _, start, _ in times)
    return sum(signals for _, _, signals in times) / span if span > 0 else None
