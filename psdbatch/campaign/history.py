"""What the journal tells: passes and what each used, failed attempts, deaths, jobs that ended early."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from psdbatch.campaign.sample import SAMPLED

MOST_REASONS = 500
"""Reasons that are told apart; numbers in them do not count."""

MOST_PASSES = 1000
"""Passes that are kept, the newest."""

FINISHED, STOPPED, SILENT, RUNNING = "finished", "stopped", "no word of its end", "running"


@dataclass
class Pass:
    """One start of the coordinator.

    Attributes
    ----------
    started
        When (s since 1970).
    elapsed
        Wall time (s); for one that ended without a word, until its last line in the journal or, once
        :meth:`History.settle` knows of it, its last commit.
    end
        ``"finished"``, ``"stopped"``, ``"running"``, or ``"no word of its end"``: it was killed.
    reason
        Why it stopped.
    host
        Where the coordinator ran.
    left, processed
        Blocks that were left at its start; signals that it was left to do, known once it has finished.
    sample
        Fraction that was asked for; None: the whole campaign.
    threads
        Blocks that a worker treats at a time, by group; all workers together for a local cluster, a group without a name.
    groups
        What each worker group used: ``jobs``, ``worker_seconds``, ``lost_seconds``.
    """

    started: float
    elapsed: float = 0.0
    end: str = SILENT
    reason: str | None = None
    host: str = ""
    left: int = 0
    processed: int | None = None
    sample: float | None = None
    threads: dict[str, int] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return asdict(self)

    def use(self, group: str) -> dict[str, Any]:
        """What a group used, to be added to."""
        return self.groups.setdefault(group, {"jobs": 0, "worker_seconds": 0.0, "lost_seconds": 0.0})

    def thread_seconds(self, group: str) -> float | None:
        """Seconds of worker threads that a group had; None where nobody wrote down how many threads."""
        if group not in self.threads:
            return None
        there = self.elapsed if group == "" else self.groups.get(group, {}).get("worker_seconds", 0.0)
        return float(there) * self.threads[group]


@dataclass
class Failure:
    """Attempts or workers that failed for one reason.

    Attributes
    ----------
    example
        The first one's words.
    times
        How often.
    first, last
        When (s since 1970).
    verdicts
        How often each thing happened then.
    """

    example: str
    first: float
    last: float
    times: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)


class History:
    """A journal, added up line by line.

    Attributes
    ----------
    passes
        The newest ones, oldest first.
    expected
        What the newest estimate said before a start (:class:`psdbatch.coordination.estimate.Estimate`), if there was one.
    attempts, deaths, ends
        Failed attempts, deaths of workers, and ends of jobs, by reason.
    quarantined
        How often a block was given up, those included that a later pass tried again.
    """

    def __init__(self, events: Iterable[Mapping[str, Any]] = ()) -> None:
        self.passes: list[Pass] = []
        self.expected: dict[str, Any] | None = None
        self.attempts: dict[str, Failure] = {}
        self.deaths: dict[str, Failure] = {}
        self.ends: dict[str, Failure] = {}
        self.quarantined = 0
        self._there: dict[str, tuple[str, float]] = {}
        self._silent: list[tuple[Pass, Counter[str]]] = []
        self._writer: tuple[Any, Any] = None, None
        for event in events:
            self.add(event)

    @property
    def starts(self) -> list[float]:
        """When the passes began (s since 1970), oldest first."""
        return [one.started for one in self.passes]

    def add(self, event: Mapping[str, Any]) -> None:
        """Add a line of the journal; a line that lacks what it should say is passed over."""
        handle = _EVENTS.get(str(event.get("event")))
        now = event.get("time")
        if not isinstance(now, (int, float)):
            return
        silent = self.passes and self.passes[-1].end == SILENT
        # others write too: 'psdbatch submit' may do so a week after the coordinator was killed
        if silent and _writer(event) == self._writer and event.get("event") != "started":
            self.passes[-1].elapsed = max(0.0, now - self.passes[-1].started)
        if handle is not None:
            with suppress(KeyError, TypeError, ValueError):
                handle(self, event, float(now))

    def settle(self, commits: Mapping[float, float], running: bool = False) -> None:
        """Reckon passes that ended without a word, once all lines are added: one that goes well writes none for hours.

        Parameters
        ----------
        commits
            When the newest block of each pass was finished, by the pass's start (s since 1970).
        running
            Whether a coordinator is at work: the newest pass is its, and lasts until now.
        """
        self._end_silent()
        for one, workers in self._silent:
            until = commits.get(one.started, one.started)
            if running and one is self.passes[-1]:
                one.end, until = RUNNING, time.time()
            longer = until - one.started - one.elapsed
            if longer > 0:
                one.elapsed += longer
                for group, number in workers.items():
                    one.use(group)["worker_seconds"] += number * longer

    def _started(self, event: Mapping[str, Any], now: float) -> None:
        self._end_silent()
        self._writer = _writer(event)
        self.passes.append(
            Pass(
                started=now,
                host=str(event.get("host", "")),
                left=int(event.get("left", 0)),
                sample=event.get(SAMPLED),
                threads=dict(event.get("threads", {})),
            )
        )
        self.expected = event.get("expected") or self.expected
        del self.passes[:-MOST_PASSES]

    def _finished(self, event: Mapping[str, Any], now: float) -> None:
        if self._close(event, FINISHED):
            self.passes[-1].elapsed = event.get("elapsed", self.passes[-1].elapsed)
            self.passes[-1].processed = event.get("processed")

    def _stopped(self, event: Mapping[str, Any], now: float) -> None:
        if self._close(event, STOPPED):
            self.passes[-1].reason = event.get("reason")

    def _close(self, event: Mapping[str, Any], end: str) -> bool:
        """Whether there is a pass that this can be the end of."""
        if not self.passes or self.passes[-1].end != SILENT:
            return False
        self._all_left()
        self.passes[-1].end = end
        if event.get("groups"):
            self.passes[-1].groups = dict(event["groups"])
        return True

    def _end_silent(self) -> None:
        """The newest pass, if it has said nothing of its end, says nothing more."""
        if self.passes and self.passes[-1].end == SILENT:
            if not self._silent or self._silent[-1][0] is not self.passes[-1]:
                self._silent.append((self.passes[-1], Counter(group for group, _ in self._there.values())))
                del self._silent[:-MOST_PASSES]
            self._all_left()

    def _all_left(self) -> None:
        """Workers that nobody saw leave were there until the last word of their pass."""
        for worker, (group, since) in list(self._there.items()):
            self._left(worker, group, self.passes[-1].started + self.passes[-1].elapsed - since)

    def _submitted(self, event: Mapping[str, Any], now: float) -> None:
        if self.passes:
            self.passes[-1].use(event["group"])["jobs"] += 1

    def _admitted(self, event: Mapping[str, Any], now: float) -> None:
        if self.passes and event.get("group"):
            self._there[event["name"]] = event["group"], now

    def _ended(self, event: Mapping[str, Any], now: float) -> None:
        self._note(self.ends, str(event.get("reason", "")), now)
        group, since = self._there.get(event["worker"], ("", now))
        if group:
            self._left(event["worker"], group, now - since)

    def _left(self, worker: str, group: str, seconds: float) -> None:
        del self._there[worker]
        self.passes[-1].use(group)["worker_seconds"] += max(0.0, seconds)

    def _failed(self, event: Mapping[str, Any], now: float) -> None:
        self._note(self.attempts, str(event.get("reason", "")), now, str(event.get("verdict", "")))

    def _died(self, event: Mapping[str, Any], now: float) -> None:
        self._note(self.deaths, str(event.get("reason", "")), now)

    def _quarantined(self, event: Mapping[str, Any], now: float) -> None:
        self.quarantined += 1

    def _note(self, failures: dict[str, Failure], reason: str, now: float, verdict: str = "") -> None:
        key = re.sub(r"\d+", "#", reason)
        if key not in failures and len(failures) >= MOST_REASONS:
            key = reason = "other reasons"
        failure = failures.setdefault(key, Failure(reason, now, now))
        failure.times += 1
        failure.last = now
        if verdict:
            failure.verdicts[verdict] += 1


def _writer(event: Mapping[str, Any]) -> tuple[Any, Any]:
    return event.get("host"), event.get("pid")


_EVENTS = {
    "started": History._started,
    "finished": History._finished,
    "stopped": History._stopped,
    "job submitted": History._submitted,
    "worker admitted": History._admitted,
    "job ended": History._ended,
    "worker died": History._died,
    "failed": History._failed,
    "quarantined": History._quarantined,
}
