"""Preparation of raw signals as TensorFlow operations: one function for training and inference.

Everything works on whole batches of one static shape, so that XLA fuses it into few passes over the raw integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psdbatch.columns import Flag
from psdbatch.config import Alignment, Charge, PileUp, Preparation, SignalShape
from psdbatch.models.quiet import tf


@dataclass(frozen=True)
class Pulses:
    """A batch of pulses above their baseline.

    Attributes
    ----------
    raw
        Samples as recorded, shape ``(batch, samples)``.
    height
        float32, baseline subtracted, pulses upwards, same shape.
    noise
        Standard deviation of the baseline samples, float32, ``(batch, 1)``.
    amplitude
        Largest sample above the baseline, float32, ``(batch, 1)``.
    """

    raw: Any
    height: Any
    noise: Any
    amplitude: Any


def pulses(raw: Any, signals: SignalShape) -> Pulses:
    """Subtract the baseline (mean of the first samples) and turn the pulse upwards.

    Parameters
    ----------
    raw
        Integer or float tensor ``(batch, samples)``.
    """
    samples = tf.cast(raw, tf.float32)
    rest = samples[:, : signals.baseline] if signals.baseline else tf.zeros_like(samples[:, :1])
    baseline = tf.reduce_mean(rest, axis=1, keepdims=True)
    noise = tf.sqrt(tf.reduce_mean(tf.square(rest - baseline), axis=1, keepdims=True))
    height = baseline - samples if signals.polarity == "negative" else samples - baseline
    return Pulses(raw, height, noise, tf.reduce_max(height, axis=1, keepdims=True))


def model_input(pulse: Pulses, preparation: Preparation, length: int) -> Any:
    """The window that the model sees, float32 ``(batch, length)``.

    A window that sticks out of the signal repeats the signal's first or last sample. With ``normalise = "amplitude"``
    the largest sample of the signal becomes 1; a signal without any height stays 0.
    """
    samples = pulse.height.shape[1]
    if preparation.align == "start":
        columns = tf.clip_by_value(preparation.offset + tf.range(length), 0, samples - 1)
        inside = 0 <= preparation.offset <= samples - length
        window = (
            pulse.height[:, preparation.offset : preparation.offset + length]
            if inside
            else tf.gather(pulse.height, columns, axis=1)
        )
    else:
        first = reference(pulse, preparation) + preparation.offset
        columns = tf.clip_by_value(first + tf.range(length)[None, :], 0, samples - 1)
        window = tf.gather(pulse.height, columns, batch_dims=1)
    if preparation.normalise == "amplitude":
        return window / tf.where(pulse.amplitude > 0, pulse.amplitude, 1.0)
    return window


def charges(pulse: Pulses, charge: Charge) -> tuple[Any, Any]:
    """Sums of the heights in the long and in the short gate, float32 ``(batch,)``; both gates start together.

    What lies outside the signal counts nothing.
    """
    if charge.align == "start":
        first = max(0, charge.offset)
        gates = [pulse.height[:, first : max(0, charge.offset + size)] for size in (charge.long, charge.short)]
        return tf.reduce_sum(gates[0], axis=1), tf.reduce_sum(gates[1], axis=1)
    place = tf.range(pulse.height.shape[1])[None, :] - (reference(pulse, charge) + charge.offset)

    def gate(size: int) -> Any:
        return tf.reduce_sum(tf.where((place >= 0) & (place < size), pulse.height, 0.0), axis=1)

    return gate(charge.long), gate(charge.short)


def flags(pulse: Pulses, signals: SignalShape, pile_up: PileUp) -> Any:
    """Bits SATURATED and PILE_UP, int32 ``(batch,)``.

    Pile-up: somewhere later than ``dead`` samples after the maximum, the signal rises within ``rise`` samples by more
    than ``fraction`` of the amplitude and by more than ``noise`` standard deviations of the baseline.
    """
    top = tf.cast(2**signals.adc_bits - 1, tf.float32)
    lowest = tf.cast(tf.reduce_min(pulse.raw, axis=1), tf.float32)
    highest = tf.cast(tf.reduce_max(pulse.raw, axis=1), tf.float32)
    saturated = (lowest <= 0) | (highest >= top)
    bits = tf.where(saturated, int(Flag.SATURATED), 0)
    samples = pulse.height.shape[1]
    if pile_up.rise >= samples:
        return bits
    rises = pulse.height[:, pile_up.rise :] - pulse.height[:, : samples - pile_up.rise]
    later = tf.range(samples - pile_up.rise)[None, :] >= _maximum(pulse) + pile_up.dead
    highest_rise = tf.reduce_max(tf.where(later, rises, float("-inf")), axis=1)
    limit = tf.maximum(pile_up.fraction * pulse.amplitude, pile_up.noise * pulse.noise)[:, 0]
    return bits + tf.where((highest_rise > limit) & (limit > 0), int(Flag.PILE_UP), 0)


def reference(pulse: Pulses, alignment: Alignment) -> Any:
    """Number of the reference sample, int32 ``(batch, 1)``: of the maximum, or of the threshold crossing."""
    if alignment.align == "maximum":
        return _maximum(pulse)
    return _first(pulse.height >= alignment.threshold * pulse.amplitude)


def _maximum(pulse: Pulses) -> Any:
    return _first(pulse.height >= pulse.amplitude)


def _first(condition: Any) -> Any:
    """Number of the first sample for which the condition holds; the last sample if none does."""
    samples = condition.shape[1]
    return tf.reduce_min(tf.where(condition, tf.range(samples)[None, :], samples - 1), axis=1, keepdims=True)
