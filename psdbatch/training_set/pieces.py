"""Consecutive signals of one file with all that label rules may ask about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.acquisition.signals import Signals
from psdbatch.training_set.quantities import Quantities

Array = NDArray[Any]

TRUE_LABEL, CERTAIN_LABEL, CERTAINTY, ENERGY = "true label", "campaign label", "certainty", "energy"
"""What a source may know of its signals besides the file: truth of a simulation, answers of a campaign, keVee."""


@dataclass(frozen=True)
class Piece:
    """``signals``, the first of which is number ``first`` of its file.

    ``measured`` are their amplitudes and charges; ``known`` is what the source knows besides, by the names above, each an array of the
    same length.
    """

    first: int
    signals: Signals
    measured: Quantities
    known: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.signals)

    @property
    def charge_long(self) -> Array:
        """Sum of the long gate, float32."""
        return self.measured.charge_long

    @property
    def charge_short(self) -> Array:
        """Sum of the short gate, float32."""
        return self.measured.charge_short

    def column(self, name: str) -> Array:
        """A column of the file, or timestamp, board or channel; what is boolean counts 0 and 1."""
        values = self.signals.extra[name] if name in self.signals.extra else getattr(self.signals, name)
        return np.asarray(values.view(np.uint8) if values.dtype == bool else values)
