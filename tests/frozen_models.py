"""Small frozen graphs as TensorFlow 1 wrote them, and NumPy arithmetic of the same networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from psdbatch.config import Charge, ModelSource, PileUp, Preparation, SignalShape
from psdbatch.models.engine_settings import EngineSettings

SAMPLES = 20
HIDDEN = np.random.default_rng(1).normal(0, 0.4, (SAMPLES, 5)).astype(np.float32)
LAST = np.random.default_rng(2).normal(0, 1, (5, 3)).astype(np.float32)


def write_graph(path: Path, build: Callable[[Any], None]) -> Path:
    """Write the GraphDef that ``build(tf)`` makes in an empty graph."""
    from psdbatch.models.quiet import tf

    with tf.Graph().as_default() as graph:
        build(tf)
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def softmax(tf: Any, shape: Any = (None, SAMPLES), dtype: str = "float32", classes: int = 2) -> Any:
    """Dense classifier: hidden layer ``hidden``, output ``output_layer``."""
    signal = tf.compat.v1.placeholder(dtype, shape, "signal")
    samples = tf.cast(tf.reshape(signal, (-1, SAMPLES)), tf.float32)
    hidden = tf.nn.relu(tf.matmul(samples, tf.constant(HIDDEN)), name="hidden")
    return tf.nn.softmax(tf.matmul(hidden, tf.constant(LAST[:, :classes])), name="output_layer")


def sigmoid(tf: Any) -> Any:
    """Dense classifier with one number for two classes."""
    signal = tf.compat.v1.placeholder("float32", (None, SAMPLES), "signal")
    hidden = tf.nn.relu(tf.matmul(signal, tf.constant(HIDDEN)))
    return tf.sigmoid(tf.matmul(hidden, tf.constant(LAST[:, :1])), name="neutron")


def several(tf: Any) -> None:
    """Classifier, the signal made anew ``(samples, 1)``, and an integer per signal."""
    softmax(tf, classes=3)
    hidden = tf.compat.v1.get_default_graph().get_tensor_by_name("hidden:0")
    again = tf.matmul(hidden, tf.constant(HIDDEN.T.copy()))
    tf.reshape(again, (-1, SAMPLES, 1), name="decoder/Again")
    tf.argmax(hidden, axis=1, name="brightest", output_type=tf.int32)


def expected_scores(prepared: np.ndarray[Any, Any], classes: int = 2) -> np.ndarray[Any, Any]:
    """Scores before the softmax of :func:`softmax`."""
    return np.maximum(prepared.astype(np.float32) @ HIDDEN, 0) @ LAST[:, :classes]


def expected_probability(prepared: np.ndarray[Any, Any], classes: int = 2) -> np.ndarray[Any, Any]:
    """What :func:`softmax` answers to prepared signals ``(n, SAMPLES)``."""
    power = np.exp(expected_scores(prepared, classes))
    return power / power.sum(axis=1, keepdims=True)


def engine_settings(path: Path, build: Callable[[Any], None], **changes: Any) -> EngineSettings:
    """Settings for the network that ``build`` makes, on signals of 40 int16 samples; ``changes`` replace parts."""
    from psdbatch.models.frozen import describe_graph

    if not path.exists():
        write_graph(path, build)
    source = changes.pop("source", {})
    model = ModelSource(path=str(path), **source)
    settings = EngineSettings(
        facts=describe_graph(path, model, "0"),
        source=model,
        signals=SignalShape(baseline=8),
        preparation=Preparation(),
        charge=Charge(short=4, long=20),
        pile_up=PileUp(),
        samples=40,
        sample_dtype="int16",
    )
    return replace(settings, **changes)


def pulses(n: int, samples: int = 40, seed: int = 0) -> np.ndarray[Any, Any]:
    """Negative pulses with noise, int16."""
    rng = np.random.default_rng(seed)
    axis = np.arange(samples)[None, :] - rng.integers(9, 14, (n, 1))
    height = rng.uniform(200, 8000, (n, 1)) * np.where(axis >= 0, np.exp(-axis / rng.uniform(2, 9, (n, 1))), 0)
    return np.rint(14_000 - height + rng.normal(0, 3, (n, samples))).astype(np.int16)
