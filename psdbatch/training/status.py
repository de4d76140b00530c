"""State of a training, from its directory and from the batch systems that know of its jobs: nothing has to run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from psdbatch.campaign.journal import Journal
from psdbatch.config.training import TrainingConfig, read_training
from psdbatch.coordination.status import AtWork, who_is_at_work
from psdbatch.errors import TrainingSetError
from psdbatch.training.directory import TrainingDirectory
from psdbatch.training.restart import position, recorded_course
from psdbatch.training_set.store import open_set


@dataclass(frozen=True)
class TrainingStatus(AtWork):
    """What directory and batch systems tell of a training.

    Attributes
    ----------
    training
        Its directory.
    stopped
        Why no further epoch follows, ``"epochs"`` or ``"patience"``; empty while one does.
    finished
        Whether the best network is frozen, too, and evaluated.
    epochs, most
        Epochs that are done, and how many there are at most.
    used, signals
        Signals of the next epoch that a checkpoint has, and signals of an epoch; ``signals`` is None without a set.
    best_epoch
        0: no epoch has ended yet.
    best, last
        Lines of the history: that of the best epoch and the last one.
    """

    training: str
    stopped: str
    finished: bool
    epochs: int
    most: int
    used: int
    signals: int | None
    best_epoch: int
    best: dict[str, float] | None
    last: dict[str, float] | None


def read_training_at(path: Path) -> TrainingConfig:
    """Configuration of a file, or of a training directory wherever it lies now."""
    if not path.is_dir():
        return read_training(path)
    return read_training(TrainingDirectory(path).config).model_copy(update={"training": str(path.absolute())})


def read_status(directory: TrainingDirectory) -> TrainingStatus:
    """Read restart state and journal, and ask each batch system once about the jobs that may be left.

    Raises
    ------
    PsdbatchError
        Something in the directory cannot be read.
    """
    config = read_training_at(directory.path)
    events = list(Journal(directory.journal).read())
    course, (_, used) = recorded_course(directory.restart), position(directory.restart)
    if course is not None:
        course.judge(config.optimisation)
    history = course.history if course else []
    stopped = course.stopped if course else ""
    return TrainingStatus(
        **vars(who_is_at_work(directory, events)),
        training=str(directory.path),
        stopped=stopped,
        finished=bool(stopped) and _summarised(directory) == len(history),
        epochs=len(history),
        most=config.optimisation.epochs,
        used=used,
        signals=_signals(config),
        best_epoch=course.best_epoch if course else 0,
        best=history[course.best_epoch - 1] if course and course.best_epoch else None,
        last=history[-1] if history else None,
    )


def _summarised(directory: TrainingDirectory) -> int | None:
    """Epochs of the training that was brought to its end here, if one was; more may have been asked for since."""
    return json.loads(directory.summary.read_bytes())["epochs"] if directory.summary.exists() else None


def _signals(config: TrainingConfig) -> int | None:
    assert config.set.path is not None
    try:
        return sum(open_set(Path(config.set.path)).facts.counts["train"].values())
    except TrainingSetError:
        return None
