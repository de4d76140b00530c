"""Signals of one side of a comparison, as columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class State(IntEnum):
    """What one side has for a signal."""

    ANSWERED = 0
    REFUSED = 1
    UNFINISHED = 2  # its block is not finished
    ABSENT = 3  # this side has no such signal


STATES = len(State)

STATE, LABEL, KNOWN, NUMBER = "state", "label", "known", "number"
"""Columns that every side's rows have: :class:`State` (uint8); number of the class, -1 without one (int16); whether time,
board and channel are known (bool); number of the signal in its run (int64)."""


@dataclass(frozen=True)
class Rows:
    """Columns by name, all of the same length; see :data:`STATE` for those that are always there."""

    columns: Mapping[str, Array]

    @classmethod
    def absent(cls, rows: int) -> Rows:
        """Signals that this side does not have."""
        return cls({STATE: np.full(rows, State.ABSENT, np.uint8)})

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def get(self, name: str) -> Array | None:
        """The column, None if there is none of that name."""
        return self.columns.get(name)

    def __len__(self) -> int:
        return len(self.columns[STATE])

    def take(self, chosen: Array | slice) -> Rows:
        """The rows that a mask or an array of places chooses."""
        return Rows({name: values[chosen] for name, values in self.columns.items()})


@dataclass(frozen=True)
class Pairs:
    """Signals of a run, row by row the same one on both sides."""

    run: str
    a: Rows
    b: Rows

    @property
    def compared(self) -> NDArray[np.bool_]:
        """Where both sides have an answer."""
        return np.asarray((self.a[STATE] == State.ANSWERED) & (self.b[STATE] == State.ANSWERED))
