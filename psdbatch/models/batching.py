"""The batch size: measured on the device, remembered, halved when memory runs out."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from psdbatch.errors import OutOfMemoryError
from psdbatch.models.engine_settings import EngineSettings

if TYPE_CHECKING:
    from psdbatch.models.engine import Engine

logger = logging.getLogger(__name__)

Array = NDArray[Any]

SMALLEST, LARGEST = 256, 262_144
GOOD_ENOUGH = 0.95
"""The smallest batch that reaches this part of the best pace is taken: it needs least memory."""

MEASURE = 0.25  # seconds per candidate
PATIENCE = 2  # candidates in a row that may be slower than the best before the search ends


class BatchedEngine:
    """An engine that survives running out of memory.  May be called from several threads at once.

    Attributes
    ----------
    batch
        Signals that a call takes; stays the same when the device gets smaller batches.
    required
        Samples that a signal must have for an answer.
    device
        Name of the device.
    """

    def __init__(self, settings: EngineSettings, batch: int, device: str = "") -> None:
        self.batch = batch
        self.required = settings.required
        self.device = device
        self._settings = settings
        self._lock = threading.Lock()
        self._engine = self._fitting(batch)

    @property
    def device_batch(self) -> int:
        """Signals that the device gets at a time now."""
        return self._engine.batch

    def infer(self, samples: Array, out: Mapping[str, Array]) -> None:
        """As :meth:`psdbatch.models.engine.Engine.infer`; a batch that does not fit is split.

        Raises
        ------
        OutOfMemoryError
            Not even a single signal fits.
        """
        done = 0
        while done < len(samples):
            engine = self._engine
            part = slice(done, min(done + engine.batch, len(samples)))
            try:
                engine.infer(samples[part], {name: values[part] for name, values in out.items()})
                done = part.stop
            except OutOfMemoryError:
                self._halve(engine)

    def run(self, samples: Array) -> dict[str, Any]:
        """The compiled function alone, on exactly one device batch."""
        return self._engine.run(samples)

    def _halve(self, failed: Engine) -> None:
        with self._lock:
            if self._engine is failed:  # else another thread has done it
                if failed.batch == 1:
                    raise OutOfMemoryError(f"{self._settings.facts.source}: not even one signal fits into memory")
                self._engine = self._fitting(failed.batch // 2)

    def _fitting(self, batch: int) -> Engine:
        from psdbatch.models.engine import Engine

        while True:
            try:
                engine = Engine(self._settings, batch)
            except OutOfMemoryError:
                if batch == 1:
                    raise
                batch //= 2
                continue
            if batch < self.batch:
                logger.warning("out of memory: the device gets batches of %d signals from now on", batch)
            return engine


_engines: dict[str, BatchedEngine] = {}
_engines_lock = threading.Lock()


def engine_for(settings: EngineSettings, batch: int | Literal["auto"], directory: Path) -> BatchedEngine:
    """The process's engine for ``settings``, made on the first call.

    Parameters
    ----------
    batch
        Signals in a call, or ``"auto"``: measured on the device, once per campaign and kind of device.
    directory
        Where measured batch sizes are kept; processes that measure at the same time agree on the first one written.

    Raises
    ------
    ModelError
        The model does not fit.
    """
    key = f"{batch} {directory} {settings!r}"
    with _engines_lock:
        if key not in _engines:
            _engines[key] = _make(settings, batch, directory)
        return _engines[key]


def _make(settings: EngineSettings, batch: int | Literal["auto"], directory: Path) -> BatchedEngine:
    from psdbatch.models.engine import configure_tensorflow, device_name

    configure_tensorflow(len(os.sched_getaffinity(0)))
    device = device_name()
    if batch == "auto":
        batch = _remembered(settings, device, directory)
    return BatchedEngine(settings, batch, device)


def _remembered(settings: EngineSettings, device: str, directory: Path) -> int:
    """The batch size measured for this model, preparation and device, by this or another process."""
    question = repr(replace(settings, facts=replace(settings.facts, path="", source="")))
    path = directory / f"batch-{hashlib.sha256(f'{device} {question}'.encode()).hexdigest()[:16]}.json"
    if not path.exists():
        paces = measure_batches(settings)
        record = {
            "device": device,
            "batch": choose(paces),
            "signals_per_second": {str(size): pace for size, pace in paces.items()},
        }
        partial = path.with_suffix(f".{os.getpid()}.partial")
        directory.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(record, indent=1))
        try:
            os.link(partial, path)
        except FileExistsError:
            logger.debug("another process measured the batch size first")
        finally:
            partial.unlink()
    return int(json.loads(path.read_text())["batch"])


def choose(paces: Mapping[int, float]) -> int:
    """The smallest batch that is nearly as fast as the fastest."""
    best = max(paces.values())
    return min(size for size, pace in paces.items() if pace >= GOOD_ENOUGH * best)


def measure_batches(
    settings: EngineSettings, make: Callable[[EngineSettings, int], Engine] | None = None, seconds: float = MEASURE
) -> dict[int, float]:
    """Signals per second for batch sizes of powers of two, until larger ones are slower or do not fit.

    Raises
    ------
    OutOfMemoryError
        Not even the smallest batch fits.
    """
    paces: dict[int, float] = {}
    slower = 0
    for size in _sizes():
        try:
            paces[size] = _pace(settings, size, make, seconds)
        except OutOfMemoryError:
            if size == 1:
                raise
            if not paces:
                return {size // 2: 1.0} if size > 1 else {1: 1.0}
            break
        slower = 0 if paces[size] >= max(paces.values()) else slower + 1
        if slower >= PATIENCE:
            break
    return paces


def _sizes() -> Iterator[int]:
    size = SMALLEST
    while size <= LARGEST:
        yield size
        size *= 2


def _pace(
    settings: EngineSettings, size: int, make: Callable[[EngineSettings, int], Engine] | None, seconds: float
) -> float:
    from psdbatch.models.engine import Engine

    engine = (make or Engine)(settings, size)
    raw = _noise(settings, size)
    best = 0.0
    end = time.perf_counter() + seconds
    while True:
        started = time.perf_counter()
        answered = engine.run(raw)
        answered["amplitude"].numpy()  # a device answers later than it returns
        now = time.perf_counter()
        best = max(best, size / (now - started))
        if now > end:
            return best


def _noise(settings: EngineSettings, size: int) -> Array:
    """Pulses-like integers; their values do not matter for the time, but denormal numbers would."""
    high = 2 ** min(settings.signals.adc_bits, 14) - 1
    return np.random.default_rng(0).integers(0, high, (size, settings.samples)).astype(settings.sample_dtype)
