"""A running campaign in numbers, for its dashboard page and metrics.

One thread of its own adds up what the coordinator hears of finished blocks; when there is no news it reads the records of
earlier passes, then those of the reference, one at a time.  So neither the start of a campaign nor the dispatch of blocks
waits for it, and what it keeps does not grow with the number of blocks.
"""

from __future__ import annotations

import copy
import heapq
import itertools
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

from psdbatch.campaign.account import Account
from psdbatch.campaign.commit import CommitRecord
from psdbatch.campaign.plan import Plan
from psdbatch.campaign.reference import ReferenceCampaign
from psdbatch.coordination.pace import Pace
from psdbatch.errors import CampaignError
from psdbatch.monitor import view
from psdbatch.monitor.drift_watch import DriftAlarm, DriftWatch, Reference

logger = logging.getLogger(__name__)

LISTED = 50
"""Quarantined blocks, files with refused signals and alarms that are listed; all of them are counted."""
WAITING = 10_000
"""Reports of blocks that may wait to be added up; then the coordinator waits too."""
PUBLISH = 1.0
"""Seconds between two views."""
COMPARE = 5.0
"""Seconds between two comparisons with the reference."""

Jobs = Callable[[], Mapping[str, Mapping[str, int]]]


@dataclass
class Live:
    """Adds up finished blocks; :attr:`view` is what they come to.

    Parameters
    ----------
    plan
        Of the campaign.
    name, classes
        Of the campaign, and of its model's classes.
    signals, blocks
        Asked for.
    earlier
        Records of earlier passes, and how many there are.
    reference
        To compare with.
    jobs, in_flight
        Asked for jobs by group and state, and for the number of blocks that workers treat now.
    """

    plan: Plan
    name: str
    classes: tuple[str, ...]
    signals: int
    blocks: int
    earlier: Iterator[CommitRecord] = field(default_factory=lambda: iter(()))
    unread: int = 0
    reference: ReferenceCampaign | None = None
    jobs: Jobs = dict
    in_flight: Callable[[], int] = lambda: 0

    def __post_init__(self) -> None:
        self._watch = self._new_watch()
        self._account = Account(self.plan, physics=True, watch=self._watch)
        self._news: queue.Queue[CommitRecord] = queue.Queue(WAITING)
        self._paces: dict[str, Pace] = {}
        self._alarms: tuple[DriftAlarm, ...] = ()
        self._all_alarms = 0
        self._failed = 0
        self._compared = (0.0, -1)
        self._chores = itertools.chain(self._read_earlier(), self._read_reference())
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="dashboard", daemon=True)
        self.view = self.look()

    def _new_watch(self) -> DriftWatch | None:
        if self.reference is None:
            return None
        return DriftWatch(Reference(self.reference.name, "being read"), self.classes, len(self.plan.runs) > 1)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.set()
        self._thread.join(10)

    def finished(self, record: CommitRecord) -> None:
        """A block is finished, or given up."""
        while not self._closing.is_set():
            try:
                self._news.put(record, timeout=1.0)
                break
            except queue.Full:
                continue

    def failed(self) -> None:
        """An attempt at a block failed."""
        self._failed += 1

    def _work(self) -> None:
        published = 0.0
        while not self._closing.is_set():
            try:
                busy = self._step()
                if time.monotonic() - published > PUBLISH:
                    self._compare()
                    self.view = self.look()
                    published = time.monotonic()
            except Exception:  # a campaign must not suffer from its page
                logger.exception("the dashboard's numbers cannot be brought up to date")
                busy = False
            if not busy:
                self._closing.wait(0.1)

    def _step(self) -> bool:
        """Add a finished block, or one of an earlier pass; whether there was anything to do."""
        try:
            record = self._news.get_nowait()
        except queue.Empty:
            return next(self._chores, None) is not None
        self.add(record, time.time())
        return True

    def add(self, record: CommitRecord, now: float | None = None) -> None:
        """Add a block; ``now`` is when it was finished, if in this pass."""
        self._account.add(record)
        if now is not None and "started" in record.report:
            group = record.report.get("group", "")
            self._paces.setdefault(group, Pace()).add(now, record.report["started"], record.signals)

    def _read_earlier(self) -> Iterator[bool]:
        while True:
            try:
                record = next(self.earlier, None)
                if record is None:
                    break
                self.add(record)
            except (CampaignError, OSError, KeyError) as error:  # the end of the campaign says it aloud
                logger.warning("a commit record is not counted on the dashboard: %s", error)
            self.unread -= 1
            yield True
        self.unread = 0

    def _read_reference(self) -> Iterator[bool]:
        """What its last pass left, or else its records one by one."""
        if self.reference is None or self._watch is None:
            return
        tally = self.reference.physics()
        if tally is None:
            known = Account(self.reference.plan, physics=True)
            try:
                for record in self.reference.records():
                    known.add(record)
                    yield True
            except (CampaignError, OSError) as error:
                logger.warning("the reference cannot be read: %s", error)
                self._watch.reference = Reference(self.reference.name, f"cannot be read: {error}")
                return
            tally = known.tally
        self._watch.reference = self.reference.compared_with(tally, self.classes)

    def _compare(self) -> None:
        """Look for drifting channels, where something has changed and it was not just done."""
        at, finished = self._compared
        count = self._account.totals["finished"]
        if self._watch is None or self._watch.reference.tally is None or finished == count:
            return
        if time.monotonic() - at < COMPARE:
            return
        alarms = self._watch.alarms(self._account.tally, count >= self.blocks)
        self._alarms, self._all_alarms = tuple(alarms[:LISTED]), len(alarms)
        self._compared = time.monotonic(), count

    def look(self) -> view.View:
        """The campaign as it is now; called where nothing is added at the same time."""
        account, now = self._account, time.time()
        groups = self._groups(now)
        rate = sum(group.rate for group in groups.values())
        done, total = account.totals["recorded"], account.totals["finished"]
        flying = min(self.in_flight(), max(0, self.blocks - total))
        quarantined = account.totals["quarantined"]
        return view.View(
            campaign=self.name,
            time=now,
            classes=self.classes,
            signals=self.signals,
            done=done,
            written=account.totals["written"],
            refused=dict(account.refused),
            blocks={
                "waiting": max(0, self.blocks - total - flying - self.unread),
                "in flight": flying,
                "finished": total - quarantined,
                "quarantined": quarantined,
            },
            failed_attempts=self._failed,
            rate=rate,
            left=max(0, self.signals - done) / rate if rate and not self.unread else None,
            groups=groups,
            boards={
                int(number): view.BoardView(board.signals, dict(board.stages))
                for number, board in account.boards.items()
            },
            seconds=dict(account.seconds),
            quarantined=tuple(self._quarantined()),
            refused_files=tuple(self._refused_files()),
            throughput=view.Throughput(
                account.throughput.width, {name: dict(steps) for name, steps in account.throughput.groups.items()}
            ),
            tally=None if self._account.tally is None else copy.deepcopy(self._account.tally),
            reference=None if self._watch is None else self._watch.reference,
            alarms=self._alarms,
            all_alarms=self._all_alarms,
            unread=self.unread,
        )

    def _groups(self, now: float) -> dict[str, view.GroupView]:
        jobs, known = self.jobs(), self._account.groups
        groups = {}
        for name in (*jobs, *(name for name in known if name not in jobs)):
            pace, done = self._paces.get(name), known.get(name)
            groups[name] = view.GroupView(
                jobs=MappingProxyType(dict(jobs.get(name, {}))),
                blocks=done.blocks if done else 0,
                signals=done.signals if done else 0,
                rate=pace.rate(now) if pace else 0.0,
                busy=done.busy if done else 0.0,
            )
        return groups

    def _quarantined(self) -> Iterator[view.Quarantined]:
        for entry in self._account.given_up[:LISTED]:
            run = self.plan.run(entry.block.run)
            first = self._account.file_of(run.name, entry.first)
            last = self._account.file_of(run.name, entry.first + entry.signals - 1)
            files = tuple(file.path for file in run.files[first : last + 1][:3])
            yield view.Quarantined(str(entry.block), entry.signals, files, entry.reason)

    def _refused_files(self) -> Iterator[view.RefusedFile]:
        refused: Counter[tuple[str, int, str]] = self._account.files
        for (run, number, reason), signals in heapq.nlargest(LISTED, refused.items(), key=lambda entry: entry[1]):
            cause = self._account.causes.get((run, number))
            why = f"{reason}: {cause}" if cause else reason
            yield view.RefusedFile(self.plan.run(run).files[number].path, signals, why)
