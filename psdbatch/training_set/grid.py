"""Amplitude strata: a fine grid to count in while the files are read, and the strata that follow from the counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

PARTS_PER_OCTAVE_BITS = 5
LOWEST_EXPONENT, HIGHEST_EXPONENT = -10, 33
"""The fine grid goes from 2**-10 to 2**33 ADC units, with 32 equal steps between two powers of two."""

_SHIFT = 23 - PARTS_PER_OCTAVE_BITS
_FIRST = (127 + LOWEST_EXPONENT) << PARTS_PER_OCTAVE_BITS
_FINE = (HIGHEST_EXPONENT - LOWEST_EXPONENT) << PARTS_PER_OCTAVE_BITS
OUTER = (0.005, 0.995)
"""Quantiles of the amplitude between which the strata are equally wide."""


@dataclass(frozen=True)
class Grid:
    """Steps of amplitude; ``edges`` float64 of shape ``(steps + 1,)``, or None for the fine grid."""

    edges: Array | None = None

    @property
    def steps(self) -> int:
        """Number of steps."""
        return _FINE if self.edges is None else len(self.edges) - 1

    @property
    def limits(self) -> Array:
        """Lower edge of each step and the upper edge of the last one, float64."""
        if self.edges is not None:
            return self.edges
        bits = (np.arange(_FIRST, _FIRST + _FINE + 1, dtype=np.int64) << _SHIFT).astype(np.int32)
        return bits.view(np.float32).astype(np.float64)

    def places(self, amplitude: Array) -> Array:
        """Step of each amplitude (float32), int32; -1 outside the edges.  The fine grid has its outer steps open.

        The fine grid is the exponent and first bits of the mantissa of the float, so every machine counts alike.
        """
        if self.edges is not None:
            place = np.searchsorted(self.edges, amplitude.astype(np.float64), side="right").astype(np.int32) - 1
            return np.where((place < self.steps) & np.isfinite(amplitude), place, -1)
        bits = np.maximum(amplitude, np.float32(0)).view(np.int32) >> _SHIFT
        return np.where(np.isnan(amplitude), -1, np.clip(bits - _FIRST, 0, _FINE - 1)).astype(np.int32)

    def strata(self, counts: Array, bins: int) -> Array:
        """First step of each amplitude stratum, int64, the first one 0.

        Parameters
        ----------
        counts
            Signals in each step.
        bins
            Strata wanted on the fine grid, of equal logarithmic width between the quantiles :data:`OUTER`; where they would be narrower
            than the grid's steps there are fewer.  Edges that the user gave are strata as they are.
        """
        if self.edges is not None:
            return np.arange(self.steps)
        total = np.cumsum(counts)
        if not total[-1]:
            return np.zeros(1, np.int64)
        low, high = np.searchsorted(total, np.array(OUTER) * total[-1], side="right")
        limits = self.limits
        edges = np.geomspace(limits[low], limits[min(high, self.steps - 1) + 1], bins + 1)[1:-1]
        inner = np.searchsorted(limits, edges * (1 - 1e-9))
        return np.unique(np.concatenate([[0], inner[(inner > 0) & (inner < self.steps)]]))
