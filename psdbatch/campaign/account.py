"""Everything that commit records tell, added up one record at a time: its size does not grow with the number of blocks."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.campaign.commit import CommitRecord
from psdbatch.campaign.directory import BlockName
from psdbatch.campaign.plan import Plan
from psdbatch.campaign.throughput import RecentPace, Throughput
from psdbatch.errors import PsdbatchError
from psdbatch.monitor.drift_watch import DriftWatch
from psdbatch.monitor.tally import RESIDUALS, Tally

LISTED = 200
"""Quarantined blocks that are kept by name; all of them are counted."""

MOST_NAMES = 2000
"""Hosts, devices and the like that are counted by name."""


@dataclass
class RunAccount:
    """One run.

    Attributes
    ----------
    signals, blocks
        Of the plan.
    finished, recorded, quarantined
        Blocks with a record, signals in them, and blocks given up.
    refused
        Signals by reason.
    answers
        int64 ``(classes + 1,)``: signals by class, last: without an answer; None without tallies.
    ratio, residual
        float64 ``(3,)``: number, sum, and sum of squares of the charge ratio and of the quality monitor's residual.
    residuals
        int64 ``(RESIDUALS,)``: signals by residual.
    """

    name: str
    signals: int
    blocks: int
    finished: int = 0
    recorded: int = 0
    quarantined: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    answers: NDArray[np.int64] | None = None
    ratio: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    residual: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    residuals: NDArray[np.int64] = field(default_factory=lambda: np.zeros(RESIDUALS, np.int64))


@dataclass
class GroupAccount:
    """One worker group; a local cluster is a group without a name.

    Attributes
    ----------
    blocks, signals
        Finished by it.
    busy
        Time from start to end of its blocks, added over all its threads (s).
    hosts
        Blocks by host.
    engines
        Blocks by device and batch size.
    """

    blocks: int = 0
    signals: int = 0
    busy: float = 0.0
    hosts: Counter[str] = field(default_factory=Counter)
    engines: Counter[tuple[str, int]] = field(default_factory=Counter)


@dataclass
class BoardAccount:
    """One acquisition board: its signals, and its share of the time of each stage (s).

    ``alone`` counts blocks that hold no other board's signals: without any its time per signal is that of all.
    """

    signals: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    alone: int = 0


@dataclass(frozen=True)
class GivenUp:
    """A quarantined block, and why it was given up."""

    block: BlockName
    first: int
    signals: int
    reason: str


@dataclass
class Account:
    """Commit records of a plan, added up.

    Parameters
    ----------
    plan
        Whose records are added.
    physics
        Whether tallies are added too; a status needs none.
    watch
        Is shown each block's tally, to compare it with a reference.
    starts
        When the passes began (s since 1970), ascending, where it is asked which block was the last of each.

    Attributes
    ----------
    totals
        ``finished``, ``quarantined``, ``written``, ``recorded``, ``bytes``, ``shards``, ``tallied`` (blocks with a tally).
    refused, seconds
        Signals by reason; time of all blocks by stage (s).
    runs, boards, groups
        By name, number and name.
    unnamed
        Blocks whose records tell times, but no boards.
    damaged
        What is wrong with records that could not be read, and are counted nowhere.
    files
        Refused signals by run, number of the file in it, and reason, as far as the records list them.
    causes
        What a reader said of the first damage of a file, by run and number of the file.
    versions
        Finished blocks by the versions of the packages that made them.
    given_up
        The first quarantined blocks.
    commits
        When the newest block of each pass was finished, by the pass's start (s since 1970).
    tally
        Physics of all blocks that have a tally; None if none has.
    """

    plan: Plan
    physics: bool = False
    watch: DriftWatch | None = None
    starts: Sequence[float] = ()
    totals: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    runs: dict[str, RunAccount] = field(init=False)
    boards: dict[str, BoardAccount] = field(default_factory=dict)
    unnamed: BoardAccount = field(default_factory=BoardAccount)
    damaged: list[str] = field(default_factory=list)
    groups: dict[str, GroupAccount] = field(default_factory=dict)
    files: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    causes: dict[tuple[str, int], str] = field(default_factory=dict)
    versions: Counter[tuple[tuple[str, str], ...]] = field(default_factory=Counter)
    given_up: list[GivenUp] = field(default_factory=list)
    throughput: Throughput = field(default_factory=Throughput)
    recent: RecentPace = field(default_factory=RecentPace)
    commits: dict[float, float] = field(default_factory=dict)
    peak_memory: int = 0
    tally: Tally | None = None

    def __post_init__(self) -> None:
        self.runs = {
            run.name: RunAccount(run.name, run.signals, -(-run.signals // self.plan.block)) for run in self.plan.runs
        }
        self._starts = {
            run.name: np.cumsum([0, *(file.signals for file in run.files)], dtype=np.int64) for run in self.plan.runs
        }

    def add(self, record: CommitRecord) -> None:
        """Add a block."""
        self.totals["finished"] += 1
        self.totals["quarantined"] += record.quarantine is not None
        self.totals["written"] += record.written
        self.totals["recorded"] += record.signals
        self.totals["bytes"] += sum(shard.bytes for shard in record.shards)
        self.totals["shards"] += len(record.shards)
        run = self.runs[record.run]
        run.finished += 1
        run.recorded += record.signals
        if record.refused:
            self.refused.update(record.refused)
            run.refused.update(record.refused)
        if record.quarantine is not None:
            run.quarantined += 1
            if len(self.given_up) < LISTED:
                self.given_up.append(GivenUp(record.name, record.first, record.signals, record.quarantine))
        elif record.refusals:
            self._add_refusals(record)
        self._add_work(record)
        if self.physics and "tally" in record.report:
            self._add_tally(run, record.report["tally"])

    def note_damage(self, error: PsdbatchError) -> None:
        """A record cannot be read."""
        self.damaged.append(str(error))

    def file_of(self, run: str, signal: int) -> int:
        """Number of the file that holds a signal of a run."""
        return int(np.searchsorted(self._starts[run], signal, side="right")) - 1

    def _add_refusals(self, record: CommitRecord) -> None:
        """By file: ranges of signals count, what a reader said about damage (it has an offset) explains them."""
        starts = self._starts[record.run]
        for entry in record.refusals:
            first, last = entry["first"], entry["first"] + entry["signals"]
            number = self.file_of(record.run, first)
            if "offset" in entry:
                if len(self.causes) < MOST_NAMES:
                    self.causes.setdefault((record.run, number), f"byte {entry['offset']:,}: {entry['reason']}")
                continue
            while first < last and number + 1 < len(starts):
                end = min(last, int(starts[number + 1]))
                if end > first:
                    self.files[record.run, number, entry["reason"]] += end - first
                first, number = max(first, end), number + 1

    def _add_work(self, record: CommitRecord) -> None:
        """Time, place and means; a quarantined block has none of them."""
        report = record.report
        spent = report.get("seconds", {})
        for stage, seconds in spent.items():
            self.seconds[stage] += seconds
        boards = report.get("boards", {})
        if spent and not boards:
            self.unnamed.signals += record.signals
            self.unnamed.stages.update(spent)
        for number, signals in boards.items():
            board = self.boards.setdefault(number, BoardAccount())
            board.signals += signals
            board.alone += len(boards) == 1
            for stage, seconds in spent.items():
                board.stages[stage] += seconds * signals / record.signals
        self.peak_memory = max(self.peak_memory, report.get("peak_memory", 0))
        if "finished" not in report:
            return
        started, finished = report["started"], report["finished"]
        name = report.get("group", "")
        group = self.groups.setdefault(name, GroupAccount())
        group.blocks += 1
        group.signals += record.signals
        group.busy += max(0.0, finished - started)
        _count(group.hosts, report.get("host", "unknown"), "others")
        _count(group.engines, (report.get("device", "unknown"), report.get("batch", 0)), ("others", 0))
        _count(self.versions, tuple(sorted(report.get("versions", {}).items())), ())
        self.throughput.add(name, started, finished, record.signals)
        self.recent.add(started, finished, record.signals)
        if number := bisect_right(self.starts, finished):
            start = self.starts[number - 1]
            self.commits[start] = max(finished, self.commits.get(start, finished))

    def _add_tally(self, run: RunAccount, text: Any) -> None:
        """A tally that this version cannot read counts as none."""
        try:
            tally = Tally.decode(text)
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        if self.tally is None:
            self.tally = Tally.empty(tally.classes)
        if tally.classes != self.tally.classes:
            return
        self.totals["tallied"] += 1
        self.tally.add(tally)
        answers = tally.answers.sum(axis=0)
        run.answers = answers if run.answers is None else run.answers + answers
        run.ratio += tally.ratio.sum(axis=0)
        run.residual += tally.residual.sum(axis=0)
        run.residuals += tally.residuals.sum(axis=0)
        if self.watch is not None:
            self.watch.add(run.name, tally)


def _count(counts: Counter[Any], name: Any, others: Any) -> None:
    counts[name if name in counts or len(counts) < MOST_NAMES else others] += 1
