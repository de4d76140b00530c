"""Preparation, network and answers as one TensorFlow function of a raw batch, not yet compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from psdbatch.columns import NO_LABEL, RESIDUAL, Flag
from psdbatch.errors import ModelError
from psdbatch.models import frozen
from psdbatch.models.engine_settings import EngineSettings
from psdbatch.models.facts import ModelFacts
from psdbatch.models.outputs import Answers, answers
from psdbatch.models.preparation import model_input, prepare, pulses
from psdbatch.models.quality_settings import QualitySettings
from psdbatch.models.quiet import tf
from psdbatch.models.residual import in_amplitudes, residual

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
    network = _network(settings.facts, window)
    reading = answers(settings.facts, settings.source, settings.reserved)
    monitor = _monitor(settings.quality) if settings.quality is not None else None
    prepared = _preparation(settings)
    if compile_preparation:
        prepared = tf.function(prepared, jit_compile=True, autograph=False)

    def function(raw: Any) -> dict[str, Any]:
        samples, target, classical = prepared(raw)
        samples = samples[:, :window]  # a graph that prepares raw signals itself takes as many as it was made for
        columns, good = read_answers(network(samples), settings, reading)
        bad = tf.cast(tf.where(good, 0, int(Flag.BAD_ANSWER)), tf.uint16)
        if monitor is not None:
            columns[RESIDUAL.name] = monitor(raw, target)
        return {**columns, **classical, "flags": classical["flags"] | bad}

    return function


def _preparation(settings: EngineSettings) -> Callable[[Any], tuple[Any, Any, dict[str, Any]]]:
    """From a raw batch to what the model gets, what the quality monitor is to reconstruct, and the classical columns.

    What both models need of a signal, XLA finds and computes once.  Without a quality monitor the second is None.
    """
    window = settings.window

    def prepared(raw: Any) -> tuple[Any, Any, dict[str, Any]]:
        samples, classical = prepare(
            raw,
            signals=settings.signals,
            preparation=settings.preparation,
            charge=settings.charge,
            pile_up=settings.pile_up,
            length=window,
        )
        return samples, None if settings.quality is None else _target(raw, settings.quality), classical

    return prepared


def _target(raw: Any, quality: QualitySettings) -> Any:
    """What a quality monitor is to reconstruct, float32 ``(batch, window)``."""
    raw = raw[:, : quality.taken]
    if not quality.preparation.enabled:
        return tf.cast(raw[:, : quality.window], tf.float32)
    return model_input(pulses(raw, quality.signals), quality.preparation, quality.window)


def _monitor(quality: QualitySettings) -> Callable[[Any, Any], Any]:
    """From a raw batch and what is to be reconstructed of it to residuals, float32 ``(batch,)``; NaN where none is finite."""
    facts = replace(quality.facts, outputs=(quality.reconstruction,))  # what else the graph answers is not computed
    network = _network(facts, quality.input.window)

    def monitor(raw: Any, target: Any) -> Any:
        raw = raw[:, : quality.taken]
        answer = network(raw if quality.inside else target)[0]
        if answer.shape[1:].num_elements() not in (None, quality.window):
            raise ModelError(
                f"{facts.source}: output '{facts.outputs[0].name}' has shape {answer.shape} for signals of {quality.window} samples; "
                "a reconstruction has the shape of the signal"
            )
        left = residual(target, tf.cast(tf.reshape(answer, target.shape), tf.float32))
        if not quality.normalised:
            left = in_amplitudes(left, tf.cast(pulses(raw, quality.signals).amplitude[:, 0], tf.float32))
        return tf.where(tf.math.is_finite(left), left, float("nan"))

    return monitor


def _network(facts: ModelFacts, window: int) -> Callable[[Any], list[Any]]:
    """The graph as a function of ``(batch, window)``, whatever shape and dtype it takes."""
    graph = frozen.load(facts)
    row = [1 if size == 1 else window for size in facts.input.shape[1:]]

    def network(samples: Any) -> list[Any]:
        outputs = graph(tf.reshape(tf.cast(samples, facts.input.dtype), [-1, *row]))
        _check_rows(outputs, facts, samples.shape[0])
        return outputs

    return network


def _check_rows(outputs: list[Any], facts: ModelFacts, batch: int) -> None:
    for tensor, values in zip(facts.outputs, outputs, strict=True):
        if values.shape.rank == 0 or values.shape[0] not in (None, batch):
            raise ModelError(
                f"{facts.source}: output '{tensor.name}' has shape {values.shape} for a batch of {batch} signals; "
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
