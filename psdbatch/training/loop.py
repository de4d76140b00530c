"""A replica's part in a training: epoch after epoch, until the course is run or somebody wants to stop."""

from __future__ import annotations

import math
import time
from collections import deque
from pathlib import Path
from typing import Any

from psdbatch.config.training import read_training
from psdbatch.errors import TrainingError
from psdbatch.training.board import SHOWN, Board
from psdbatch.training.course import Course
from psdbatch.training.directory import TrainingDirectory
from psdbatch.training.feeding import Batch, Feed, Share, class_weights
from psdbatch.training.learner import Learner
from psdbatch.training.measured import batch_size
from psdbatch.training.own_function import check_function
from psdbatch.training.records import Records
from psdbatch.training.restart import RestartState
from psdbatch.training.talk import Assignment, Ending, Talk
from psdbatch.training.together import Together
from psdbatch.training_set.store import open_set

LAG = 8
"""Steps after which a step's answer is looked at: by then the device has it, and nothing waits."""

TELL_EVERY = 0.5
"""Seconds between two signs of life."""

JUDGED = 4096
"""Signals in a validation batch at most, where the training batch is smaller."""


class Diverged(TrainingError):  # noqa: N818 - what happened to the training
    """The loss is not a finite number any more."""


class Training:
    """One replica of a round.

    Parameters
    ----------
    assignment
        What it shall do.
    together
        The replicas of the round.
    talk
        With its watcher.
    """

    def __init__(self, assignment: Assignment, together: Together, talk: Talk) -> None:
        self.directory = TrainingDirectory(Path(assignment.directory))
        self.config = read_training(self.directory.config)
        check_function(self.directory, self.config)  # here too: replicas start again and again
        self.together, self.talk = together, talk
        assert self.config.set.path is not None
        stored = open_set(Path(self.config.set.path))
        settings = self.config.optimisation
        self.learner = Learner(self.config, stored.facts, together, assignment.xla and settings.xla)
        share = Share(together.rank, together.replicas)
        weights = class_weights(dict(stored.facts.counts["train"]), stored.facts.classes, settings.class_weights)
        self.train = Feed(stored.part("train"), share, weights, assignment.memory)
        judging = stored.part("validation") if "validation" in stored.parts else None
        self.validation = Feed(judging, share, weights, assignment.memory) if judging else None
        board = None
        if together.chief:
            shown = (judging or self.train.part).read(0, SHOWN, ("samples", "label"))
            board = Board(self.directory.tensorboard, shown["samples"], shown["label"], settings.epochs)
        self.records = Records(self.directory, assignment.round, board)
        self.course = Course(settings.learning_rate)
        self.done = 0
        self._before = 0.0
        self._started = self._told = time.monotonic()

    def run(self) -> Ending:
        """Train to the end of the course, or until a stop is wanted; after :meth:`resume`.

        Raises
        ------
        Diverged
            The restart state on disk is the last good one.
        """
        self.batch = batch_size(self.learner, self.train, self.directory.batch)
        self.talk.say("ready", batch=self.batch, compiled=self.learner.compiled, epoch=self._epoch, done=self.done)
        while not self.course.stopped:
            self.learner.learning_rate = self.course.learning_rate
            stop = self._learn()
            if stop and self.done < len(self.train.part):
                return Ending.STOPPED
            self._end_epoch()
            if stop and not self.course.stopped:
                return Ending.STOPPED
        return Ending.FINISHED

    @property
    def _epoch(self) -> int:
        """Number of the epoch at work, from 1."""
        return len(self.course.history) + 1

    def resume(self) -> None:
        """Take up the training where it is: go on from the chief's restart state; without one, from the chief's fresh network."""
        facts: Any = None
        if self.together.chief:
            state = RestartState.read(self.directory.restart)
            if state is not None:
                self.learner.restore(state.weights, state.optimiser, state.sums)
                facts = {"course": state.course, "done": state.done, "seconds": state.seconds}
        facts = self.together.agree(facts)
        self.learner.share_chiefs_values()
        if facts is not None:
            self.course, self.done = Course(**facts["course"]), facts["done"]
            self._before = facts["seconds"]
            self.course.judge(self.config.optimisation)
        elif self.together.chief:
            self.records.begin(self._state())

    def _state(self) -> RestartState:
        weights, optimiser, sums = self.learner.values()
        batch = getattr(self, "batch", 0)
        epochs = len(self.course.history)
        return RestartState(epochs, self.done, weights, optimiser, sums, self.course.facts(), batch, self._seconds())

    def _seconds(self) -> float:
        return self._before + time.monotonic() - self._started

    def _learn(self) -> bool:
        """Do what is left of an epoch; whether a stop is wanted."""
        self._started = time.monotonic()
        size, pending, since = len(self.train.part), deque[tuple[Batch, Any]](), 0
        order = self.train.order(self.config.optimisation.seed, self._epoch)
        for batch in self.train.batches(order, self.batch, self.done):
            pending.append((batch, self.learner.step(batch, self._epoch, self.talk.stop_wanted)))
            self.done = batch.stop
            stop = len(pending) > LAG and self._settle(*pending.popleft())
            since += 1
            if stop or since == self.config.optimisation.checkpoint_steps or self.done == size:
                while pending:
                    stop |= self._settle(*pending.popleft())
                self._check_weights()
                if self.done < size:
                    self.records.checkpoint(self._state())
                    self.talk.say("checkpoint", epoch=self._epoch, done=self.done)
                since = 0
                if stop:
                    return True
            self._tell()
        return False

    def _settle(self, batch: Batch, said: Any) -> bool:
        """Look at what a step said; whether some replica wants to stop.  All replicas see the same at the same step."""
        stops, void = said.numpy()
        if void:
            step = batch.first // self.batch + 1
            raise Diverged(f"the loss became NaN or infinite in epoch {self._epoch}, step {step}")
        return bool(stops)

    def _check_weights(self) -> None:
        """Finite losses may leave weights that are not, which only the next step's loss would show: too late for a checkpoint."""
        if not self.learner.is_finite():
            step = -(-self.done // self.batch)
            raise Diverged(f"the network's weights became NaN or infinite in epoch {self._epoch}, by step {step}")

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told >= TELL_EVERY:
            self._told = now
            loss = self.learner.means(self.learner.sums.numpy())["loss"] if self.together.chief else 0.0
            self.talk.say("step", epoch=self._epoch, done=self.done, signals=len(self.train.part), loss=loss)

    def _end_epoch(self) -> None:
        row: dict[str, float] = {"epoch": self._epoch}
        row |= self.learner.means(self.learner.sums.numpy())
        row |= self._validate() if self.validation else {"val_loss": row["loss"]}
        if not math.isfinite(row["val_loss"]):
            raise Diverged(f"the validation loss became NaN or infinite in epoch {self._epoch}")
        seconds = self._seconds()
        row |= {"learning_rate": self.course.learning_rate, "seconds": round(seconds, 3)}
        better = self.course.ended(row, self.config.optimisation)
        self.learner.sums.assign(self.learner.sums * 0)
        self.done, self._before, self._started = 0, 0.0, time.monotonic()
        self.records.epoch(self._state(), self.course, self.learner, better)
        self.talk.say("epoch", row=row, better=better, signals=len(self.train.part))

    def _validate(self) -> dict[str, float]:
        assert self.validation is not None
        size = max(self.batch, min(JUDGED, 8 * self.batch))
        for batch in self.validation.batches(self.validation.order(), size):
            self.learner.measure(batch)
            self._tell()
        return self.learner.means(self.learner.measured(), "val_")
