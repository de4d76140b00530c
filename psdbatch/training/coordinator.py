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
from psdbatch.campaign.journal import Journal, reason_of
from psdbatch.cluster.farm import open_farm
from psdbatch.cluster.jobs import JobSheet
from psdbatch.config.cluster import Cluster
from psdbatch.config.training import TrainingConfig
from psdbatch.coordination.lock import hold
from psdbatch.coordination.sheet import job_sheet
from psdbatch.training.course import REASONS
from psdbatch.training.directory import TrainingDirectory
from psdbatch.training.finish import conclude
from psdbatch.training.prepare import check_directory, write_directory
from psdbatch.training.progress import TrainingProgress
from psdbatch.training.restart import position, recorded_course
from psdbatch.training.rounds import Rounds
from psdbatch.training.task import EVENTS
from psdbatch.training.witness import Witness
from psdbatch.training_set.build import build_set
from psdbatch.training_set.store import StoredSet

NEARLY_EVEN = 1.01
"""Ratio of the largest to the smallest class below which weights of classes do not matter."""


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
        first = "was finished before: nothing to do" if self.before else REASONS[self.stopped]
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
            journal.write("stopped", reason=reason_of(error))
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
    counts = stored.facts.counts["train"].values()
    if config.optimisation.class_weights != "none" and max(counts) < NEARLY_EVEN * max(min(counts), 1):
        progress.note(
            "class_weights changes next to nothing: this set has as many signals of each class; 'set.mix' makes others"
        )
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
