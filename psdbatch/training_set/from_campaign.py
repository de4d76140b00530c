"""An earlier campaign as a source: its input files, and the answers that it gave to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from psdbatch.acquisition.index import read_index
from psdbatch.acquisition.signals import Signals
from psdbatch.campaign.prepare import open_campaign
from psdbatch.config.training_set import Source
from psdbatch.errors import TrainingSetError
from psdbatch.training_set.from_files import FileReader, source_file
from psdbatch.training_set.pieces import CERTAIN_LABEL, CERTAINTY
from psdbatch.training_set.sources import PieceReader, SignalSource, SourceFile

Array = NDArray[Any]

EVERYTHING = (0.0, 1.0)
"""The range of certainty that says nothing: signals without an answer are in it too."""


class CampaignSource(SignalSource):
    """Input files of a campaign; the plan says which they are and in which order its results are."""

    def __init__(self, settings: Source) -> None:
        super().__init__(settings)
        self.directory, plan = open_campaign(Path(str(settings.campaign)))
        self._fingerprint = plan.fingerprint
        found = []
        for run in plan.runs:
            first = 0
            for file in run.files:
                index = read_index(self.directory.index / file.index)
                changed = index.changed()
                if changed:
                    raise TrainingSetError(
                        f"{index.path}: {changed}; the results of {self.directory.path} are about the file as it was"
                    )
                found.append(source_file(index, run.name, first))
                first += file.signals
        self.files = tuple(found)
        names = zarr.open_group(self.directory.store, mode="r").attrs.get("classes") or ()
        self._classes = tuple(str(name) for name in cast("list[str]", names))

    @property
    def classes(self) -> tuple[str, ...]:
        return self._classes if self.settings.label.results else ()

    def open(self, file: SourceFile, rows: int) -> PieceReader:
        wanted = {CERTAIN_LABEL: "label"} if self.settings.label.results else {}
        if self.settings.certainty != EVERYTHING:
            wanted[CERTAINTY] = "probability"
        group = zarr.open_group(self.directory.store / file.run, mode="r")
        for column in wanted.values():
            if column not in group:
                raise TrainingSetError(
                    f"{self.directory.path}: source '{self.name}' needs the classes of a classifier, and this campaign has no '{column}'"
                )
        columns = {self.rule.column} if self.rule.column else set()
        answers = {name: Answers(cast("zarr.Array[Any]", group[column])) for name, column in wanted.items()}
        return CampaignReader(FileReader(file, rows, columns, {}), answers, file.first)

    def question(self) -> dict[str, Any]:
        return {
            **{file.path: dict(file.state) for file in self.files},
            f"plan of {self.directory.path}": {"fingerprint": self._fingerprint},
            f"commits of {self.directory.path}": {"blocks": sum(1 for _ in self.directory.committed())},
        }


class Answers:
    """A column of results, read a stored shard at a time."""

    def __init__(self, array: zarr.Array[Any]) -> None:
        self._array = array
        self._step = array.chunks[0]
        self._begin, self._held = 0, np.zeros(0, np.uint8)

    def read(self, first: int, count: int) -> Array:
        """Values number ``first`` to ``first + count``."""
        end = self._begin + len(self._held)
        if first < self._begin or first + count > end:
            self._begin = first // self._step * self._step
            stop = -(-(first + count) // self._step) * self._step
            self._held = np.asarray(self._array[self._begin : stop])
        return self._held[first - self._begin : first - self._begin + count]


class CampaignReader(PieceReader):
    """Signals of a file with the campaign's answers to them; ``offset`` is the file's first signal in its run."""

    def __init__(self, reader: FileReader, answers: dict[str, Answers], offset: int) -> None:
        self._reader, self._answers, self._offset = reader, answers, offset

    def read(self, first: int, count: int) -> tuple[Signals, dict[str, Array]]:
        signals, _ = self._reader.read(first, count)
        known = {name: answers.read(self._offset + first, count) for name, answers in self._answers.items()}
        if CERTAINTY in known:
            known[CERTAINTY] = largest_score(known[CERTAINTY])
        return signals, known

    def close(self) -> None:
        self._reader.close()


def largest_score(probability: Array) -> Array:
    """Score of the most probable class, shape ``(n,)``; NaN without an answer."""
    return np.asarray(probability.reshape(len(probability), -1).max(axis=1))
