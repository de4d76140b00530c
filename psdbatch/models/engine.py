"""The narrow seam: from a frozen graph and a preparation to a callable from a raw batch to answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.columns import NO_LABEL, Flag
from psdbatch.errors import ModelError, OutOfMemoryError
from psdbatch.models import frozen, preparation
from psdbatch.models.engine_settings import EngineSettings
from psdbatch.models.outputs import Answers, answers
from psdbatch.models.quiet import tf

logger = logging.getLogger(__name__)

Array = NDArray[Any]
Function = Callable[[Any], dict[str, Any]]

_NO_ROOM = ("out of memory", "resource exhausted", "resource_exhausted", "failed to allocate", "bad_alloc")


def configure_tensorflow(threads: int) -> None:
    """Set TensorFlow up for a worker process; only before its first operation, later calls change nothing.

    One thread per operation: the blocks of a worker's threads fill the cores, and operations that spread over all cores
    would only wait for one another.  GPU memory is taken as it is needed.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(max(1, threads))
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:  # already in use
        logger.debug("TensorFlow was already configured")


def device_name() -> str:
    """Name of the device that computes: ``"GPU Tesla V100-SXM2-32GB"`` or ``"CPU"``."""
    for gpu in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        return f"GPU {details.get('device_name', 'unknown')}"
    return "CPU"


class Engine:
    """One compiled static shape: ``batch`` raw signals in, answers out.  May be called from several threads at once.

    Attributes
    ----------
    batch
        Signals in a call.
    compiled
        Whether XLA compiled the graph.
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
            Shape ``(n, samples)``, ``n <= batch``, dtype of the settings.
        out
            Arrays of ``n`` rows by column name; the model's columns, ``amplitude``, ``charge_long``, ``charge_short`` are
            written, ``flags`` (uint16) get further bits.

        Raises
        ------
        OutOfMemoryError
            The device has no room for the batch.
        """
        n = len(samples)
        answered = self.run(samples if n == self.batch else self._padded(samples))
        for name, values in answered.items():
            if name == "flags":
                out[name][:] |= values.numpy()[:n].astype(np.uint16)
            elif name in out:
                out[name][:] = values.numpy()[:n]

    def run(self, samples: Array) -> dict[str, Any]:
        """The compiled function on exactly one batch: tensors by column name.

        Raises
        ------
        OutOfMemoryError
            The device has no room for the batch.
        """
        if self.settings.row_limit is not None and len(samples) > self.settings.row_limit:
            raise OutOfMemoryError(
                f"a batch of {len(samples):,} signals is over the limit of {self.settings.row_limit:,}"
            )
        try:
            return self._function(tf.constant(samples))
        except tf.errors.OpError as error:
            raise _translated(error, self.settings) from error

    def _padded(self, samples: Array) -> Array:
        buffer = getattr(self._spare, "buffer", None)
        if buffer is None:
            buffer = self._spare.buffer = np.zeros((self.batch, self.settings.samples), self.settings.sample_dtype)
        buffer[: len(samples)] = samples
        return np.asarray(buffer)

    def _build(self) -> tuple[Function, bool]:
        plain = build_function(self.settings)
        signature = [tf.TensorSpec((self.batch, self.settings.samples), self.settings.sample_dtype)]
        trial = np.ones((self.batch, self.settings.samples), self.settings.sample_dtype)
        if self.settings.xla:
            function = tf.function(plain, input_signature=signature, jit_compile=True)
            try:
                self._try(function, trial)
                return function, True
            except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError, tf.errors.InternalError) as error:
                logger.warning(
                    "XLA does not compile this model, it runs uncompiled: %s", str(error).strip().split("\n")[0]
                )
        function = tf.function(plain, input_signature=signature)
        try:
            self._try(function, trial)
        except tf.errors.OpError as error:
            raise _translated(error, self.settings) from error
        return function, False

    def _try(self, function: Function, trial: Array) -> None:
        if self.settings.row_limit is not None and self.batch > self.settings.row_limit:
            raise OutOfMemoryError(
                f"a batch of {self.batch:,} signals is over the limit of {self.settings.row_limit:,}"
            )
        try:
            function(tf.constant(trial))
        except tf.errors.ResourceExhaustedError as error:
            raise _translated(error, self.settings) from error


