"""How many signals each stratum gives: as evenly as there are signals, exactly as many as wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def spread(available: Array, wanted: int) -> Array:
    """Take ``wanted`` signals from strata that have ``available`` ones, as evenly as possible.

    A stratum with fewer than its even share gives all it has, and the others share what is missing.

    Parameters
    ----------
    available
        Signals of each stratum, non-negative integers of shape ``(strata,)``.
    wanted
        At most the sum of ``available``.

    Returns
    -------
    int64 array of shape ``(strata,)``
        Adds up to ``wanted``.  Every stratum gives either all it has, or as many as any other or one less.

    Examples
    --------
    >>> spread(np.array([100, 3, 50]), 30)
    array([14,  3, 13])
    """
    have = np.asarray(available, np.int64)
    if not 0 <= wanted <= have.sum():
        raise ValueError(f"{wanted} signals cannot be taken from {have.sum()}")
    ordered = np.sort(have)
    before = np.concatenate([[0], np.cumsum(ordered)])
    # were the k smallest strata emptied, each other one would give `share`; the first k for which that fits is right
    share = (wanted - before[:-1]) // np.arange(len(have), 0, -1) if len(have) else np.zeros(0, np.int64)
    fits = np.flatnonzero(share < ordered)
    if not len(fits):
        return have.copy()
    level = int(share[fits[0]])
    take = np.minimum(have, level)
    more = np.flatnonzero(have > level)[: wanted - int(take.sum())]
    take[more] += 1
    return take


def class_shares(available: Array, mix: str | Mapping[str, float], classes: Sequence[str]) -> Array:
    """Fraction of the set that each class makes up, ``(classes,)``; ``available`` is what the classes have, as for a natural mix."""
    if isinstance(mix, str):
        weight = np.asarray(available, float) if mix == "natural" else np.ones(len(classes))
    else:
        weight = np.array([mix[name] for name in classes], float)
    shares: Array = weight / max(weight.sum(), 1e-300)
    return shares


def apportion(total: int, shares: Array) -> Array:
    """``total`` signals in the given shares, int64; the largest remainders are rounded up, the first ones of equal ones."""
    exact = total * shares
    whole: Array = np.floor(exact).astype(np.int64)
    missing = total - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:missing]] += 1
    return whole


def most(available: Array, shares: Array) -> Array:
    """As many signals of each class as there can be in the given shares, int64: the class that is poorest for its share gives all."""
    there = shares > 0
    if not there.any():
        return np.zeros(len(shares), np.int64)
    poorest = np.flatnonzero(there)[np.argmin(available[there] / shares[there])]
    wanted: Array = np.minimum(np.rint(available[poorest] * (shares / shares[poorest])), available).astype(np.int64)
    return wanted


def divide(take: Array, fractions: Sequence[float]) -> Array:
    """Divide what each stratum gives over train, validation and test.

    Parameters
    ----------
    take
        Signals of each stratum, int64 ``(strata,)``.
    fractions
        Of validation and test.

    Returns
    -------
    int64 array of shape ``(strata, 3)``
        Rows add up to ``take``; validation and test have their fraction of the whole to within one signal, and of each stratum to
        within one or two.
    """
    validation, test = fractions
    whole = np.asarray(take, np.int64)
    second = _share(whole, validation)
    third = _share(whole - second, test / (1 - validation))
    return np.stack([whole - second - third, second, third], axis=1)


def _share(take: Array, fraction: float) -> Array:
    """A fraction of each, rounded so that the sums from the first stratum on are right."""
    return np.diff(np.floor(np.cumsum(take) * fraction + 0.5), prepend=0.0).astype(np.int64)
