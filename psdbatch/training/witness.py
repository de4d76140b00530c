"""Tells journal and progress what happens to replicas, workers and jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from psdbatch.campaign.journal import Journal
from psdbatch.cluster.names import group_of
from psdbatch.coordination.job_witness import JobWitness
from psdbatch.training.progress import TrainingProgress

if TYPE_CHECKING:
    from psdbatch.cluster.farm import Farm
    from psdbatch.training.round import Round


class Witness(JobWitness):
    """Sees a training.  Called from the coordinator's and from the cluster's thread.

    Attributes
    ----------
    farm, round
        Those at work, once there are some.
    epochs
        Epochs that were seen to end in the present round.
    """

    progress: TrainingProgress

    def __init__(self, journal: Journal, progress: TrainingProgress) -> None:
        super().__init__(journal, progress)
        self.farm: Farm | None = None
        self.round: Round | None = None
        self.epochs = 0

    def begins(self, round_: Round) -> None:
        """A round is about to begin."""
        self.round, self.epochs = round_, 0
        self.journal.write("round", number=round_.number, workers=[place.name for place in round_.places])

    def heard(self, said: Mapping[str, Any]) -> None:
        """A replica said something."""
        if self.round is None or said["round"] != self.round.number:
            return
        self.round.heard()
        if said["rank"]:
            return
        event = said["event"]
        if event == "step":
            self.progress.step(said["epoch"], said["done"], said["signals"], said["loss"])
        elif event == "epoch":
            self.epochs += 1
            self.journal.write("epoch", **said["row"], best=said["better"])
            self.progress.epoch(said["row"], said["better"])
            self._work_was_done(said["signals"])
        elif event == "checkpoint":
            self._work_was_done(0)
        elif event == "ready":
            self.journal.write("ready", **{name: said[name] for name in ("batch", "compiled", "epoch", "done")})
            where = f"from epoch {said['epoch']}" + (f", signal {said['done']:,}" if said["done"] else "")
            replicas = len(self.round.places)
            count = f"{replicas} replica" + "s" * (replicas > 1)
            self.progress.note(f"trains {where} on {count}, {said['batch']:,} signals in a step")

    def _work_was_done(self, signals: int) -> None:
        """Groups whose jobs come to nothing are given up: these did not.  No pace, which would mean blocks."""
        if self.farm is not None and self.round is not None:
            for group in {group_of(place.name) for place in self.round.places}:
                self.farm.measured(group, 0.0, signals)
