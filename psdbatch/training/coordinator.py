"""A training from start to end: set, rounds of replicas until the course is run, the best network frozen and evaluated.

Never imports TensorFlow: whatever needs it is done by processes of their own.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from psdbatch.campaign import files
from psdbatch.campaign.journal import Journal
from psdbatch.cluster.farm import Farm, open_farm
from psdbatch.cluster.jobs import JobSheet
from psdbatch.config.cluster import Cluster
from psdbatch.config.training import TrainingConfig
from psdbatch.coordination.lock import hold
from psdbatch.coordination.sheet import job_sheet
from psdbatch.errors import TrainingError
from psdbatch.training.directory import TrainingDirectory
from psdbatch.training.finish import conclude
from psdbatch.training.measured import BatchSize
from psdbatch.training.prepare import check_directory, write_directory
from psdbatch.training.progress import TrainingProgress
from psdbatch.training.restart import position, recorded_course
from psdbatch.training.rounds import LOOK, Result, Round, Workplace, describe, workplaces
from psdbatch.training.talk import Ending
from psdbatch.training.task import EVENTS
from psdbatch.training.witness import Witness
from psdbatch.training_set.build import build_set
from psdbatch.training_set.store import StoredSet

FRUITLESS = 3
"""Rounds in a row without a step that lasts, after which the training is given up."""

TRIES = 2
"""Rounds that may fail because of one worker before others are preferred."""


@dataclass(frozen=True)
class Summary:
    """How a training ended.

    Attributes
    ----------
    stopped
        'epochs': all were done; 'patience': the validation loss did not fall any more.
    epochs, best_epoch, best_loss
        Done; the one whose network was kept; its validation loss.
    best
        The history's line of the best epoch.
    rounds
        Starts of the replicas by this command.
    seconds
        Duration of this command.
    before
        Whether the training had been finished before this command.
    """

    training: str
    stopped: str
    epochs: int
    best_epoch: int
    best_loss: float
    best: dict[str, float]
    rounds: int = 0
    seconds: float = 0.0
    before: bool = False

    def facts(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        values = ", ".join(f"{name} {value:.4g}" for name, value in self.best.items() if name.startswith("val_"))
        why = {"epochs": "all epochs are done", "patience": "the validation loss fell no further"}[self.stopped]
        first = "was finished before: nothing to do" if self.before else why
        return [f"{self.training}: {first}", f"{self.epochs} epochs; the best was epoch {self.best_epoch}: {values}"]


def run_training(config: TrainingConfig, progress: TrainingProgress) -> Summary:
    """Train the network of ``config`` to its end, going on where an earlier start stopped.

    Raises
    ------
    PsdbatchError
        The training cannot go on, or another coordinator is at work; the last checkpoint is safe.
    """
    directory = TrainingDirectory(Path(config.training))
    check_directory(directory, config)
    files.make_directory(directory.path)
    with hold(directory):
        stored = _find_set(config, progress)
        write_directory(directory, config, stored.facts.digest)
        known = _finished(directory, config)
        if known is not None:
            return known
        journal = Journal(directory.journal)
        started = time.time()
        journal.write(
            "started", set=stored.facts.digest, replicas=config.replicas, position=position(directory.restart)
        )
        try:
            rounds = 0 if _is_over(directory, config) else _train(directory, config, stored, journal, progress)
            summary = _summarise(directory, config, rounds, time.time() - started)
            conclude(directory, config, stored, progress)
        except BaseException as error:
            journal.write("stopped", reason=f"{type(error).__name__}: {error}")
            raise
        files.replace_durably(directory.summary, json.dumps(summary.facts(), indent=1).encode())
        journal.write("finished", **summary.facts())
        return summary


def _find_set(config: TrainingConfig, progress: TrainingProgress) -> StoredSet:
    """The training set, built now if there is none; alarms about its sources are told again at every start."""
    assert config.set.path is not None
    if not Path(config.set.path).exists():
        progress.note(f"builds the training set {config.set.path}")
    stored = build_set(config)
    for alarm in stored.facts.provenance.get("alarms", ()):
        progress.note(f"ALARM: {alarm}")
    return stored


def _finished(directory: TrainingDirectory, config: TrainingConfig) -> Summary | None:
    """Summary of a training that is over; None if it is not, or if more epochs are wanted now."""
    if not directory.summary.exists():
        return None
    known = Summary(**{**json.loads(directory.summary.read_bytes()), "before": True})
    more = known.stopped == "epochs" and config.optimisation.epochs > known.epochs
    return None if more else known


def _is_over(directory: TrainingDirectory, config: TrainingConfig) -> bool:
    """Whether the last epoch was done by an earlier start, which was stopped before its end."""
    course = recorded_course(directory.restart)
    if course is None:
        return False
    course.judge(config.optimisation)
    return bool(course.stopped)


def _train(
    directory: TrainingDirectory,
    config: TrainingConfig,
    stored: StoredSet,
    journal: Journal,
    progress: TrainingProgress,
) -> int:
    """Rounds of replicas until the course is run; how many."""
    progress.begin(config.optimisation.epochs)
    witness = Witness(journal, progress)
    cluster = one_replica_each(config.cluster, config.replicas)
    with ExitStack() as stack:
        sheet = training_sheet(directory, config, cluster, stored)
        farm = stack.enter_context(open_farm(cluster, sheet, directory.certificates, witness))
        stack.enter_context(progress)
        witness.farm = farm
        progress.address(farm.client.dashboard_link if cluster.dashboard else None)
        farm.client.subscribe_topic(EVENTS, lambda event: witness.heard(event[1]))
        return Rounds(directory, config.model_copy(update={"cluster": cluster}), farm, witness).run()


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


def one_replica_each(cluster: Cluster, replicas: int) -> Cluster:
    """The cluster with workers that do one thing at a time: a replica."""
    groups = tuple(group.model_copy(update={"threads": 1}) for group in cluster.workers)
    return cluster.model_copy(update={"processes": replicas, "threads": 1, "workers": groups})


def training_sheet(
    directory: TrainingDirectory, config: TrainingConfig, cluster: Cluster, stored: StoredSet
) -> JobSheet:
    """What all worker jobs of a training have in common."""
    inputs = {str(stored.path.absolute())}
    function = config.network.function
    if function and ".py:" in function:
        inputs.add(str(Path(function.rpartition(":")[0]).parent))
    return job_sheet("psdbatch.training.worker", "training", directory, cluster, inputs)


def _summarise(directory: TrainingDirectory, config: TrainingConfig, rounds: int, seconds: float) -> Summary:
    course = recorded_course(directory.restart)
    assert course is not None
    course.judge(config.optimisation)
    return Summary(
        training=str(directory.path),
        stopped=course.stopped,
        epochs=len(course.history),
        best_epoch=course.best_epoch,
        best_loss=course.best_loss,
        best=course.history[course.best_epoch - 1],
        rounds=rounds,
        seconds=round(seconds, 1),
    )
