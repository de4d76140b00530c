"""Engines of a process: made once, with the batch size of the device, halved when memory runs out."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from psdbatch.errors import OutOfMemoryError
from psdbatch.models.batch_size import remembered_batch
from psdbatch.models.engine_settings import EngineSettings
from psdbatch.models.process_memory import Share

if TYPE_CHECKING:
    from psdbatch.models.engine import Engine

logger = logging.getLogger(__name__)

Array = NDArray[Any]


class BatchedEngine:
    """An engine that survives running out of memory.  May be called from several threads at once.

    Attributes
    ----------
    batch
        Signals that a call takes; stays the same when the device gets smaller batches.
    required, residual_required
        Samples that a signal must have for an answer, and for a residual (0 without a quality monitor).
    device
        Name of the device.
    """

    def __init__(self, settings: EngineSettings, batch: int, device: str = "") -> None:
        self.batch = batch
        self.required = settings.required
        self.residual_required = settings.quality.required if settings.quality is not None else 0
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
        """The compiled function alone, on up to one device batch; read the answers before the next call."""
        return self._engine.run(samples)

    def buffer(self, rows: int) -> Array:
        """Array for ``rows`` raw signals that the device takes without a copy when it is filled to ``batch`` rows."""
        from psdbatch.models.engine import aligned

        return aligned(rows, self._settings.samples, self._settings.sample_dtype)

    def _halve(self, failed: Engine) -> None:
        with self._lock:
            if self._engine is failed:  # else another thread has done it
                self._engine = self._fitting(failed.batch // 2)

    def _fitting(self, batch: int) -> Engine:
        """Engine for the largest of ``batch``, half of it, ... that the device has room for."""
        from psdbatch.models.engine import Engine

        while batch:
            try:
                engine = Engine(self._settings, batch)
            except OutOfMemoryError:
                batch //= 2
                continue
            if batch < self.batch:
                logger.warning("out of memory: the device gets batches of %d signals from now on", batch)
            return engine
        raise OutOfMemoryError(f"{self._settings.facts.source}: not even one signal fits into the device's memory")


_engines: dict[str, BatchedEngine] = {}
_engines_lock = threading.Lock()


def engine_for(
    settings: EngineSettings, batch: int | Literal["auto"], directory: Path, share: Share | None = None
) -> BatchedEngine:
    """The process's engine for ``settings``, made on the first call.

    Parameters
    ----------
    batch
        Signals in a call, or ``"auto"``: measured on the device, once per campaign and kind of device.
    directory
        Where measured batch sizes are kept; processes that measure at the same time agree on the first one written.
    share
        The process's memory, which a measured batch must fit into; None: without a limit.

    Raises
    ------
    ModelError
        The model does not fit.
    """
    key = f"{batch} {directory} {settings!r}"
    with _engines_lock:
        if key not in _engines:
            _engines[key] = _make(settings, batch, directory, share)
        return _engines[key]


def _make(
    settings: EngineSettings, batch: int | Literal["auto"], directory: Path, share: Share | None
) -> BatchedEngine:
    from psdbatch.models.engine import configure_tensorflow, device_name

    configure_tensorflow(len(os.sched_getaffinity(0)))
    device = device_name()
    if batch == "auto":
        batch = remembered_batch(settings, device, directory, share)
    return BatchedEngine(settings, batch, device)
