"""A running campaign in numbers, for its dashboard page and metrics.

One thread of its own adds up what the coordinator hears of finished blocks; when there is no news it reads the records of
earlier passes, then those of the reference, one at a time.  So neither the start of a campaign nor the dispatch of blocks
waits for it, and what it keeps does not grow with the number of blocks.
"""

from __future__ import annotations

import copy
import itertools
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Literal, Self

from psdbatch.campaign.account import Account
from psdbatch.campaign.commit import CommitRecord
from psdbatch.campaign.directory import BlockName
from psdbatch.campaign.journal import reason_of
from psdbatch.campaign.plan import Plan
from psdbatch.campaign.reference import ReferenceCampaign
from psdbatch.coordination import listed
from psdbatch.coordination.pace import Pace
from psdbatch.errors import CampaignError
from psdbatch.monitor import view
from psdbatch.monitor.drift import comparable
from psdbatch.monitor.drift_watch import DriftAlarm, DriftWatch, Reference
from psdbatch.monitor.tally import Tally

logger = logging.getLogger(__name__)

WAITING = 10_000
"""Reports of blocks that may wait to be added up; then the coordinator waits too."""
PUBLISH = 1.0
"""Seconds between two views."""
COMPARE = 5.0
"""Seconds between two comparisons with the reference."""
LISTED_FAILURES = 10
"""Failed attempts that are listed, the last ones."""
STALLED = 3.0
"""A campaign has stalled when its newest block is older than this many times the longest of the last blocks ..."""
LEAST_STALL = 30.0
"""... and than so many seconds."""

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
    earlier, read
        Blocks of earlier passes, and what reads the record of one.
    damaged
        Acquisition files of which the index could not read everything.
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
    earlier: Sequence[BlockName] = ()
    read: Callable[[BlockName], CommitRecord] | None = None
    damaged: tuple[view.DamagedFile, ...] = ()
    reference: ReferenceCampaign | None = None
    jobs: Jobs = dict
    in_flight: Callable[[], int] = lambda: 0

    def __post_init__(self) -> None:
        self._watch = self._new_watch()
        self._account = Account(self.plan, physics=True, watch=self._watch)
        self._news: queue.Queue[CommitRecord] = queue.Queue(WAITING)
        self._paces: dict[str, Pace] = {}
        self._alarms: tuple[DriftAlarm, ...] = ()
        self._all_alarms = self._drifting = self._comparable = 0
        self._failed = 0
        self._failures: deque[view.FailedAttempt] = deque(maxlen=LISTED_FAILURES)
        self._unread, self._unreadable = len(self.earlier), 0
        self._last_block: float | None = None
        self._state: Literal["running", "finished", "stopped"] = "running"
        self._end = ""
        self._version = 0
        self._compared = (0.0, -1)
        self._copied: tuple[int, Tally | None] = (-1, None)
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Add up what has come meanwhile: the last :attr:`view` tells how the pass ended."""
        self._closing.set()
        self._thread.join(10)
        with suppress(queue.Empty):
            while True:
                self.add(self._news.get_nowait(), time.time())
        left = self.blocks - self._account.totals["finished"] - self._unread
        self._state = "finished" if error is None and left <= 0 else "stopped"
        self._end = reason_of(error) if error else f"{left:,} blocks are left" if left > 0 else ""
        self._version += 1
        self._compare(at_once=True)
        self.view = self.look()

    def finished(self, record: CommitRecord) -> None:
        """A block is finished, or given up."""
        while not self._closing.is_set():
            try:
                self._news.put(record, timeout=1.0)
                break
            except queue.Full:
                continue

    def failed(self, worker: str, reason: str) -> None:
        """An attempt at a block failed."""
        self._failed += 1
        self._failures.append(view.FailedAttempt(time.time(), worker, reason))

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
        self._version += 1
        if now is not None:
            self._last_block = now
        if now is not None and "started" in record.report:
            group = record.report.get("group", "")
            self._paces.setdefault(group, Pace()).add(now, record.report["started"], record.signals)

    def _read_earlier(self) -> Iterator[bool]:
        for name in self.earlier:
            try:
                if self.read is not None:
                    self.add(self.read(name))
            except (CampaignError, OSError, KeyError) as error:  # the end of the campaign says it aloud
                logger.warning("a commit record is not counted on the dashboard: %s", error)
                self._unreadable += 1
            self._unread -= 1
            yield True

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

    def _compare(self, at_once: bool = False) -> None:
        """Look for drifting channels, where something has changed and it was not just done."""
        at, finished = self._compared
        count = self._account.totals["finished"]
        tally, known = self._account.tally, self._watch.reference.tally if self._watch else None
        if self._watch is None or known is None or tally is None or finished == count:
            return
        if time.monotonic() - at < COMPARE and not at_once:
            return
        alarms = self._watch.alarms(tally, count >= self.blocks)
        self._alarms, self._all_alarms = tuple(alarms[: listed.LISTED]), len(alarms)
        self._drifting = len({(alarm.drift.board, alarm.drift.channel) for alarm in alarms})
        self._comparable = comparable(tally, known)
        self._version += 1
        self._compared = time.monotonic(), count

    def look(self) -> view.View:
        """The campaign as it is now; called where nothing is added at the same time."""
        account, now = self._account, time.time()
        groups = self._groups(now)
        rate = sum(group.rate for group in groups.values())
        stalled = self._has_stalled(now, groups)
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
                "waiting": max(0, self.blocks - total - flying - self._unread),
                "in flight": flying,
                "finished": total - quarantined,
                "quarantined": quarantined,
            },
            state=self._state,
            end=self._end,
            version=self._version,
            failed_attempts=self._failed,
            failures=tuple(self._failures),
            last_block=self._last_block,
            stalled=stalled,
            rate=rate,
            left=max(0, self.signals - done) / rate if rate and not self._unread and not stalled else None,
            groups=groups,
            boards={
                int(number): view.BoardView(
                    board.signals, dict(board.stages), len(account.boards) > 1 and not board.alone
                )
                for number, board in account.boards.items()
            },
            seconds=dict(account.seconds),
            quarantined=tuple(listed.quarantined(account)),
            refused_files=tuple(listed.refused_files(account)),
            damaged_files=self.damaged[: listed.LISTED],
            damaged_regions=sum(file.regions for file in self.damaged),
            runs=tuple(listed.runs(account, bool(self.classes))),
            throughput=view.Throughput(
                account.throughput.width, {name: dict(steps) for name, steps in account.throughput.groups.items()}
            ),
            tally=self._tally(),
            reference=None if self._watch is None else self._watch.reference,
            alarms=self._alarms,
            all_alarms=self._all_alarms,
            drifting=self._drifting,
            compared=self._comparable,
            channels=0 if account.tally is None else len(account.tally.channel),
            unread=self._unread,
            unreadable=self._unreadable,
        )

    def _tally(self) -> Tally | None:
        """A copy of the physics, which nobody adds to; a new one only where blocks have come."""
        if self._copied[0] != self._account.totals["tallied"]:
            self._copied = self._account.totals["tallied"], copy.deepcopy(self._account.tally)
        return self._copied[1]

    def _has_stalled(self, now: float, groups: Mapping[str, view.GroupView]) -> bool:
        """Whether the newest block is much older than blocks take, while there are workers to make the next."""
        if self._state != "running" or self._last_block is None or not any(group.running for group in groups.values()):
            return False
        longest = max((pace.longest for pace in self._paces.values()), default=0.0)
        return now - self._last_block > max(LEAST_STALL, STALLED * longest)

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
