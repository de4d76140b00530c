"""The restart state: all that a training needs to go on as if it had never stopped, in one file.

Plain NumPy, so that the coordinator reads the position without TensorFlow, and any TensorFlow reads the rest.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.campaign import files
from psdbatch.errors import TrainingError
from psdbatch.training.course import Course

Arrays = Sequence[NDArray[Any]]


@dataclass(frozen=True)
class RestartState:
    """A training between two steps.

    Attributes
    ----------
    epoch
        Epochs that are complete.
    done
        Signals of the next epoch that were used.
    weights, optimiser
        Values of all variables.
    sums
        Running sums of the unfinished epoch, float64.
    course
        Of :class:`psdbatch.training.course.Course`.
    batch
        Signals in a step.
    seconds
        Time that the unfinished epoch has taken so far.
    """

    epoch: int
    done: int
    weights: Arrays
    optimiser: Arrays
    sums: NDArray[np.float64]
    course: dict[str, Any] = field(default_factory=dict)
    batch: int = 0
    seconds: float = 0.0

    def write(self, path: Path) -> None:
        """Replace the state on disk; a reader finds the old one or this one, whole."""
        facts = {
            "epoch": self.epoch,
            "done": self.done,
            "course": self.course,
            "batch": self.batch,
            "seconds": self.seconds,
        }
        arrays = {f"weights_{number:05d}": value for number, value in enumerate(self.weights)}
        arrays |= {f"optimiser_{number:05d}": value for number, value in enumerate(self.optimiser)}
        content = io.BytesIO()
        np.savez(content, facts=_text(facts), sums=self.sums, **arrays)  # type: ignore[arg-type]
        files.replace_durably(path, content.getvalue())

    @classmethod
    def read(cls, path: Path) -> RestartState | None:
        """The state on disk; None if there is none.

        Raises
        ------
        TrainingError
            The file is damaged.
        """
        stored = _read(path)
        if stored is None:
            return None
        facts = json.loads(stored["facts"].tobytes())
        return cls(
            weights=[stored[name] for name in sorted(stored) if name.startswith("weights_")],
            optimiser=[stored[name] for name in sorted(stored) if name.startswith("optimiser_")],
            sums=stored["sums"],
            **facts,
        )


def position(path: Path) -> tuple[int, int]:
    """Complete epochs and used signals of the next one, of the state on disk; (0, 0) without one."""
    facts = _facts(path)
    return (0, 0) if facts is None else (int(facts["epoch"]), int(facts["done"]))


def recorded_course(path: Path) -> Course | None:
    """How the training has gone, by the state on disk; None without one."""
    facts = _facts(path)
    return None if facts is None else Course(**facts["course"])


def _facts(path: Path) -> dict[str, Any] | None:
    stored = _read(path, ("facts",))
    return None if stored is None else json.loads(stored["facts"].tobytes())


def _text(facts: dict[str, Any]) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(facts).encode(), np.uint8)


def _read(path: Path, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]] | None:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in names or stored.files}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise TrainingError(
            f"{path}: the restart state is damaged ({error}); remove the file to begin the training again, without the networks "
            "that were kept so far"
        ) from error
