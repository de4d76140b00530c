"""Preparation, network and answers as one TensorFlow function of a raw batch, not yet compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from psdbatch.columns import NO_LABEL, Flag
from psdbatch.errors import ModelError
from psdbatch.models import frozen
from psdbatch.models.engine_settings import EngineSettings
from psdbatch.models.outputs import Answers, answers
from psdbatch.models.preparation import prepare
from psdbatch.models.quiet import tf

Function = Callable[[Any], dict[str, Any]]


def inference(settings: EngineSettings, compile_preparation: bool = False) -> Function:
    """From a raw batch, ``(batch, samples)``, to a dictionary of columns, ``(batch, ...)`` each.

    Parameters
    ----------
    compile_preparation
        Compile the preparation on its own; for networks that XLA refuses.

    Raises
    ------
    ModelError
        The model does not fit the signals.
    """
    window = settings.window
    network = frozen.load(settings.facts)
    reading = answers(settings.facts, settings.source)
    dtype, shape = settings.facts.input.dtype, _input_shape(settings.facts.input.shape, window)
    prepared = partial(
        prepare,
        signals=settings.signals,
        preparation=settings.preparation,
        charge=settings.charge,
        pile_up=settings.pile_up,
        length=window,
    )
    if compile_preparation:
        prepared = tf.function(prepared, jit_compile=True, autograph=False)

    def function(raw: Any) -> dict[str, Any]:
        samples, classical = prepared(raw)
        samples = samples[:, :window]  # a graph that prepares raw signals itself takes as many as it was made for
        outputs = network(tf.reshape(tf.cast(samples, dtype), shape))
        _check_rows(outputs, settings, raw.shape[0])
        columns, good = read_answers(outputs, settings, reading)
        bad = tf.cast(tf.where(good, 0, int(Flag.BAD_ANSWER)), tf.uint16)
        return {**columns, **classical, "flags": classical["flags"] | bad}

    return function


def _input_shape(shape: tuple[int | None, ...], window: int) -> list[int]:
    """The model's input shape for any batch: ``(batch, window)``, with further dimensions of 1 where it has them."""
    row = [1 if size == 1 else window for size in shape[1:]]
    return [-1, *row]


def _check_rows(outputs: list[Any], settings: EngineSettings, batch: int) -> None:
    for tensor, values in zip(settings.facts.outputs, outputs, strict=True):
        if values.shape.rank == 0 or values.shape[0] not in (None, batch):
            raise ModelError(
                f"{settings.facts.source}: output '{tensor.name}' has shape {values.shape} for a batch of {batch} signals; "
                "the model must answer signal by signal"
            )


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
    named = {tensor.name: column for tensor, column in reading.others}
    good = tf.constant(True)
    for tensor, values in zip(settings.facts.outputs, outputs, strict=True):
        if values.dtype.is_floating or values.dtype.is_complex:
            magnitude = tf.abs(values) if values.dtype.is_complex else values
            good &= tf.reduce_all(tf.math.is_finite(magnitude), axis=list(range(1, len(values.shape))))
        if reading.scores is not None and tensor.name == reading.scores.name:
            columns.update(_classify(values, settings, reading))
        else:
            columns[named[tensor.name].name] = tf.cast(values, named[tensor.name].dtype)
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
