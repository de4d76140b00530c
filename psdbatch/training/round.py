"""A round: one start of the replicas on the workers there are, until they end or one of them is lost.

Replicas cannot go on without one another.  When one ends, for whatever reason, the others are ended too, and the next round
begins where the restart state is.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
from distributed import Future

from psdbatch.campaign import files
from psdbatch.cluster.farm import Farm
from psdbatch.cluster.local import cores
from psdbatch.cluster.names import group_of
from psdbatch.config.training import TrainingConfig
from psdbatch.errors import NoTimeLeftError
from psdbatch.training.directory import TrainingDirectory
from psdbatch.training.records import newest_round
from psdbatch.training.talk import Assignment, Ending
from psdbatch.training.task import Outcome, free_port, kill_replica, run_replica, stop_replica

logger = logging.getLogger(__name__)

LOOK = 0.3
"""Seconds between two looks at replicas and workers."""

FAREWELL = 3.0
"""Seconds that the other replicas have to say why they ended, before they are ended."""

SILENCE = 1800.0
"""Seconds without a sign of life from any replica, after which a round is given up; compiling may take minutes."""

ORDERLY = 10.0
"""Seconds that replicas have to write a checkpoint when the coordinator is interrupted."""

DEATH_NEWS = 5.0
"""Seconds that the reason of a worker's death may take to arrive."""

ROOM = 0.25
"""Part of a worker's memory that may be filled with signals."""


@dataclass(frozen=True)
class Workplace:
    """A worker that may run a replica: its address at the scheduler, its name and its host."""

    address: str
    name: str
    host: str


@dataclass(frozen=True)
class Result:
    """How a round ended: the worst of its replicas' endings, its reason, and the worker to blame, if any."""

    ending: Ending
    reason: str = ""
    culprit: str = ""


def workplaces(farm: Farm) -> list[Workplace]:
    """Workers that take work now."""
    found = farm.workers()
    ready = [
        Workplace(address, str(worker["name"]), worker["host"])
        for address, worker in found.items()
        if worker.get("status", "running") == "running"
        and not (worker.get("metrics", {}).get("psdbatch") or {}).get("leaving")
    ]
    return sorted(ready, key=lambda place: place.name)


