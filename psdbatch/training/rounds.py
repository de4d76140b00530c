"""Round after round, until one brings the training to its end: what follows from how a round ended."""

from __future__ import annotations

import time

from psdbatch.cluster.farm import Farm
from psdbatch.config.training import TrainingConfig
from psdbatch.errors import TrainingError
from psdbatch.training.directory import TrainingDirectory
from psdbatch.training.measured import BatchSize
from psdbatch.training.restart import position, recorded_course
from psdbatch.training.round import LOOK, Result, Round, Workplace, describe, workplaces
from psdbatch.training.talk import Ending
from psdbatch.training.witness import Witness

FRUITLESS = 3
"""Rounds in a row without a step that lasts, after which the training is given up."""

TRIES = 2
"""Rounds that may fail because of one worker before others are preferred."""


class Rounds:
    """Round after round, until one brings the course to its end."""

    def __init__(self, directory: TrainingDirectory, config: TrainingConfig, farm: Farm, witness: Witness) -> None:
        self.directory, self.config, self.farm, self.witness = directory, config, farm, witness
        self._blamed: dict[str, int] = {}
        self._fruitless = 0

    def run(self) -> int:
        """Number of rounds that it took.

        Raises
        ------
        TrainingError
            It cannot be brought to its end.
        ClusterError
            No worker can be had.
        """
        rounds = 0
        while True:
            rounds += 1
            before = position(self.directory.restart)
            round_ = Round(self.farm, self.directory, self.config, self._gather(), self._pulse)
            self.witness.begins(round_)
            result = round_.run()
            self.witness.journal.write("round ended", number=round_.number, **describe(result))
            if result.ending is Ending.FINISHED:
                return rounds
            self._consider(result, before, round_)

    def _consider(self, result: Result, before: tuple[int, int], round_: Round) -> None:
        """Go on after a round that did not finish, or raise."""
        if result.ending is Ending.REFUSED:
            raise TrainingError(result.reason)
        if result.ending is Ending.DIVERGED:
            raise TrainingError(f"{result.reason}. {self._advice()}")
        if result.ending is Ending.OUT_OF_MEMORY:
            self._halve(result.reason)
            return
        after = position(self.directory.restart)
        self._fruitless = 0 if after > before or result.ending is Ending.STOPPED else self._fruitless + 1
        if result.ending is Ending.STOPPED:
            return
        self._blamed[result.culprit] = self._blamed.get(result.culprit, 0) + 1
        if self._fruitless >= FRUITLESS:
            raise TrainingError(
                f"{FRUITLESS} starts of the replicas in a row came to nothing; the last one: {result.reason}. "
                f"Logs: {self.directory.logs / f'replica-{round_.number:04d}-*.log'}. The same command goes on from the last checkpoint"
            )
        epoch, done = after
        self.witness.said(f"{result.reason}; the training goes on from epoch {epoch + 1}, signal {done:,}")

    def _halve(self, reason: str) -> None:
        halved = BatchSize.read(self.directory.batch).halved()
        if halved is None:
            raise TrainingError(f"not even a batch of two signals fits into the memory of a replica: {reason}")
        halved.write(self.directory.batch)
        said = (
            f"goes on with {halved.batch:,} signals" if halved.batch else f"at most {halved.limit:,} signals are tried"
        )
        self.witness.said(f"a replica ran out of memory; {said} in a step")

    def _advice(self) -> str:
        settings = self.config.optimisation
        epochs, done = position(self.directory.restart)
        course = recorded_course(self.directory.restart)
        best = course.best_epoch if course else 0
        kept = f"The best network so far, of epoch {best}, is in {self.directory.checkpoints}. " if best else ""
        weights = ", class_weights = 'none' (a rare class counts very much)" if settings.class_weights != "none" else ""
        return (
            f"{epochs} epochs are complete, and the restart state is the last finite one, of epoch {epochs + 1}, signal {done:,}. "
            f"{kept}Try, in another directory, a smaller learning rate ({settings.learning_rate / 10:g})"
            f"{weights}, preparation.normalise = 'amplitude', or look for signals of a source that are not finite or of no height"
        )

    def _gather(self) -> list[Workplace]:
        """Wait for as many workers as replicas are wanted; after a while without a new one, be content with those there."""
        seen, last = 0, time.monotonic()
        while True:
            self._pulse()
            found = workplaces(self.farm)
            if len(found) > seen:
                seen, last = len(found), time.monotonic()
            if len(found) >= self.config.replicas or (found and time.monotonic() - last > self.config.wait):
                return sorted(found, key=self._preferred)[: self.config.replicas]
            time.sleep(LOOK)

    def _preferred(self, place: Workplace) -> tuple[bool, str]:
        return self._blamed.get(place.address, 0) >= TRIES, place.name

    def _pulse(self) -> None:
        self.farm.pulse(self.config.replicas)
        round_, witness = self.witness.round, self.witness
        if round_ is not None and witness.epochs and len(round_.places) < self.config.replicas:
            witness.epochs = 0  # asked once an epoch
            if len(workplaces(self.farm)) > len(round_.places):
                witness.said("a further worker is ready: the replicas start again with it")
                round_.stop()
