"""What a coordinator keeps in the directory of its work, whether that is a campaign or a training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CoordinatedDirectory:
    """Paths that every coordinator uses."""

    path: Path

    @property
    def journal(self) -> Path:
        """The coordinator's story, one JSON object a line."""
        return self.path / "journal.jsonl"

    @property
    def logs(self) -> Path:
        """What coordinator, workers and their jobs printed."""
        return self.path / "logs"

    @property
    def coordinator_script(self) -> Path:
        """The coordinator's own job, as submitted."""
        return self.path / "coordinator.sh"

    @property
    def coordinator_config(self) -> Path:
        """What it was submitted with; the file that the user gave may have changed when the job is queued again."""
        return self.path / "coordinator.toml"

    @property
    def certificates(self) -> Path:
        """This start's certificate, for the owner alone; there while a coordinator on a batch system runs."""
        return self.path / "certificates"

    @property
    def coordinators(self) -> Path:
        """Who coordinates: one small file, numbered; see :mod:`psdbatch.coordination.lock`."""
        return self.path / "coordinators"

    @property
    def summary(self) -> Path:
        """How the last pass ended."""
        return self.path / "summary.json"
