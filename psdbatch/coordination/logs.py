"""What jobs have printed: ``logs/GROUP-NUMBER-JOB.log`` and ``logs/coordinator-JOB.log``; replicas, ``replica-ROUND-RANK.log``."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from psdbatch.campaign.coordinated import CoordinatedDirectory
from psdbatch.campaign.journal import Journal
from psdbatch.coordination.jobs import submitted_jobs
from psdbatch.errors import CampaignError

NAME = re.compile(r"(?P<worker>(?P<group>[A-Za-z][A-Za-z0-9_]*)-\d+)-(?P<job>\d+)\.log|coordinator-(?P<own>\d+)\.log")

PIECE = 65_536
"""Bytes read at a time, from the end of a log."""


@dataclass(frozen=True)
class JobLog:
    """The log of one job; ``group`` and ``worker`` are None for the coordinator's own."""

    path: Path
    group: str | None
    worker: str | None
    job: str

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self.path.stat().st_size

    def tail(self, lines: int | None, size: int | None = None) -> list[str]:
        """The last ``lines`` lines, or all, of the first ``size`` bytes."""
        position, content = self.size if size is None else size, b""
        with self.path.open("rb") as log:
            if lines is None:
                return log.read(position).decode(errors="replace").splitlines()
            while position > 0 and content.count(b"\n") <= lines:
                step = min(PIECE, position)
                position -= step
                log.seek(position)
                content = log.read(step) + content
        found = content.decode(errors="replace").splitlines()
        return found[len(found) - min(lines, len(found)) :]


def find_logs(
    directory: CoordinatedDirectory, group: str | None = None, job: str | None = None, coordinator: bool = False
) -> list[JobLog]:
    """Logs of jobs, the newest last.

    Parameters
    ----------
    group, job
        Those of one worker group, or of one job.
    coordinator
        Those of the coordinator's own jobs.

    Raises
    ------
    CampaignError
        There is no such log, no job that could have left one, or nothing that jobs were submitted for.
    """
    found = [log for path in directory.logs.glob("*.log") if (log := _log(path))]
    if not found:
        _explain_absence(directory)
    chosen = [
        log
        for log in found
        if (group is None or log.group == group)
        and (job is None or log.job == job)
        and (not coordinator or log.group is None)
    ]
    if not chosen:
        groups = sorted({log.group for log in found if log.group})
        there = f"; there are {len(found)}, of groups {', '.join(groups) or 'none'}" if found else ""
        raise CampaignError(f"{directory.logs}: no such log of a job{there}")
    return sorted(chosen, key=lambda log: (log.path.stat().st_mtime_ns, log.path.name))


def _explain_absence(directory: CoordinatedDirectory) -> None:
    if not directory.path.exists():
        raise CampaignError(f"{directory.path}: there is no such directory")
    if not directory.journal.exists():
        raise CampaignError(f"{directory.path}: no campaign or training has begun here")
    if not submitted_jobs(Journal(directory.journal).read()):
        raise CampaignError(
            f"{directory.path}: no job was submitted, and only jobs leave logs; on this machine all is told on the terminal, "
            f"and the story in {directory.journal.name}"
        )


def follow(sizes: Mapping[JobLog, int], pause: float = 0.5) -> Iterator[tuple[JobLog, str]]:
    """Lines as they are written beyond the given sizes, for ever."""
    places = dict(sizes)
    while True:
        for log, place in places.items():
            with log.path.open("rb") as content:
                content.seek(place)
                new = content.read(PIECE)
            whole = new.rfind(b"\n") + 1 or (len(new) if len(new) == PIECE else 0)
            places[log] = place + whole
            for line in new[:whole].decode(errors="replace").splitlines():
                yield log, line
        time.sleep(pause)


def _log(path: Path) -> JobLog | None:
    match = NAME.fullmatch(path.name)
    if match is None:
        return None
    return JobLog(path, match["group"], match["worker"], match["job"] or match["own"])
