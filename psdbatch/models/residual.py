"""The residual: how far a reconstruction is from the signal.  Its definition stands here alone."""

from __future__ import annotations

from typing import Any

from psdbatch.models.folding import total
from psdbatch.models.quiet import tf


def residual(window: Any, reconstruction: Any) -> Any:
    """Root mean square of ``reconstruction`` minus ``window`` over the samples, float32 ``(batch,)``.

    Parameters
    ----------
    window, reconstruction
        float32 ``(batch, samples)``, in the same unit, which is that of the result.
    """
    samples = window.shape[1]
    square = total(lambda start, stop: tf.square(reconstruction[:, start:stop] - window[:, start:stop]), samples)
    return tf.sqrt(square / samples)[:, 0]


def in_amplitudes(residual: Any, amplitude: Any) -> Any:
    """A residual in ADC units as a fraction of each signal's amplitude, both ``(batch,)``.

    As in the preparation, a signal without any height counts as one of amplitude 1.
    """
    return residual / tf.where(amplitude > 0, amplitude, 1.0)
