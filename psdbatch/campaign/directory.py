"""The campaign directory: where everything lies.  It is the only state of a campaign."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from psdbatch.campaign.coordinated import CoordinatedDirectory

BLOCKS_PER_FOLDER = 1000
"""Commit records in one directory; many file systems slow down beyond some thousands of names."""


@dataclass(frozen=True, order=True)
class BlockName:
    """A block: ``number`` counts from 0 within its ``run``."""

    run: str
    number: int

    def __str__(self) -> str:
        return f"{self.run}/{self.number:06d}"


@dataclass(frozen=True)
class CampaignDirectory(CoordinatedDirectory):
    """Paths below a campaign's directory."""

    @property
    def config(self) -> Path:
        """The configuration as run, with defaults filled in."""
        return self.path / "campaign.toml"

    @property
    def plan(self) -> Path:
        """Runs, files, blocks, model digest, fingerprint."""
        return self.path / "plan.json"

    @property
    def index(self) -> Path:
        """One small file per acquisition file."""
        return self.path / "index"

    @property
    def model(self) -> Path:
        """The frozen model and its facts."""
        return self.path / "model"

    @property
    def quality(self) -> Path:
        """The frozen model of the quality monitor and its facts, where the campaign has one."""
        return self.path / "quality"

    @property
    def tuning(self) -> Path:
        """Measured batch sizes, one small file per device."""
        return self.path / "tuning"

    @property
    def golden(self) -> Path:
        """Answers to some signals that every worker must agree with."""
        return self.path / "golden"

    @property
    def commits(self) -> Path:
        """The ledger: one record per finished block."""
        return self.path / "commits"

    @property
    def staging(self) -> Path:
        """Attempts in progress."""
        return self.path / "staging"

    @property
    def store(self) -> Path:
        """What users read."""
        return self.path / "results.zarr"

    @property
    def report(self) -> Path:
        """The page that a pass leaves behind."""
        return self.path / "report.html"

    @property
    def physics(self) -> Path:
        """The physics of all blocks added up, as the last pass left it."""
        return self.path / "physics.json"

    @property
    def metadata(self) -> Path:
        """Checksums of the store's metadata files."""
        return self.path / "metadata.json"

    def record(self, block: BlockName) -> Path:
        """The commit record of ``block``; it exists once the block is finished."""
        return self.commits / block.run / f"{block.number // BLOCKS_PER_FOLDER:06d}" / f"{block.number:09d}.json"

    def attempts(self, block: BlockName) -> Path:
        """Where attempts at ``block`` are staged."""
        return self.staging / f"{block.run}.{block.number:09d}"

    def committed(self, run: str | None = None) -> Iterator[BlockName]:
        """Names of all committed blocks, or of those of one run, in order; from directory listings alone."""
        for place in _folders(self.commits) if run is None else [self.commits / run]:
            for folder in _folders(place):
                for record in sorted(folder.glob("[0-9]*.json")):
                    yield BlockName(place.name, int(record.stem))


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else []
