"""All files of all sources, numbered, with their runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from psdbatch.config.training import TrainingConfig
from psdbatch.errors import TrainingSetError
from psdbatch.training_set.sources import SignalSource, SourceFile
from psdbatch.training_set.splitting import split_runs


@dataclass(frozen=True)
class Place:
    """A file of the set: its number, its source's number, its run's number, and where it begins in its source."""

    number: int
    source: int
    run: int
    offset: int
    file: SourceFile


def number_files(sources: Sequence[SignalSource]) -> tuple[list[Place], list[str]]:
    """All files of all sources, numbered, and the names of their runs."""
    runs: dict[str, int] = {}
    places: list[Place] = []
    seen: dict[str, str] = {}
    for number, source in enumerate(sources):
        offset = 0
        for file in source.files:
            real = str(Path(file.path).resolve())
            if real in seen:
                raise TrainingSetError(
                    f"{file.path}: is in source '{seen[real]}' and in source '{source.name}'; one signal could come into two parts. Make one source of them"
                )
            seen[real] = source.name
            run = runs.setdefault(file.run, len(runs))
            places.append(Place(len(places), number, run, offset, file))
            offset += file.signals
    if len(places) > 65_536:
        raise TrainingSetError(f"{len(places):,} files are more than a set can number (65,536); join some of them")
    return places, list(runs)


def file_groups(
    places: Sequence[Place], runs: Sequence[str], sources: Sequence[SignalSource], config: TrainingConfig
) -> list[int]:
    """Group of strata of each file: one for all, or the part of its run."""
    if config.set.split.by == "signal":
        return [0] * len(places)
    signals: dict[str, Counter[str]] = {run: Counter() for run in runs}
    for place in places:
        signals[runs[place.run]][sources[place.source].name] += place.file.signals
    part = split_runs(signals, config.set.split, config.set.seed)
    return [part[runs[place.run]] for place in places]