class Round:
    """One start of the replicas.

    Parameters
    ----------
    farm
        The workers.
    directory, config
        The training.
    places
        Workers to use, one replica each; the first one's is the chief.
    pulse
        Called often; may raise to end the training.
    """

    def __init__(
        self,
        farm: Farm,
        directory: TrainingDirectory,
        config: TrainingConfig,
        places: Sequence[Workplace],
        pulse: Callable[[], object],
    ) -> None:
        self.farm, self.directory, self.config, self.places = farm, directory, config, tuple(places)
        self.number = newest_round(directory) + 1
        self._pulse = pulse
        self._heard = time.monotonic()
        self._asked = False

    def heard(self) -> None:
        """A replica gave a sign of life."""
        self._heard = time.monotonic()

    def stop(self) -> None:
        """Ask the replicas to stop in order, so that more of them can begin."""
        if not self._asked:
            self._asked = True
            self._tell(stop_replica, self.places[:1])

    def run(self) -> Result:
        """Run it to its end."""
        record = {"workers": [place.name for place in self.places], "hosts": [place.host for place in self.places]}
        files.write_durably(self.directory.rounds / f"{self.number:06d}.json", [json.dumps(record).encode()])
        try:
            assignments = self._assignments()
        except Exception as error:  # a worker has gone in this moment
            return Result(Ending.FAILED, f"the workers do not answer: {error}")
        futures = {
            self.farm.client.submit(
                run_replica,
                assignment,
                workers=[place.address],
                allow_other_workers=False,
                pure=False,
                key=f"replica-{self.number}-{assignment.rank}",
            ): place
            for assignment, place in zip(assignments, self.places, strict=True)
        }
        try:
            return self._watch(futures)
        except KeyboardInterrupt:
            self._end_in_order(futures)
            raise
        finally:
            self._tell(kill_replica, self.places)
            for future in futures:
                future.cancel()

    def _end_in_order(self, futures: Iterable[Future]) -> None:
        """Have a checkpoint written before the replicas are ended; nothing is said about what goes wrong now."""
        self._tell(stop_replica, self.places[:1])
        latest = time.monotonic() + ORDERLY
        while time.monotonic() < latest and not all(future.done() for future in futures):
            time.sleep(LOOK)

    def _assignments(self) -> list[Assignment]:
        local = self.config.cluster.kind == "local"
        number = len(self.places)
        addresses = []
        for place in self.places:
            found = self.farm.client.run(free_port, place.host, workers=[place.address])
            addresses.append(f"{_bracketed(place.host)}:{found[place.address]}")
        groups = {group.name: group for group in self.config.cluster.workers}
        room = self.config.cluster.memory or psutil.virtual_memory().available // number
        made = []
        for rank, place in enumerate(self.places):
            group = None if local else groups[group_of(place.name)]
            made.append(
                Assignment(
                    directory=str(self.directory.path),
                    round=self.number,
                    rank=rank,
                    places=tuple(addresses),
                    threads=group.cores if group else max(1, cores() // number),
                    memory=int(ROOM * (group.memory if group else room)),
                    xla=group.xla is not False if group else True,
                )
            )
        return made

    def _watch(self, futures: Mapping[Future, Workplace]) -> Result:
        """Wait for all to end; the first trouble ends the round."""
        outcomes: dict[str, Outcome] = {}
        limit: float | None = None
        while len(outcomes) < len(futures) and (limit is None or time.monotonic() < limit):
            self._pulse()
            there = set(self.farm.workers())
            for future, place in futures.items():
                if place.address not in outcomes and (future.done() or place.address not in there):
                    outcomes[place.address] = self._outcome(future, place)
            if limit is None and any(outcome.ending is not Ending.FINISHED for outcome in outcomes.values()):
                orderly = all(outcome.ending in (Ending.FINISHED, Ending.STOPPED) for outcome in outcomes.values())
                limit = time.monotonic() + (10 * FAREWELL if orderly else FAREWELL)
            if time.monotonic() - self._heard > SILENCE:
                return Result(Ending.FAILED, f"no replica gave a sign of life for {SILENCE:.0f} s")
            time.sleep(LOOK)
        return self._judge(outcomes)

    def _outcome(self, future: Future, place: Workplace) -> Outcome:
        rank = self.places.index(place)
        if future.status == "finished":
            found: Outcome = future.result()
            return found
        error = future.exception() if future.status == "error" else None
        if isinstance(error, NoTimeLeftError):
            return Outcome(rank, Ending.STOPPED, str(error))
        if error is not None and type(error).__name__ != "KilledWorker":
            return Outcome(rank, Ending.FAILED, f"worker {place.name} on {place.host}: {error}")
        latest = time.monotonic() + DEATH_NEWS
        while (death := self.farm.deaths.of(place.address)) is None and time.monotonic() < latest:
            self._pulse()
            time.sleep(LOOK)
        reason = death.reason if death else "has gone, no reason became known"
        return Outcome(rank, Ending.FAILED, f"worker {place.name} on {place.host}: {reason}")

    def _judge(self, outcomes: Mapping[str, Outcome]) -> Result:
        """The worst ending; of several that failed, the first seen, or the one that was killed: the rest followed it."""
        found = list(outcomes.items())
        for ending in (Ending.REFUSED, Ending.DIVERGED, Ending.OUT_OF_MEMORY):
            for address, outcome in found:
                if outcome.ending is ending:
                    return Result(ending, outcome.reason, address)
        failed = [entry for entry in found if entry[1].ending is Ending.FAILED]
        if failed:
            address, outcome = min(failed, key=lambda entry: "UnavailableError" in entry[1].reason)
            return Result(Ending.FAILED, outcome.reason, address)
        if len(found) == len(self.places) and all(outcome.ending is Ending.FINISHED for _, outcome in found):
            return Result(Ending.FINISHED)
        return Result(Ending.STOPPED, next((outcome.reason for _, outcome in found if outcome.reason), ""))

    def _tell(self, call: Callable[[int], object], places: Sequence[Workplace]) -> None:
        there = set(self.farm.workers())
        for place in places:
            if place.address in there:
                try:
                    self.farm.client.run(call, self.number, workers=[place.address], on_error="ignore")
                except Exception as error:  # it has gone meanwhile, and its replica with it
                    logger.debug("worker %s cannot be told: %s", place.name, error)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def describe(result: Result) -> dict[str, Any]:
    """For the journal."""
    return {"ending": str(result.ending), "reason": result.reason}
