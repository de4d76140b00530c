"""Random numbers inside compiled code: one independent stream per signal, fast approximate distributions.

Each signal draws from its own stream, started from the seed and the signal's number, so the bytes of a signal depend
neither on the signals before it nor on how many are made at once.  Normal and exponential numbers come from tables of
2**14 quantiles: four of them cost one step of the generator.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from psdbatch.compiled import compiled

State = NDArray[np.uint64]
Table = NDArray[np.float32]

TABLE_BITS = 14
_MASK = np.uint64(2**TABLE_BITS - 1)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)

NORMAL_ABOVE = 16.0
"""Poisson numbers of a larger mean are drawn from a normal distribution with the skewness corrected."""


@cache
def tables() -> tuple[Table, Table]:
    """Quantiles of the standard normal and of the exponential distribution, scaled to variance 1 and mean 1."""
    middle = (np.arange(2**TABLE_BITS) + 0.5) / 2**TABLE_BITS
    normal = np.array([NormalDist().inv_cdf(probability) for probability in middle])
    exponential = -np.log(middle)
    return (normal / normal.std()).astype(np.float32), (exponential / exponential.mean()).astype(np.float32)


@compiled
def mix(value: np.uint64) -> np.uint64:
    """Output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    value = (value ^ (value >> _30)) * _FIRST
    value = (value ^ (value >> _27)) * _SECOND
    return value ^ (value >> _31)


@compiled
def start(state: State, key: np.uint64, signal: int) -> None:
    """Begin the stream of signal number ``signal``."""
    state[0] = mix(mix(np.uint64(signal) * _GOLDEN + key) + key)


@compiled
def bits(state: State) -> np.uint64:
    """The next 64 random bits."""
    state[0] += _GOLDEN
    return mix(state[0])


@compiled
def uniform(state: State) -> float:
    """Uniform in [0, 1) with 53 random bits."""
    return float(bits(state) >> _11) * 2.0**-53


@compiled
def look_up(table: Table, word: np.uint64) -> np.float32:
    """Number from ``table``, chosen by the lowest bits of a random word; shifted by 16 it serves again, three times."""
    return table[word & _MASK]  # type: ignore[no-any-return]


@compiled
def poisson(mean: float, state: State, normal: Table) -> int:
    """Poisson number; above :data:`NORMAL_ABOVE` the first Cornish-Fisher term stands for the skewness."""
    if mean > NORMAL_ABOVE:
        z = float(look_up(normal, bits(state)))
        return max(0, math.floor(mean + math.sqrt(mean) * z + (z * z - 1.0) / 6.0 + 0.5))
    probability = math.exp(-mean)
    rest = uniform(state) - probability
    count = 0
    while rest > 0.0 and count < 100:
        count += 1
        probability *= mean / count
        rest -= probability
    return count
