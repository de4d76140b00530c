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
    """An acquisition board: its signals, and its share of the time of each stage (s)."""

    signals: int
    stages: Mapping[str, float]

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
    failed_attempts
        Of this pass.
    rate
        Signals per second over the last minutes.
    left
        Seconds left at that rate; None: unknown.
    groups, boards
        By name and by number.
    seconds
        Time of all blocks by stage (s).
    quarantined, refused_files
        The first of them; ``blocks`` and ``refused`` count all.
    tally
        Physics of all finished blocks; None before the first one.
    alarms, all_alarms
        The gravest alarms, and how many there are altogether.
    unread
        Records of earlier passes that are not yet counted here.
    """

    campaign: str
    time: float
    classes: tuple[str, ...] = ()
    signals: int = 0
    done: int = 0
    written: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    blocks: Mapping[State, int] = field(default_factory=dict)
    failed_attempts: int = 0
    rate: float = 0.0
    left: float | None = None
    groups: Mapping[str, GroupView] = field(default_factory=dict)
    boards: Mapping[int, BoardView] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    quarantined: tuple[Quarantined, ...] = ()
    refused_files: tuple[RefusedFile, ...] = ()
    throughput: Throughput = Throughput()
    tally: Tally | None = None
    reference: Reference | None = None
    alarms: tuple[DriftAlarm, ...] = ()
    all_alarms: int = 0
    unread: int = 0

    @property
    def fraction(self) -> float:
        """Part of the signals asked for that is done."""
        return self.done / self.signals if self.signals else 0.0


def group_name(name: str) -> str:
    """A group's name as people read it."""
    return name or "this machine"
