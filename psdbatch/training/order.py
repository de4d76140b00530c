"""The order in which an epoch sees its signals: a function of seed and epoch, of nothing else.

Chunks of the stored part are drawn in random order, and the signals of some chunks together, a pool, are mixed.  So a
reader needs whole chunks only, and never more than a pool of them; a part on disk lies in shuffled order already.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

POOL = 65_536
"""Signals that are mixed with one another; a smaller part is mixed as a whole."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Order:
    """Order of one epoch.

    Attributes
    ----------
    size
        Signals of the part.
    chunk
        Signals in a stored chunk.
    seed, epoch
        What the order is drawn with; ``epoch`` None: the stored order.
    """

    size: int
    chunk: int
    seed: int = 0
    epoch: int | None = None

    @cached_property
    def _chunks(self) -> Numbers:
        """Chunks in the order in which they are read."""
        number = -(-self.size // self.chunk)
        if self.epoch is None:
            return np.arange(number)
        return np.random.default_rng([self.seed, self.epoch]).permutation(number)

    @cached_property
    def _together(self) -> int:
        return max(1, POOL // self.chunk)

    @cached_property
    def starts(self) -> Numbers:
        """Place in the epoch where each pool begins, and the end of the last."""
        sizes = np.minimum(self.chunk, self.size - self._chunks * self.chunk)
        pools = np.add.reduceat(sizes, np.arange(0, len(sizes), self._together))
        return np.concatenate([[0], np.cumsum(pools)])

    def chunks_of(self, pool: int) -> list[int]:
        """Chunks of a pool, in the order in which they are read."""
        return [int(chunk) for chunk in self._chunks[pool * self._together : (pool + 1) * self._together]]

    def mixed(self, pool: int) -> Numbers:
        """Permutation of a pool's signals: which one of those read comes at each place."""
        count = int(self.starts[pool + 1] - self.starts[pool])
        if self.epoch is None:
            return np.arange(count)
        return np.random.default_rng([self.seed, self.epoch, pool]).permutation(count)

    def pool_at(self, place: int) -> int:
        """The pool in which a place of the epoch lies."""
        return int(np.searchsorted(self.starts, place, side="right")) - 1
