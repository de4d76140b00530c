"""What ``psdbatch freeze`` is asked for and answers; the work is done by a process that loads TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from psdbatch.models.asking import ask
from psdbatch.models.card import ModelCard


@dataclass(frozen=True)
class FreezeRequest:
    """From which file to which, and what the file itself does not say.

    Attributes
    ----------
    source
        ``.keras``, ``.h5``, SavedModel directory, frozen ``.pb``, or a training directory.
    target
        ``.pb`` file to write; one that exists is replaced when the new one has been found right.
    bare
        Leave the preparation out of the graph.
    config
        ``campaign.toml`` or ``training.toml`` whose [signals], [preparation] and class names hold.
    classes, task
        Class names in the order of the scores, and what the network is for; None: as ``config`` or the training says.
    samples, sample_dtype
        Raw signals that the graph takes; None: those of the training set.
    signals, preparation
        Keys of the sections that differ from ``config``, values as in TOML.
    """

    source: str
    target: str
    bare: bool = False
    config: str | None = None
    classes: tuple[str, ...] | None = None
    task: str | None = None
    samples: int | None = None
    sample_dtype: str | None = None
    signals: Mapping[str, Any] = field(default_factory=dict)
    preparation: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> FreezeRequest:
        """Request from its dictionary as JSON gives it back."""
        classes = record.get("classes")
        return cls(**{**record, "classes": None if classes is None else tuple(classes)})


@dataclass(frozen=True)
class FrozenFile:
    """A frozen file that was written and found right.

    Attributes
    ----------
    path, digest
        The file and the SHA-256 of its bytes.
    card
        What it says of itself.
    difference, tolerance
        Largest difference from the network's own answers, as a fraction of values over 1, and what was allowed.
    """

    path: str
    digest: str
    card: ModelCard
    difference: float
    tolerance: float

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary; :meth:`from_json` is its inverse."""
        return {
            "path": self.path,
            "digest": self.digest,
            "difference": self.difference,
            "tolerance": self.tolerance,
            "card": self.card.to_json(),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> FrozenFile:
        """What :meth:`to_json` made."""
        return cls(**{**record, "card": ModelCard.from_json(record["card"])})


def freeze_in_subprocess(request: FreezeRequest) -> FrozenFile:
    """Freeze a model in another process.

    Raises
    ------
    ModelError
        The model, or what is said about it, cannot be used; nothing was written.
    """
    absolute = {"source": str(Path(request.source).absolute()), "target": str(Path(request.target).absolute())}
    return FrozenFile.from_json(ask("psdbatch.training.freeze", {**asdict(request), **absolute}, request.source))
