"""A campaign at one moment, as dashboard page and metrics show it: numbers only, bounded whatever the campaign's size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from psdbatch.monitor.drift_watch import DriftAlarm, Reference
from psdbatch.monitor.tally import Tally

State = Literal["waiting", "in flight", "finished", "quarantined"]
"""Of a block; a quarantined one is not among the finished ones."""


@dataclass(frozen=True)
class GroupView:
    """A worker group; a local cluster is a group without a name.

    Attributes
    ----------
    jobs
        Jobs by state (``running``, ``starting``, ``pending``); workers of a local cluster are running.
    blocks, signals
        Finished by it, by earlier passes too.
    rate
        Signals per second over the last minutes.
    busy
        Time from start to end of its blocks, added over all its threads (s).
    """

    jobs: Mapping[str, int] = field(default_factory=dict)
    blocks: int = 0
    signals: int = 0
    rate: float = 0.0
    busy: float = 0.0

    @property
    def running(self) -> int:
        """Jobs with a worker."""
        return self.jobs.get("running", 0)


@dataclass(frozen=True)
class BoardView:
    """An acquisition board: its signals, and its share of the time of each stage (s).

    ``shared``: it had no block of its own, so that its time per signal is that of the others.
    """

    signals: int
    stages: Mapping[str, float]
    shared: bool = False

    @property
    def seconds(self) -> float:
        """Its share of the time of all stages together."""
        return sum(self.stages.values())


@dataclass(frozen=True)
class Quarantined:
    """A block that was given up, the files that its signals lie in, and why."""

    block: str
    signals: int
    files: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class RefusedFile:
    """Signals of an acquisition file that got no answer, and why."""

    path: str
    signals: int
    reason: str


@dataclass(frozen=True)
class DamagedFile:
    """An acquisition file of which the index could not read everything.

    Attributes
    ----------
    path, regions
        Which one, and how many places of it.
    first
        What is wrong at the first one, and at which byte.
    """

    path: str
    regions: int
    first: str


@dataclass(frozen=True)
class FailedAttempt:
    """An attempt at a block that failed: when (s since 1970), on which worker, and why."""

    time: float
    worker: str
    reason: str


@dataclass(frozen=True)
class RunView:
    """A run of which blocks are finished.

    Attributes
    ----------
    signals, done
        Of the plan, and in finished blocks.
    refused
        Signals without an answer.
    answers
        Signals of each class, last: without an answer; empty without classes or physics.
    ratio
        Number, sum, and sum of squares of the charge ratio.
    """

    name: str
    signals: int
    done: int
    refused: int
    answers: tuple[int, ...] = ()
    ratio: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Throughput:
    """Signals of each worker group by time.

    Attributes
    ----------
    width
        Of a step (s).
    groups
        By group, then by number of the step, which lies from ``number * width`` to ``(number + 1) * width`` seconds
        since 1970.
    """

    width: float = 1.0
    groups: Mapping[str, Mapping[int, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """A campaign at one moment.

    Attributes
    ----------
    time
        When this was so (s since 1970).
    classes
        Names; none for a model that does not classify.
    signals, done, written
        Asked for, in finished blocks, and with an answer.
    refused
        Signals without an answer by reason.
    blocks
        By state.
    state, end
        ``"running"``; at the end of the pass ``"finished"`` or ``"stopped"``, and why it stopped.
    version
        Changes whenever anything but ``time`` does that follows from finished blocks or from a comparison: what is drawn from
        these need not be drawn again for the same version.
    failed_attempts, failures
        Of this pass, and the last of them.
    last_block
        When the newest block of this pass was finished (s since 1970); None before the first one.
    stalled
        Whether that is much longer ago than blocks take, although there are workers.
    rate
        Signals per second over the last minutes.
    left
        Seconds left at that rate; None: unknown.
    groups, boards
        By name and by number.
    seconds
        Time of all blocks by stage (s).
    quarantined, refused_files, damaged_files
        The first of them; ``blocks``, ``refused`` and ``damaged_regions`` count all.
    damaged_regions
        Places of the acquisition files that the index could not read; the signals in them cannot be counted.
    runs
        Those of which blocks are finished, the newest ones, in the order of the plan.
    tally
        Physics of all finished blocks; None before the first one.
    alarms, all_alarms, drifting
        The gravest alarms, how many there are altogether, and of how many channels.
    compared, channels
        Channels with enough signals to be compared with the reference's, and all channels of the campaign.
    unread, unreadable
        Records of earlier passes that are not yet counted here, and those that never will be, because they are damaged.
    """

    campaign: str
    time: float
    classes: tuple[str, ...] = ()
    signals: int = 0
    done: int = 0
    written: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    blocks: Mapping[State, int] = field(default_factory=dict)
    state: Literal["running", "finished", "stopped"] = "running"
    end: str = ""
    version: int = 0
    failed_attempts: int = 0
    failures: tuple[FailedAttempt, ...] = ()
    last_block: float | None = None
    stalled: bool = False
    rate: float = 0.0
    left: float | None = None
    groups: Mapping[str, GroupView] = field(default_factory=dict)
    boards: Mapping[int, BoardView] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    quarantined: tuple[Quarantined, ...] = ()
    refused_files: tuple[RefusedFile, ...] = ()
    damaged_files: tuple[DamagedFile, ...] = ()
    damaged_regions: int = 0
    runs: tuple[RunView, ...] = ()
    throughput: Throughput = Throughput()
    tally: Tally | None = None
    reference: Reference | None = None
    alarms: tuple[DriftAlarm, ...] = ()
    all_alarms: int = 0
    drifting: int = 0
    compared: int = 0
    channels: int = 0
    unread: int = 0
    unreadable: int = 0

    @property
    def fraction(self) -> float:
        """Part of the signals asked for that is done."""
        return self.done / self.signals if self.signals else 0.0


def group_name(name: str) -> str:
    """A group's name as people read it."""
    return name or "this machine"
