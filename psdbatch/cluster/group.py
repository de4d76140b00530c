"""A worker group while a campaign runs: its jobs, its pace, what it has used."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from psdbatch.cluster.scaling import GroupLoad
from psdbatch.cluster.system import JobState
from psdbatch.config.cluster import System, WorkerGroup

PATIENCE = 3
"""Jobs in a row that end without a worker being admitted, after which the group is given up."""

SICK = 2
"""Jobs that end on a node before a worker is ready, after which it is left out, if other nodes of the group work."""

ROUNDS = 3
"""Times its limit of jobs that a group may lose without one finished block in between, before it is given up."""

MEMORY = 0.8
"""Weight of what was known in the running mean of the pace."""


@dataclass
class Placed:
    """One job of a group, from its submission to its end.

    Attributes
    ----------
    name, group
        Of its worker.
    id
        In the batch system; None while it is being submitted.
    state, reason, node
        As the batch system said last.
    address
        Of the worker, while one is registered.
    leaving
        Whether the worker takes no more blocks.
    left
        Whether the worker said goodbye with all blocks finished.
    released
        Whether it was told to go, as no block will come for it.
    refusal
        Why its worker was not admitted.
    """

    name: str
    group: str
    blocks: int
    asked: float = field(default_factory=time.time)
    id: str | None = None
    state: JobState = JobState.PENDING
    reason: str = ""
    node: str = ""
    address: str | None = None
    addresses: list[str] = field(default_factory=list)
    leaving: bool = False
    left: bool = False
    released: bool = False
    refusal: str = ""
    _arrived: float | None = None
    _ends: float | None = None
    _running: Mapping[str, float] = field(default_factory=dict)

    def arrived(self, address: str) -> None:
        """A worker has registered."""
        self.address, self._arrived = address, time.time()
        self.addresses.append(address)
        self.state, self.leaving, self.left = JobState.RUNNING, False, False

    def heard(self, running: Mapping[str, float], leaving: bool) -> None:
        """What its heartbeat said: blocks that run since when, and whether it takes no more."""
        self._running, self.leaving = running, leaving

    def there(self) -> float:
        """Seconds since its worker registered, while one is there."""
        return time.time() - self._arrived if self._arrived else 0.0

    def gone(self) -> tuple[float, float]:
        """The worker is no longer there: seconds that it was, and those spent on blocks that it did not finish."""
        now, there = time.time(), self.there()
        # Only an idle worker is released; its last heartbeat may be older than the end of its last block.
        lost = (
            0.0
            if self.left or self.released
            else sum(now - started for started in self._running.values()) / self.blocks
        )
        self.address, self._arrived, self._running = None, None, {}
        return there, lost

    def told(self, ends: float) -> bool:
        """Whether this is news about when the job is killed."""
        if self._ends is not None and abs(self._ends - ends) < 10:
            return False
        self._ends = ends
        return True


@dataclass
class Use:
    """What a group has used: jobs, seconds of workers (of GPUs, where it has them), and seconds of them thrown away."""

    jobs: int = 0
    seconds: float = 0.0
    lost: float = 0.0
    blocks: int = 0
    signals: int = 0

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "jobs": self.jobs,
            "worker_seconds": round(self.seconds, 1),
            "lost_seconds": round(self.lost, 1),
            "blocks": self.blocks,
            "signals": self.signals,
        }


class Group:
    """A worker group and its jobs.

    Attributes
    ----------
    settings
        From ``[[cluster.workers]]``.
    system
        Its batch system.
    jobs
        Those submitted and not ended, by the worker's name.
    accepted
        Whether the batch system has ever taken a job of it.
    given_up
        Why it gets no further job; None while there is hope, or a worker.
    avoided
        Nodes whose workers were refused, or where jobs come to nothing while they do elsewhere; no further job goes there.
    """

    def __init__(self, settings: WorkerGroup, system: System) -> None:
        self.settings = settings
        self.name = settings.name
        self.system = system
        self.jobs: dict[str, Placed] = {}
        self.accepted = False
        self.given_up: str | None = None
        self.avoided: set[str] = set()
        self._proven: set[str] = set()
        self._fruitless_on: Counter[str] = Counter()
        self.use = Use()
        self.pace: float | None = None
        self.seconds_per_signal: float | None = None
        self._start: float | None = None
        self._fruitless = self._barren = 0
        self._no_node = False
        self._last = ""

    def add(self, name: str) -> None:
        """A job is about to be submitted."""
        self.jobs[name] = Placed(name, self.name, self.settings.blocks)

    def submitted(self, name: str, job: str) -> None:
        """It was accepted."""
        self.accepted = True
        self.jobs[name].id = job
        self.use.jobs += 1

    def arrived(self, placed: Placed, address: str) -> None:
        """Its worker has registered."""
        if not placed.addresses:
            self._start = time.time() - placed.asked
        placed.arrived(address)
        self._proven.add(placed.node)
        self._fruitless_on.pop(placed.node, None)
        self._fruitless, self._no_node, self.given_up = 0, False, None

    def gone(self, placed: Placed) -> None:
        """Its worker has gone; the job may go on."""
        self._proven.add(placed.node)
        there, lost = placed.gone()
        self.use.seconds += there
        self.use.lost += lost

    def ended(self, placed: Placed, reason: str, innocent: bool = False) -> None:
        """It has left the queue, in whatever way; ``innocent``: somebody else's."""
        if placed.address is not None:
            self.gone(placed)
        self.jobs.pop(placed.name, None)
        if placed.released:
            return
        self._barren += 1
        if not placed.addresses and not innocent:
            self._came_to_nothing(placed.node)
        self._last = placed.refusal or f"job {placed.id}: {reason}; its log is {placed.name}-{placed.id}.log"

    def _came_to_nothing(self, node: str) -> None:
        """A job ended before its worker was ready: perhaps for its node, if others are known to work."""
        self._fruitless += 1
        self._fruitless_on[node] += 1
        at_work = {placed.node for placed in self.jobs.values() if placed.address is not None}
        others = (self._proven | at_work) - {node, ""}
        if node and others and node not in at_work and self._fruitless_on[node] >= SICK:
            self.avoided.add(node)
            self._fruitless = 0

    def used(self) -> dict[str, Any]:
        """What the group has used until now, as JSON; the time of workers that are still there counts too."""
        there = sum(placed.there() for placed in self.jobs.values())
        return replace(self.use, seconds=self.use.seconds + there).facts()

    def cancelled(self, placed: Placed) -> None:
        """The cluster took it back."""
        if placed.address is not None:
            self.gone(placed)
        self.jobs.pop(placed.name, None)

    def refused(self, placed: Placed, node: str, reason: str, avoid: bool) -> None:
        """Its worker was not admitted; ``avoid``: no other one would be on that node."""
        placed.refusal = reason
        if avoid:
            self.avoided.add(placed.node or node)

    def impossible(self, reason: str) -> None:
        """A job of it can never start, though others did."""
        self._fruitless += 1
        self._last = reason

    @property
    def proven(self) -> bool:
        """Whether a worker of it has ever been admitted."""
        return bool(self._proven)

    def measured(self, seconds: float, signals: int) -> None:
        """A worker took ``seconds`` for a block of ``signals``."""
        self.use.blocks += 1
        self.use.signals += signals
        self._barren = 0
        if seconds > 0 and signals:
            self.pace = _mean(self.pace, self.settings.blocks / seconds)
            self.seconds_per_signal = _mean(self.seconds_per_signal, seconds / signals)

    def pending(self) -> list[str]:
        """Names of jobs without a worker, the youngest first."""
        return [name for name, placed in reversed(self.jobs.items()) if placed.address is None and not placed.addresses]

    def running(self) -> int:
        """Workers that take blocks."""
        return sum(1 for placed in self.jobs.values() if placed.address is not None and not placed.leaving)

    def load(self) -> GroupLoad:
        """For the scaling.  A worker that leaves does not count: its job may be replaced before it ends."""
        leaving = sum(1 for placed in self.jobs.values() if placed.leaving)
        running = self.running()
        return GroupLoad(
            name=self.name,
            limit=self.settings.jobs,
            blocks=self.settings.blocks,
            running=running,
            pending=len(self.jobs) - running - leaving,
            pace=self.pace,
            start=self._start,
        )

    def counts(self) -> dict[str, int]:
        """Jobs by state: ``running`` ones have a worker, ``starting`` ones do not yet."""
        jobs = list(self.jobs.values())  # another thread may ask
        running = sum(1 for placed in jobs if placed.address is not None)
        pending = sum(1 for placed in jobs if placed.state is JobState.PENDING)
        return {"running": running, "starting": len(jobs) - running - pending, "pending": pending}

    def describe(self) -> str:
        """``v100 3 running, 2 pending (Resources)``."""
        reasons = Counter(
            placed.reason for placed in self.jobs.values() if placed.state is JobState.PENDING and placed.reason
        )
        counts = self.counts()
        running, starting, pending = counts["running"], counts["starting"], counts["pending"]
        parts = [f"{running} running"]
        parts += [f"{starting} starting"] if starting else []
        parts += [f"{pending} pending" + (f" ({', '.join(reasons)})" if reasons else "")] if pending else []
        return f"{self.name} {', '.join(parts)}" + (" (given up)" if self.given_up else "")

    def turned_away(self) -> None:
        """The batch system takes no job now; where nodes are avoided and no job is left, perhaps no node is left either."""
        if self.avoided and not any(placed.id for placed in self.jobs.values()):
            self._fruitless += 1
            self._no_node = True

    def hopeless(self) -> str | None:
        """Why no further job is worth a try; None while there is hope."""
        if self._fruitless >= PATIENCE and self._no_node:
            nodes = ", ".join(sorted(self.avoided))
            return f"the batch system takes no job that keeps away from nodes whose workers were refused ({nodes}); the last one: {self._last}"
        if self._fruitless >= PATIENCE:
            return f"{self._fruitless} jobs in a row ended before a worker was ready; the last one: {self._last}"
        if self._barren >= max(PATIENCE, ROUNDS * self.settings.jobs):
            return f"{self._barren} jobs in a row ended without a finished block; the last one: {self._last}"
        return None


def _mean(known: float | None, new: float) -> float:
    return new if known is None else MEMORY * known + (1 - MEMORY) * new
