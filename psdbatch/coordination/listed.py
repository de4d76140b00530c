"""What a dashboard page lists of an account: the last runs, given-up blocks, files with refused signals."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator

from psdbatch.campaign.account import Account
from psdbatch.monitor.view import Quarantined, RefusedFile, RunView

LISTED = 50
"""Quarantined blocks, files and alarms that are listed; all of them are counted."""
LISTED_RUNS = 30
"""Runs that are listed: the last ones of which blocks are finished."""
FILES_OF_BLOCK = 3
"""Files of a quarantined block that are named."""


def runs(account: Account, classified: bool) -> list[RunView]:
    """The last runs of which blocks are finished, in the order of the plan; ``classified``: with their signals by class."""
    begun = (run for run in reversed(account.runs.values()) if run.finished)
    found = []
    for run in itertools.islice(begun, LISTED_RUNS):
        answers = () if run.answers is None or not classified else tuple(run.answers.tolist())
        number, total, squares = run.ratio.tolist()
        refused = sum(run.refused.values())
        found.append(RunView(run.name, run.signals, run.recorded, refused, answers, (number, total, squares)))
    return found[::-1]


def quarantined(account: Account) -> Iterator[Quarantined]:
    """The first blocks that were given up, with the files that their signals lie in."""
    for entry in account.given_up[:LISTED]:
        run = account.plan.run(entry.block.run)
        first = account.file_of(run.name, entry.first)
        last = account.file_of(run.name, entry.first + entry.signals - 1)
        files = tuple(file.path for file in run.files[first : last + 1][:FILES_OF_BLOCK])
        yield Quarantined(str(entry.block), entry.signals, files, entry.reason)


def refused_files(account: Account) -> Iterator[RefusedFile]:
    """The files with the most refused signals, and why."""
    for (run, number, reason), signals in heapq.nlargest(LISTED, account.files.items(), key=lambda entry: entry[1]):
        cause = account.causes.get((run, number))
        why = f"{reason}: {cause}" if cause else reason
        yield RefusedFile(account.plan.run(run).files[number].path, signals, why)
