"""Compiled loops of the choice: count signals by stratum, and draw from strata signal after signal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.compiled import compiled
from psdbatch.simulation.chance import bits, start, uniform

Array = NDArray[Any]

NONE = np.uint32(2**32 - 1)
"""Code of a signal that is in no stratum or not chosen."""


_2, _62 = np.uint64(2), np.uint64(62)


@compiled
def tally(codes: Array, counts: Array) -> None:
    """Count each code except :data:`NONE` in ``counts``."""
    for i in range(len(codes)):
        if codes[i] != NONE:
            counts[codes[i]] += 1


@compiled
def same_neighbours(labels: Array, last: int, seen: Array) -> int:
    """Go on counting pairs of neighbours among labelled signals (label below 255).

    ``seen[0]`` counts pairs, ``seen[1]`` those of one class; ``last`` is the label before the first one (255: none).
    Returns the last label.
    """
    for i in range(len(labels)):
        label = labels[i]
        if label != 255:
            if last != 255:
                seen[0] += 1
                if label == last:
                    seen[1] += 1
            last = label
    return last


@compiled
def draw(codes: Array, stratum: Array, label: Array, left: Array, take: Array, key: np.uint64, first: int) -> None:
    """Decide for each signal in turn which part it comes into, if any.

    Selection sampling: of ``left`` signals that a stratum has still to come, each is chosen with the probability
    ``take / left``.  Exactly ``take`` of them are chosen, every set of so many is equally likely, and nothing needs to
    be kept (Knuth, The Art of Computer Programming, volume 2, section 3.4.2, algorithm S).  The random number of a signal depends on
    ``key`` and its number alone.

    Parameters
    ----------
    codes
        uint32 ``(n,)``: codes of the signals; becomes ``label * 256 + part`` of those that are chosen, else :data:`NONE`.
    stratum, label
        int64: stratum and class of each code.
    left
        int64 ``(strata,)``: signals still to come; counted down.
    take
        int64 ``(strata, parts)``: signals still wanted; counted down.
    key
        Selects the file's random numbers.
    first
        Number of the first signal in its file.
    """
    state = np.zeros(1, np.uint64)
    for i in range(len(codes)):
        code = codes[i]
        if code == NONE:
            continue
        place = stratum[code]
        start(state, key, first + i)
        chance = int(uniform(state) * left[place])
        left[place] -= 1
        codes[i] = NONE
        for part in range(take.shape[1]):
            if chance < take[place, part]:
                take[place, part] -= 1
                codes[i] = label[code] * 256 + part
                break
            chance -= take[place, part]


@compiled
def order_keys(numbers: Array, parts: Array, key: np.uint64, keys: Array) -> None:
    """Keys that put the signals in order: the number of the part, then 62 random bits that follow from the signal's number."""
    state = np.zeros(1, np.uint64)
    for i in range(len(numbers)):
        start(state, key, numbers[i])
        keys[i] = (bits(state) >> _2) | (np.uint64(parts[i]) << _62)
