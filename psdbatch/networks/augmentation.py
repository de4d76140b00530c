"""Augmentation: each signal is changed at random each time it is used, as a digitiser might have recorded it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psdbatch.config import SignalShape
from psdbatch.config.network import Augmentation
from psdbatch.models.preparation import pulses
from psdbatch.models.quiet import tf
from psdbatch.networks.chance import Key, between, normal, uniform

_NOISE, _SHIFT, _GAIN, _PILE_UP, _DELAY = range(5)


@dataclass(frozen=True)
class Augmented:
    """A batch of changed signals, and what they are made of.

    Attributes
    ----------
    raw
        Changed signals, ``(batch, samples)``, dtype and ADC range as before.
    clean
        The same, moved and scaled, but without the added pulse and noise; raw ADC units, float32.
    added
        The added pulse alone, above no baseline, in the direction of the raw samples; float32, zeros where there is none.
    """

    raw: Any
    clean: Any
    added: Any


def augment(raw: Any, settings: Augmentation, signals: SignalShape, key: Key) -> Augmented:
    """Change a batch at random.

    A signal's random numbers depend on ``key`` and its own number alone.  The pulse added to it is that of its neighbour in
    the epoch's order, 2 k and 2 k + 1, which is a random other one; where a batch is cut, it must be at an even number.

    Parameters
    ----------
    raw
        Integer tensor ``(batch, samples)``; the samples are static.
    """
    value = tf.cast(raw, tf.float32)
    if not (settings.noise or settings.shift or settings.gain or settings.pile_up):
        return Augmented(raw, value, tf.zeros_like(value))
    baseline = tf.cast(pulses(raw, signals).baseline, tf.float32)
    recorded = value - baseline
    height, moved = recorded, tf.zeros_like(key.number, dtype=tf.int32)
    if settings.shift:
        moved = between(key, _SHIFT, -settings.shift, settings.shift)
        height = _moved(recorded, moved)
    if settings.gain:
        height *= 1.0 + settings.gain * (2.0 * uniform(key, _GAIN, 1) - 1.0)
    added = _added(recorded, moved, settings, key) if settings.pile_up else tf.zeros_like(height)
    total = baseline + height + added
    if settings.noise:
        total += settings.noise * normal(key, _NOISE, raw.shape[1])
    return Augmented(_digitised(total, raw, signals), baseline + height, added)


def _added(recorded: Any, moved: Any, settings: Augmentation, key: Key) -> Any:
    """Height of the neighbour's pulse, delayed, for the chosen signals; zeros for the others."""
    rows = tf.range(tf.shape(recorded)[0])
    pair = tf.bitwise.bitwise_xor(key.number, tf.constant(1, key.number.dtype))
    other = tf.clip_by_value(rows + tf.cast(pair - key.number, tf.int32), 0, tf.shape(recorded)[0] - 1)
    present = (tf.gather(key.number, other) == pair) & (key.number >= 0)
    chosen = present & (uniform(key, _PILE_UP, 1)[:, 0] < settings.pile_up)
    delay = moved + between(key, _DELAY, *settings.pile_up_delay)
    begun = tf.range(recorded.shape[1])[None, :] >= delay[:, None]
    return tf.where(chosen[:, None] & begun, _moved(tf.gather(recorded, other), delay), 0.0)


def _moved(height: Any, by: Any) -> Any:
    """Signals moved by whole samples to later times; what is missing at an edge is mirrored, noise and all.

    Repeating the edge sample instead would take the noise out of the baseline.
    """
    samples = height.shape[1]
    place = tf.range(samples)[None, :] - by[:, None]
    place = tf.where(place < 0, -1 - place, place)
    place = tf.where(place >= samples, 2 * samples - 1 - place, place)
    return tf.gather(height, tf.clip_by_value(place, 0, samples - 1), batch_dims=1)


def _digitised(total: Any, raw: Any, signals: SignalShape) -> Any:
    """Whole ADC values inside the range of the ADC; a signal that was recorded outside of it keeps its own range."""
    lowest = tf.minimum(tf.cast(tf.reduce_min(raw, axis=1, keepdims=True), tf.float32), 0.0)
    full = float(min(2**signals.adc_bits - 1, raw.dtype.max))
    highest = tf.maximum(tf.cast(tf.reduce_max(raw, axis=1, keepdims=True), tf.float32), full)
    return tf.cast(tf.clip_by_value(tf.round(total), lowest, highest), raw.dtype)
