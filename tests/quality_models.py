"""Small auto-encoders with fixed weights, and NumPy arithmetic of the residual."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from psdbatch.config import Preparation, SignalShape
from psdbatch.models.quality_settings import QualitySettings

Array = np.ndarray[Any, Any]


def weights(samples: int) -> Array:
    """From a signal to 3 numbers; its transpose leads back.  Orthonormal, so that some of the signal comes back."""
    axis = np.arange(samples)
    basis = np.stack([np.exp(-((axis - samples / 4) ** 2) / 8), np.exp(-axis / samples), np.cos(axis / 3)], axis=1)
    return np.asarray(np.linalg.qr(basis)[0], np.float32)


def expected_reconstruction(windows: Array) -> Array:
    """What :func:`autoencoder` answers to prepared signals ``(n, samples)``."""
    encode = weights(windows.shape[1])
    return np.asarray(windows.astype(np.float32) @ encode @ encode.T)


def expected_residual(windows: Array) -> Array:
    """Root mean square of reconstruction minus window."""
    left = expected_reconstruction(windows).astype(np.float64) - windows
    return np.asarray(np.sqrt(np.mean(left**2, axis=1)))


def autoencoder(tf: Any, samples: int, shape: Any = None, name: str = "reconstruction") -> None:
    """Linear auto-encoder: output ``name`` of the input's shape, and ``code``."""
    signal = tf.compat.v1.placeholder("float32", shape or (None, samples), "signal")
    encode = tf.constant(weights(samples))
    code = tf.matmul(tf.reshape(signal, (-1, samples)), encode, name="code")
    again = tf.matmul(code, encode, transpose_b=True)
    tf.reshape(again, (-1, *(signal.shape[1:] if shape else [samples])), name=name)
    tf.reduce_sum(code, axis=1, keepdims=True, name="total")


def write_autoencoder(path: Path, samples: int, **options: Any) -> Path:
    """Frozen linear auto-encoder."""
    from tests.frozen_models import write_graph

    return write_graph(path, lambda tf: autoencoder(tf, samples, **options))


def quality_settings(path: Path, preparation: Preparation | None = None, **changes: Any) -> QualitySettings:
    """Settings for the frozen auto-encoder at ``path`` on the signals of :mod:`tests.frozen_models`."""
    from psdbatch.config import ModelSource
    from psdbatch.models.frozen import describe_graph

    outputs = changes.pop("outputs", None)
    facts = describe_graph(path, ModelSource(path=str(path), outputs=outputs), "0")
    signals = changes.pop("signals", SignalShape(baseline=8))
    return QualitySettings(
        facts, signals, preparation or Preparation(), **{"samples": 40, "sample_dtype": "int16", **changes}
    )
