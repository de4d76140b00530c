"""The training directory: where everything lies.  It is the only state of a training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from psdbatch.campaign.coordinated import CoordinatedDirectory


@dataclass(frozen=True)
class TrainingDirectory(CoordinatedDirectory):
    """Paths below a training's directory."""

    @property
    def config(self) -> Path:
        """The configuration as run, with defaults filled in."""
        return self.path / "training.toml"

    @property
    def identity(self) -> Path:
        """What makes this training this one: its configuration, the digests of its set and of its own network function."""
        return self.path / "training.json"

    @property
    def function(self) -> Path:
        """Copy of the file of a user's own network function, for the record."""
        return self.path / "function.py"

    @property
    def set(self) -> Path:
        """The training set, unless the configuration says where another one lies."""
        return self.path / "set.zarr"

    @property
    def checkpoints(self) -> Path:
        """The best networks so far, ``epoch-007-loss-0.1234.keras``."""
        return self.path / "checkpoints"

    @property
    def restart(self) -> Path:
        """Everything from which the training goes on where it was."""
        return self.checkpoints / "resume" / "state.npz"

    @property
    def batch(self) -> Path:
        """The batch size in use, and what was measured for it."""
        return self.path / "batch.json"

    @property
    def software(self) -> Path:
        """Versions at the coordinator, which its workers must share."""
        return self.path / "software.json"

    @property
    def rounds(self) -> Path:
        """One small file for each start of the replicas; only the newest may write."""
        return self.path / "rounds"

    @property
    def history(self) -> Path:
        """One line an epoch."""
        return self.path / "history.csv"

    @property
    def tensorboard(self) -> Path:
        """Event files for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def model(self) -> Path:
        """The best network, as Keras reads it."""
        return self.path / "model.keras"

    @property
    def frozen(self) -> Path:
        """The best network, frozen with its preparation: what a campaign takes."""
        return self.path / "model.pb"

    @property
    def evaluation(self) -> Path:
        """What the frozen network does on the test part."""
        return self.path / "evaluation"
