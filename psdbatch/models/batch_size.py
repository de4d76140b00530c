"""The batch size: measured on the device, remembered."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.errors import OutOfMemoryError
from psdbatch.models import process_memory
from psdbatch.models.engine_settings import EngineSettings
from psdbatch.models.process_memory import Share

if TYPE_CHECKING:
    from psdbatch.models.engine import Engine

logger = logging.getLogger(__name__)

SMALLEST, FIRST, LARGEST = 256, 4096, 262_144
"""Candidates are powers of two; the search goes up from the middle one, then down, for each costs a compilation."""

GOOD_ENOUGH = 0.95
"""The largest batch that reaches this part of the best pace is taken: every call costs the interpreter the same."""

SECONDS = 0.25
"""Time given to a candidate."""

PATIENCE = 2
"""Larger candidates in a row that may be slower than the best before the search turns."""

Make = Callable[[EngineSettings, int], "Engine"]


def remembered_batch(settings: EngineSettings, device: str, directory: Path, share: Share | None = None) -> int:
    """The batch size measured for this model, preparation and device, by this or another process.

    Parameters
    ----------
    directory
        Where measured batch sizes are kept.  The first process that writes its result wins, so that all agree.
    share
        As in :func:`measure_batches`.
    """
    path = directory / f"batch-{_question(settings, device, share)}.json"
    known = _read(path)
    if known is not None:
        return known
    paces = measure_batches(settings, share=share)
    record = {
        "device": device,
        "batch": choose(paces),
        "signals_per_second": {str(size): paces[size] for size in paces},
    }
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=directory, suffix=".partial") as partial:
        json.dump(record, partial, indent=1)
        partial.flush()
        os.fsync(partial.fileno())
        try:
            os.link(partial.name, path)
        except FileExistsError:
            logger.debug("another process measured the batch size first")
    return _read(path) or choose(paces)


def choose(paces: Mapping[int, float]) -> int:
    """The largest batch that is nearly as fast as the fastest."""
    best = max(paces.values())
    return max(size for size, pace in paces.items() if pace >= GOOD_ENOUGH * best)


def measure_batches(
    settings: EngineSettings, make: Make | None = None, seconds: float = SECONDS, share: Share | None = None
) -> dict[int, float]:
    """Signals per second of batch sizes around the best one.

    A device without room says so and goes on; a worker process that takes more than its share is ended.  So a size is
    tried only if twice the memory that half of it took fits, and counts only if it fitted itself.

    Parameters
    ----------
    make
        Makes the engine for a batch size; default: the one of TensorFlow.
    seconds
        Time given to each size.
    share
        The process's memory; None: without a limit.

    Raises
    ------
    OutOfMemoryError
        Not even a single signal fits.
    """
    paces: dict[int, float] = {}
    room = math.inf if share is None else share.room()
    base = process_memory.resident()
    taken: float = 0
    slower, size = 0, FIRST
    while size <= LARGEST and slower < PATIENCE and 2 * taken <= room:
        taken = _measure(paces, settings, size, make, seconds) - base
        if taken > room:
            paces.pop(size, None)
        if size not in paces:
            break
        slower = 0 if paces[size] >= max(paces.values()) else slower + 1
        size *= 2
    for size in _downwards(FIRST // 2):
        taken = _measure(paces, settings, size, make, seconds) - base
        if taken > room and size > SMALLEST:
            paces.pop(size, None)
        elif size in paces and (size <= SMALLEST or paces[size] < GOOD_ENOUGH * max(paces.values())):
            break
    if not paces:
        raise OutOfMemoryError(f"{settings.facts.source}: not even one signal fits into the device's memory")
    return paces


def _downwards(size: int) -> Iterator[int]:
    while size:
        yield size
        size //= 2


def _measure(paces: dict[int, float], settings: EngineSettings, size: int, make: Make | None, seconds: float) -> float:
    """Add the pace of one size; the most memory that the process had (bytes), infinite if the device has no room for it.

    Making the engine counts too, and what earlier sizes have left behind: freed memory stays with a worker's process.
    """
    from psdbatch.models.engine import Engine, aligned

    process_memory.forget_peak()
    raw = aligned(size, settings.samples, settings.sample_dtype)
    raw[:] = _noise(settings, size)
    best, end = 0.0, 0.0
    try:
        engine = (make or Engine)(settings, size)
        while not best or time.perf_counter() < end:
            started = time.perf_counter()
            end = end or started + seconds
            engine.run(raw)["amplitude"].numpy()  # a device answers later than it returns
            best = max(best, size / (time.perf_counter() - started))
    except OutOfMemoryError:
        return math.inf
    paces[size] = best
    return process_memory.peak()


def _noise(settings: EngineSettings, size: int) -> NDArray[Any]:
    """Integers over the ADC range; what they say does not matter for the time."""
    high = 2 ** min(settings.signals.adc_bits, 14) - 1
    return np.random.default_rng(0).integers(0, high, (size, settings.samples), np.uint16)


def _question(settings: EngineSettings, device: str, share: Share | None) -> str:
    """Digest of what the pace depends on."""
    from psdbatch.models.quiet import tf

    facts = replace(settings.facts, path="", source="", source_digest="")
    asked = replace(settings, facts=facts, source=settings.source.model_copy(update={"path": ""}))
    if settings.quality is not None:
        watching = replace(settings.quality.facts, path="", source="", source_digest="")
        asked = replace(asked, quality=replace(settings.quality, facts=watching))
    return hashlib.sha256(f"{device} {tf.__version__} {share} {asked!r}".encode()).hexdigest()[:16]


def _read(path: Path) -> int | None:
    try:
        return int(json.loads(path.read_bytes())["batch"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        logger.warning("%s: is damaged; the batch size is measured again", path)
        path.unlink(missing_ok=True)
        return None
