"""One batch of what a network learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psdbatch.networks.chance import Key


@dataclass(frozen=True)
class Example:
    """A batch of prepared signals with their truth; lives inside one traced step.

    All three windows are cut at the same place, above the same baseline and with the same scale, those of the signal as
    the network sees it: ``window`` is ``clean`` plus ``second`` plus the added noise.

    Attributes
    ----------
    window
        What the network sees, float32 ``(batch, samples)``.
    clean
        The signal without added noise and pulse, float32 ``(batch, samples)``.
    second
        The added pulse alone, float32 ``(batch, samples)``; zeros where there is none.
    label
        Number of the class, int32 ``(batch,)``.
    key
        For the random numbers of a network that needs some in training.
    """

    window: Any
    clean: Any
    second: Any
    label: Any
    key: Key
