"""How a training goes: its history, its best epoch, and when the learning rate falls or the training stops.

Pure bookkeeping on validation losses, kept in the restart state, so that a training that was interrupted decides as it
would have done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from psdbatch.config.training import Optimisation

PLATEAU_FACTOR = 0.5
"""The learning rate is multiplied by this on a plateau."""

REASONS = {"epochs": "all epochs are done", "patience": "the validation loss fell no further"}
"""Why a training is over, in words, by :attr:`Course.stopped`."""


def describe(row: Mapping[str, float]) -> str:
    """Losses and metrics of an epoch in words."""
    told = [name for name in row if name not in ("epoch", "seconds", "learning_rate")]
    return ", ".join(f"{name} {row[name]:.4g}" for name in told)


@dataclass
class Course:
    """History and what follows from it.

    Attributes
    ----------
    learning_rate
        In use now.
    history
        One row an epoch: ``epoch`` (from 1), ``loss``, ``val_loss``, metrics, ``learning_rate``, ``seconds``.
    best_loss, best_epoch
        Of the validation, so far; epoch 0: none yet.
    waited
        Epochs since the best one, as far as stopping is concerned.
    flat
        Epochs since the best one or since the learning rate last fell.
    stopped
        Why no further epoch follows; empty while one does.
    """

    learning_rate: float
    history: list[dict[str, float]] = field(default_factory=list)
    best_loss: float = float("inf")
    best_epoch: int = 0
    waited: int = 0
    flat: int = 0
    stopped: str = ""

    def ended(self, row: dict[str, float], settings: Optimisation) -> bool:
        """An epoch has ended with ``row``; whether it is the best so far."""
        self.history.append(row)
        epoch, loss = int(row["epoch"]), row["val_loss"]
        better = loss < self.best_loss
        if better:
            self.best_loss, self.best_epoch, self.waited, self.flat = loss, epoch, 0, 0
        else:
            self.waited += 1
            self.flat += 1
            if settings.plateau and self.flat >= settings.plateau:
                self.learning_rate *= PLATEAU_FACTOR
                self.flat = 0
        self.judge(settings)
        return better

    def judge(self, settings: Optimisation) -> None:
        """Decide whether the training is over; asked again at a restart, whose settings may allow more epochs."""
        self.stopped = ""
        if self.waited >= settings.patience:
            self.stopped = "patience"
        elif len(self.history) >= settings.epochs:
            self.stopped = "epochs"

    def facts(self) -> dict[str, Any]:
        """As JSON; ``Course(**facts)`` is its inverse."""
        return asdict(self)
