"""From sources to a stored training set: survey, quotas, choice, shuffle, writing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.config.training import TrainingConfig
from psdbatch.errors import PsdbatchError, StorageError, TrainingSetError
from psdbatch.training_set.checks import check_labels, check_layout, check_parts
from psdbatch.training_set.choose import Choice, choose, gather
from psdbatch.training_set.columns import set_columns
from psdbatch.training_set.facts import PARTS
from psdbatch.training_set.grid import Grid
from psdbatch.training_set.opening import open_source
from psdbatch.training_set.order import order_plot
from psdbatch.training_set.places import Place, file_groups, number_files
from psdbatch.training_set.provenance import set_facts
from psdbatch.training_set.question import check_same
from psdbatch.training_set.shuffle import Buckets, row_dtype
from psdbatch.training_set.sources import SignalSource
from psdbatch.training_set.store import StoredSet, open_set
from psdbatch.training_set.strata import make_strata
from psdbatch.training_set.survey import Counting, Counts, FileSurvey, survey_file
from psdbatch.training_set.writing import SetWriter, Staging

Array = NDArray[Any]
Report = Callable[[str, int, int], None]
"""Called with a stage (``survey``, ``gather``, ``write``), signals done and signals in all."""

THREADS = 8


def build_set(config: TrainingConfig, report: Report | None = None) -> StoredSet:
    """The training set that ``[set]`` describes: built, or opened if it exists and was made of the same.

    Nothing appears under its name before it is complete.  Beside it, ``NAME.order.png`` shows the fraction of each class against the
    position in each source.

    Parameters
    ----------
    config
        The whole configuration; ``[set]``, ``[signals]``, ``[charge]`` and ``[pile_up]`` matter here.
    report
        Told about progress, from several threads.

    Raises
    ------
    PsdbatchError
        Sources, rules or quotas do not do, files cannot be read, or the directory holds another set.
    """
    if config.set.path is None:
        raise TrainingSetError("the set has no path; read the configuration with read_training")
    path = Path(config.set.path)
    if path.exists():
        stored = open_set(path)
        check_same(stored, config)
        return stored
    if not config.set.sources:
        raise TrainingSetError(f"{path}: there is no training set, and [set] names no sources to build it from")
    sources = [open_source(settings, config.set.split.run) for settings in config.set.sources]
    for source in sources:
        source.prepare(config.set.classes)
    places, runs = number_files(sources)
    check_layout(sources, config.signals)
    try:
        with Staging(path) as staging:
            return _build(config, path, sources, places, runs, staging.path, report or _silent)
    except PsdbatchError:
        raise
    except OSError as error:
        raise StorageError(f"{path}: the training set cannot be built: {error.strerror or error}") from error


def _build(
    config: TrainingConfig,
    path: Path,
    sources: list[SignalSource],
    places: list[Place],
    runs: list[str],
    scratch: Path,
    report: Report,
) -> StoredSet:
    settings = config.set
    grid = Grid(np.array(settings.energies, np.float64) if settings.energies else None)
    counting = Counting(len(settings.classes), config.signals, config.charge, config.pile_up, grid, settings.channels)
    groups = file_groups(places, runs, sources, config)
    counts = Counts(grid.steps, 3 if settings.split.by == "run" else 1)
    surveys = _survey(sources, places, counting, counts, groups, scratch, report)
    check_labels(sources, places, surveys, settings.classes)
    strata, codes = make_strata(counts, settings, grid)
    sizes = dict(zip(PARTS, (int(size) for size in strata.take.sum(axis=(0, 1))), strict=True))
    check_parts(sizes, strata, config)
    keys = [_keys(settings.seed, place) for place in places]
    choices = choose(strata, counts, codes, list(zip(surveys, groups, strict=True)), keys)
    facts = set_facts(config, sources, places, runs, surveys, strata)
    dtype = row_dtype(set_columns(facts.samples, facts.sample_dtype))
    total = sum(sizes.values())
    with Buckets(scratch, dtype, list(sizes.values())) as buckets, SetWriter(path, facts, sizes) as writer:
        _gather(sources, places, choices, counting, buckets, report, total)
        written = 0
        for part, rows in buckets:
            writer.append(PARTS[part], {name: rows[name] for name in dtype.names or ()})
            written += len(rows)
            report("write", written, total)
    stored = open_set(path)
    order_path(stored).unlink(missing_ok=True)  # of a set that was there before
    order_picture(stored)
    return stored


def order_path(stored: StoredSet) -> Path:
    """Where the plot of the order of the sources lies."""
    return stored.path.with_name(f"{stored.path.stem}.order.png")


def order_picture(stored: StoredSet) -> Path:
    """Plot of class fraction against position in each source, beside the set; drawn if it is not there."""
    path = order_path(stored)
    sources = stored.facts.provenance.get("sources")
    if path.exists() or not sources:
        return path
    alarmed = [source["name"] for source in sources if source["alarm"]]
    order_plot(
        path, stored.facts.classes, {source["name"]: np.array(source["positions"]) for source in sources}, alarmed
    )
    return path


def _survey(
    sources: Sequence[SignalSource],
    places: Sequence[Place],
    counting: Counting,
    counts: Counts,
    groups: Sequence[int],
    scratch: Path,
    report: Report,
) -> list[FileSurvey]:
    total = sum(place.file.signals for place in places)

    def survey(place: Place) -> FileSurvey:
        codes, group = scratch / f"codes-{place.number:05d}", groups[place.number]
        return survey_file(sources[place.source], place.file, place.offset, counting, counts, group, codes)

    found, done = [], 0
    with _threads() as pool:
        for place, result in zip(places, pool.map(survey, places), strict=True):
            found.append(result)
            done += place.file.signals
            report("survey", done, total)
    return found


def _gather(
    sources: Sequence[SignalSource],
    places: Sequence[Place],
    choices: Sequence[Choice],
    counting: Counting,
    buckets: Buckets,
    report: Report,
    total: int,
) -> None:
    from threading import Lock

    lock, done = Lock(), 0

    def take(place: Place) -> None:
        nonlocal done
        constants = {"source": place.source, "run": place.run, "file": place.number}
        for rows in gather(sources[place.source], place.file, choices[place.number], counting, constants):
            with lock:
                buckets.add(rows)
                done += len(rows)
                report("gather", done, total)

    with _threads() as pool:
        list(pool.map(take, places))


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for files: reading, decompression and kernels run side by side.  After an error no further file is begun."""
    pool = ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _keys(seed: int, place: Place) -> tuple[np.uint64, np.uint64]:
    """Keys of a file's random numbers, for the choice and for the order; they follow from seed, source and file."""
    text = hashlib.sha256(f"{seed} {place.source} {place.number}".encode()).digest()
    return np.frombuffer(text, "<u8")[0], np.frombuffer(text, "<u8")[1]


def _silent(stage: str, done: int, total: int) -> None:
    return
