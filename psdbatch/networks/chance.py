"""Random numbers on tensors: every signal has a stream of its own, whatever shares its batch.

Output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) on counters.  Plain int64 arithmetic, which wraps and
which every device and XLA have; TensorFlow's own generators give numbers that depend on the shape of the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from psdbatch.models.quiet import tf

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_LOW = 2**32 - 1


@dataclass(frozen=True)
class Key:
    """What the random numbers of a batch depend on, and nothing else.

    Attributes
    ----------
    seed, epoch
        Whole numbers, plain or int64 tensors ``()``.
    number
        Number of each signal in the epoch's order, int64 ``(batch,)``; negative for rows that only fill the batch.
    """

    seed: Any
    epoch: Any
    number: Any


def uniform(key: Key, purpose: int, count: int) -> Any:
    """Uniform numbers in (0, 1), float32 ``(batch, count)``; each ``purpose`` has a stream of its own."""
    return _unit(_right(_words(key, purpose, count), 40), 24)


def normal(key: Key, purpose: int, count: int) -> Any:
    """Numbers of the standard normal distribution, float32 ``(batch, count)`` (Box and Muller, 1958)."""
    words = _words(key, purpose, (count + 1) // 2)
    radius = tf.sqrt(-2.0 * tf.math.log(_unit(_right(words, 32), 32)))
    angle = 2 * math.pi * _unit(tf.bitwise.bitwise_and(words, _whole(_LOW)), 32)
    return tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], axis=1)[:, :count]


def between(key: Key, purpose: int, low: int, high: int) -> Any:
    """Whole numbers from ``low`` to ``high``, both included, int32 ``(batch,)``."""
    steps = tf.floor(uniform(key, purpose, 1)[:, 0] * float(high - low + 1))
    return low + tf.cast(tf.minimum(steps, float(high - low)), tf.int32)


def _words(key: Key, purpose: int, count: int) -> Any:
    """64 random bits each, int64 ``(batch, count)``."""
    stream = _mix(_mix(_mix(_whole(key.seed) + _whole(_GOLDEN)) + _whole(key.epoch)) + _whole(purpose))
    start = _mix(_mix(tf.cast(key.number, tf.int64) * _whole(_GOLDEN) + stream) + stream)
    steps = tf.range(1, count + 1, dtype=tf.int64) * _whole(_GOLDEN)
    return _mix(start[:, None] + steps[None, :])


def _mix(value: Any) -> Any:
    value = tf.bitwise.bitwise_xor(value, _right(value, 30)) * _whole(_FIRST)
    value = tf.bitwise.bitwise_xor(value, _right(value, 27)) * _whole(_SECOND)
    return tf.bitwise.bitwise_xor(value, _right(value, 31))


def _right(value: Any, bits: int) -> Any:
    """Shift to the right that brings in zeros, which int64 does not do by itself."""
    return tf.bitwise.bitwise_and(tf.bitwise.right_shift(value, _whole(bits)), _whole(2 ** (64 - bits) - 1))


def _whole(value: Any) -> Any:
    """An int64 tensor; plain numbers from 2**63 on are the negative ones of the same bits."""
    if isinstance(value, int):
        return tf.constant(value - 2**64 if value >= 2**63 else value, tf.int64)
    return tf.cast(value, tf.int64)


def _unit(bits: Any, size: int) -> Any:
    """Whole numbers of ``size`` bits in the middle of their steps between 0 and 1."""
    return (tf.cast(bits, tf.float32) + 0.5) * 2.0**-size
