"""The file of a user's own network function: kept and known again, so that no training goes on with another network."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from psdbatch.config.training import TrainingConfig
from psdbatch.errors import TrainingError
from psdbatch.networks.own import file_of
from psdbatch.training.directory import TrainingDirectory


@dataclass(frozen=True)
class FunctionFile:
    """A file with a network function as it is now."""

    path: Path
    content: bytes

    @property
    def digest(self) -> str:
        """SHA-256."""
        return hashlib.sha256(self.content).hexdigest()


def function_file(config: TrainingConfig) -> FunctionFile | None:
    """The file of ``network.function``; None for a network of the collection, and where the function has no file."""
    path = file_of(config.network.function) if config.network.function else None
    return None if path is None else FunctionFile(path, path.read_bytes())


def recorded_digest(directory: TrainingDirectory) -> str | None:
    """SHA-256 of the file with which the training began; None for a network of the collection."""
    if not directory.identity.exists():
        return None
    found: str | None = json.loads(directory.identity.read_bytes())["function"]
    return found


def check_function(directory: TrainingDirectory, config: TrainingConfig) -> None:
    """Refuse a function whose file is not the one with which the training began.

    Raises
    ------
    TrainingError
        It is another one.
    """
    expected, found = recorded_digest(directory), function_file(config)
    if (
        expected is None or found is None or found.digest == expected
    ):  # a file that is gone is missed where it is loaded
        return
    raise TrainingError(
        f"{found.path}: the file of 'network.function' has changed since the training in {directory.path} began "
        f"(SHA-256 {found.digest[:12]}, was {expected[:12]}), so it would make another network. {directory.function} is "
        "the file as it was: bring it back to go on or to freeze, or name another directory in 'training' for the new network"
    )