def build_function(settings: EngineSettings) -> Function:
    """Preparation, network and classical quantities as one function of a raw batch, not yet compiled.

    Raises
    ------
    ModelError
        The model does not fit the signals.
    """
    window = settings.window
    network = frozen.load(settings.facts)
    reading = answers(settings.facts, settings.source)
    entry = settings.facts.input
    shape = [-1, *(window if size is None or size == window else size for size in entry.shape[1:])]
    if window == 1:
        shape = [-1, *(1 for _ in entry.shape[1:])]

    def function(raw: Any) -> dict[str, Any]:
        pulse = preparation.pulses(raw, settings.signals)
        prepared = preparation.model_input(pulse, settings.preparation, window) if settings.preparation.enabled else raw
        outputs = network(tf.reshape(tf.cast(prepared, entry.dtype), shape))
        charge_long, charge_short = preparation.charges(pulse, settings.charge)
        bits = preparation.flags(pulse, settings.signals, settings.pile_up)
        columns, good = read_answers(outputs, settings, reading)
        return {
            **columns,
            "amplitude": pulse.amplitude[:, 0],
            "charge_long": charge_long,
            "charge_short": charge_short,
            "flags": bits + tf.where(good, 0, int(Flag.BAD_ANSWER)),
        }

    return function


def read_answers(outputs: list[Any], settings: EngineSettings, reading: Answers) -> tuple[dict[str, Any], Any]:
    """Columns of the model's outputs, and which signals have finite ones.

    Returns
    -------
    columns
        ``probability`` float32 ``(batch, class)``, ``label`` uint8, further outputs by name.
    good
        bool ``(batch,)``.
    """
    columns: dict[str, Any] = {}
    names = {tensor.name: column.name for tensor, column in reading.others}
    good = tf.constant(True)
    for tensor, values in zip(settings.facts.outputs, outputs, strict=True):
        if values.dtype.is_floating:
            finite = tf.math.is_finite(values)
            good &= tf.reduce_all(finite, axis=list(range(1, len(values.shape)))) if len(values.shape) > 1 else finite
        if reading.scores is not None and tensor.name == reading.scores.name:
            columns.update(_classify(values, settings, reading))
        else:
            columns[names[tensor.name]] = values
    if reading.scores is not None:
        columns["label"] = tf.where(good, columns["label"], tf.constant(NO_LABEL, tf.uint8))
        columns["probability"] = tf.where(good[:, None], columns["probability"], float("nan"))
    return columns, good


def _classify(values: Any, settings: EngineSettings, reading: Answers) -> dict[str, Any]:
    scores = tf.cast(values, tf.float32)
    activation = settings.source.activation
    if activation != "none":
        scores = tf.nn.softmax(scores) if activation == "softmax" else tf.sigmoid(scores)
    probability = tf.concat([1.0 - scores, scores], axis=1) if reading.binary else scores
    if len(reading.classes) == 2:  # one comparison; argmax over two numbers costs XLA a loop
        second = probability[:, 1] >= 0.5 if reading.binary else probability[:, 1] > probability[:, 0]
        label = tf.cast(second, tf.uint8)
    else:
        label = tf.cast(tf.argmax(probability, axis=1), tf.uint8)
    return {"probability": probability, "label": label}


def _translated(error: Exception, settings: EngineSettings) -> Exception:
    text = str(error)
    if isinstance(error, tf.errors.ResourceExhaustedError) or any(word in text.lower() for word in _NO_ROOM):
        return OutOfMemoryError(f"{settings.facts.source}: no room on the device: {text.strip().splitlines()[0]}")
    return ModelError(f"{settings.facts.source}: the model fails on a batch: {text.strip().splitlines()[0]}")
