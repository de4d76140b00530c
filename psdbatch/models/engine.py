"""The narrow seam: from a frozen graph and a preparation to a callable from a raw batch to answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from psdbatch.errors import DeviceError, ModelError, OutOfMemoryError
from psdbatch.models.engine_settings import EngineSettings
from psdbatch.models.inference import Function, inference
from psdbatch.models.quiet import tf

logger = logging.getLogger(__name__)

Array = NDArray[Any]

ALIGNMENT = 64
"""Bytes to which TensorFlow aligns tensors; it takes over memory that is aligned and has to copy the rest."""

_NO_ROOM = ("out of memory", "resource exhausted", "resource_exhausted", "failed to allocate", "bad_alloc")


def configure_tensorflow(threads: int, gpu_memory_growth: bool = True) -> None:
    """Set TensorFlow up for a worker process; only before its first operation, later calls change nothing.

    One thread per operation: the blocks of a worker's threads fill the cores, and operations that spread over all cores
    would only wait for one another.  No TensorFloat-32: GPUs since the A100 round the inputs of matrix products to 10 bits by
    default, and would answer differently from all older GPUs and from CPUs.

    Parameters
    ----------
    threads
        Threads that infer at the same time.
    gpu_memory_growth
        Take GPU memory as it is needed rather than all at once.
    """
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(max(1, threads))
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, gpu_memory_growth)
    except RuntimeError:  # already in use
        logger.debug("TensorFlow was already configured")


def device_name() -> str:
    """Name of the device that computes: ``"GPU Tesla V100-SXM2-32GB"`` or ``"CPU"``."""
    for gpu in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        return f"GPU {details.get('device_name', 'unknown')}"
    return "CPU"


def aligned(rows: int, samples: int, dtype: DTypeLike) -> Array:
    """Zeroed array ``(rows, samples)`` that TensorFlow takes over without a copy."""
    size = rows * samples * np.dtype(dtype).itemsize
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(rows, samples)


class Engine:
    """One compiled static shape: ``batch`` raw signals in, answers out.  May be called from several threads at once.

    Attributes
    ----------
    batch
        Signals in a call.
    compiled
        Whether XLA compiled the whole graph.
    """

    def __init__(self, settings: EngineSettings, batch: int) -> None:
        self.settings = settings
        self.batch = batch
        self._spare = threading.local()
        self._function, self.compiled = self._build()

    def infer(self, samples: Array, out: Mapping[str, Array]) -> None:
        """Answers of up to ``batch`` raw signals.

        Parameters
        ----------
        samples
            Shape ``(n, samples)``, ``n <= batch``, dtype of the settings.  Fastest when made by :func:`aligned`.
        out
            Arrays of ``n`` rows by column name; the model's columns, ``amplitude``, ``charge_long``, ``charge_short`` are
            written, ``flags`` (uint16) get further bits.

        Raises
        ------
        OutOfMemoryError
            The device has no room for the batch.
        DeviceError
            The device fails.
        """
        n = len(samples)
        answers = self.run(samples)
        try:
            for name, values in answers.items():
                if name == "flags":
                    out[name][:] |= values.numpy()[:n]
                elif name in out:
                    out[name][:] = values.numpy()[:n]
        except (tf.errors.OpError, MemoryError) as error:  # a GPU works on after the call has returned
            raise _translated(error, self.settings) from error

    def run(self, samples: Array) -> dict[str, Any]:
        """The compiled function on up to ``batch`` signals: tensors of ``batch`` rows by column name.

        The tensors must be read before the thread's next call.

        Raises
        ------
        OutOfMemoryError
            The device has no room for the batch.
        """
        self._check_limit()
        try:
            return self._function(self._tensor(samples))
        except (tf.errors.OpError, MemoryError) as error:
            raise _translated(error, self.settings) from error

    def _tensor(self, samples: Array) -> Any:
        """The batch as a tensor over the same memory; what is short, unaligned or scattered goes through a buffer.

        ``tf.constant`` would copy to new memory at every call, which costs half as much as the computation.
        """
        usable = samples.flags.c_contiguous and samples.flags.writeable and samples.ctypes.data % ALIGNMENT == 0
        if len(samples) < self.batch or not usable or samples.dtype != self.settings.sample_dtype:
            buffer = getattr(self._spare, "buffer", None)
            if buffer is None:
                buffer = self._spare.buffer = aligned(self.batch, self.settings.samples, self.settings.sample_dtype)
            buffer[: len(samples)] = samples
            samples = buffer
        return tf.experimental.dlpack.from_dlpack(samples.__dlpack__())

    def _check_limit(self) -> None:
        limit = self.settings.row_limit
        if limit is not None and self.batch > limit:
            raise OutOfMemoryError(f"a batch of {self.batch:,} signals is over the limit of {limit:,}")

    def _build(self) -> tuple[Function, bool]:
        """The function, compiled as far as XLA goes: whole, or its preparation alone, or nothing of it."""
        self._check_limit()
        settings = self.settings
        if settings.xla:
            try:
                return self._tried(inference(settings), compile_whole=True), True
            except tf.errors.OpError as error:
                what = "this model" if settings.quality is None else f"this model with {settings.quality.facts.source}"
                self._note_refusal(f"XLA does not compile {what}, its graph runs uncompiled", error)
            try:
                return self._tried(inference(settings, compile_preparation=True), compile_whole=False), False
            except tf.errors.OpError as error:
                self._note_refusal("XLA does not compile the preparation either, it runs uncompiled too", error)
        try:
            return self._tried(inference(settings), compile_whole=False), False
        except tf.errors.OpError as error:
            raise _translated(error, settings) from error

    def _note_refusal(self, message: str, error: Exception) -> None:
        """Go on without XLA, unless it is memory that fails."""
        if _is_no_room(error):
            raise _translated(error, self.settings) from error
        logger.warning("%s: %s: %s", self.settings.facts.source, message, _first_line(error))

    def _tried(self, function: Callable[[Any], Any], compile_whole: bool) -> Function:
        """The function made for one static shape, after a first call."""
        shape = tf.TensorSpec((self.batch, self.settings.samples), self.settings.sample_dtype)
        traced = tf.function(function, input_signature=[shape], jit_compile=compile_whole or None, autograph=False)
        try:
            concrete: Function = traced.get_concrete_function()
        except ModelError:
            raise
        except (ValueError, TypeError) as error:
            raise ModelError(f"{self.settings.facts.source}: the model does not fit: {_first_line(error)}") from error
        trial = aligned(self.batch, self.settings.samples, self.settings.sample_dtype)
        concrete(self._tensor(trial))
        return concrete


_OF_THE_MODEL = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError, tf.errors.NotFoundError)
"""What a graph does to itself, on any device; everything else (internal, unknown, unavailable, ...) is the device's."""


def _is_no_room(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, (tf.errors.ResourceExhaustedError, MemoryError)) or any(word in text for word in _NO_ROOM)


def _translated(error: BaseException, settings: EngineSettings) -> Exception:
    if _is_no_room(error):
        return OutOfMemoryError(f"{settings.facts.source}: no room on the device: {_first_line(error)}")
    if isinstance(error, _OF_THE_MODEL):
        return ModelError(f"{settings.facts.source}: the model fails on a batch: {_first_line(error)}")
    return DeviceError(f"the device fails: {type(error).__name__}: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
