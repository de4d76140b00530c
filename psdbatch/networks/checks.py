"""Whether a model fits the signals and its task: looked at before the training, and tried on some signals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.errors import ModelError
from psdbatch.models.quiet import tf
from psdbatch.networks.chance import Key
from psdbatch.networks.example import Example
from psdbatch.networks.task import Outputs, Task, both_classes, run

_TRIAL = 4
"""Signals that a new model is tried on."""


def check_network(model: Any, task: Task, samples: int, classes: int, name: str) -> None:
    """Try an untrained model.

    Parameters
    ----------
    samples
        Prepared samples of a signal.
    name
        What a message calls the network.

    Raises
    ------
    ModelError
        It is no Keras model, takes or gives something else than the task needs, or fails on signals.
    """
    _check_input(model, samples, name)
    _check_outputs(model, task, samples, classes, name)
    trial = _example(samples)
    try:
        plain = run(model, trial, training=False)  # in training, a normalisation would take note of these signals
        loss = task.loss(task.answers(model, trial, False), trial)
    except Exception as error:
        raise ModelError(f"{name}: fails on signals: {_first_line(error)}") from None
    _check_answers(plain, task, name)
    if loss.shape != (_TRIAL,):
        raise ModelError(
            f"{name}: the loss of {_TRIAL} signals has shape {tuple(loss.shape)}; it must be one number per signal"
        )
    if not np.isfinite(loss.numpy()).all():
        raise ModelError(f"{name}: the loss of an untrained network is {loss.numpy()[0]}; look at its last layers")


def _check_input(model: Any, samples: int, name: str) -> None:
    if not isinstance(model, tf.keras.Model):
        kind = type(model).__name__
        raise ModelError(
            f"{name}: gives {kind}, not a Keras model of this TensorFlow ({tf.__version__}); return a model"
        )
    entries = getattr(model, "inputs", None)
    if not entries:
        raise ModelError(f"{name}: the model does not say what it takes; begin it with tf.keras.Input(({samples},))")
    if len(entries) != 1:
        raise ModelError(f"{name}: the model has {len(entries)} inputs; a signal is one")
    shape = tuple(entries[0].shape)
    if shape != (None, samples):
        raise ModelError(
            f"{name}: the model takes {shape}; prepared signals are (None, {samples}) ('preparation.length')"
            f"; use the argument 'samples', and add dimensions inside of the model"
        )
    dtype = tf.as_dtype(entries[0].dtype).name
    if dtype != "float32":
        raise ModelError(f"{name}: the model takes {dtype}; prepared signals are float32")


def _check_outputs(model: Any, task: Task, samples: int, classes: int, name: str) -> None:
    shapes = [tuple(output.shape) for output in tf.nest.flatten(model.outputs)]
    listed = ", ".join(map(str, shapes))
    window = (None, samples)
    if task.name == "classifier":
        allowed = [(None, classes), (None, 1)] if classes == 2 else [(None, classes)]
        if len(shapes) != 1 or shapes[0] not in allowed:
            raise ModelError(
                f"{name}: a classifier of {classes} classes has one output (None, {classes}), this model has {listed}"
            )
    elif task.name == "separator":
        if shapes != [window, window]:
            raise ModelError(
                f"{name}: a separator has two outputs {window}, the first pulse and the second one, this model has {listed}"
            )
    elif not shapes or shapes[0] != window:
        raise ModelError(
            f"{name}: for the task '{task.name}' the first output must be the signal, {window}, this model has {listed}"
        )
    if task.name == "variational":
        _check_variational(model, shapes, name)


def _check_variational(model: Any, shapes: list[tuple[int | None, ...]], name: str) -> None:
    if len(shapes) != 3 or len(shapes[1]) != 2 or shapes[1] != shapes[2]:
        raise ModelError(
            f"{name}: a variational auto-encoder has three outputs: the signal, the means and the logarithms of the variances "
            f"of its bottleneck; this model has {', '.join(map(str, shapes))}"
        )
    if "decoder" not in [layer.name for layer in model.layers]:
        raise ModelError(f"{name}: a variational auto-encoder needs a layer or model in it that is named 'decoder'")


def _check_answers(outputs: Outputs, task: Task, name: str) -> None:
    arrays: list[NDArray[Any]] = [output.numpy() for output in outputs]
    if not all(np.isfinite(array).all() for array in arrays):
        raise ModelError(f"{name}: the untrained model answers NaN or infinity to ordinary signals")
    if task.name != "classifier":
        return
    probability = both_classes(outputs[0]).numpy()
    if (probability < 0).any() or not np.allclose(probability.sum(axis=1), 1, atol=1e-3):
        raise ModelError(
            f"{name}: the output holds no probabilities; end a classifier with softmax (sigmoid for a single number)"
        )


def _example(samples: int) -> Example:
    """Pulses of different length and height of one, with noise; the same ones every time."""
    chance = np.random.default_rng(1)
    axis = np.arange(samples, dtype=np.float32)[None, :]
    decay = np.array([[2.0], [4.0], [8.0], [16.0]], np.float32)
    window = np.exp(-axis / decay) + chance.normal(0, 0.01, (_TRIAL, samples)).astype(np.float32)
    nothing = np.zeros_like(window)
    label = np.array([0, 1, 0, 1], np.int32)
    key = Key(0, 0, tf.range(_TRIAL, dtype=tf.int64))
    signal = tf.constant(window)
    return Example(signal, signal, tf.constant(nothing), tf.constant(label), key)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]
