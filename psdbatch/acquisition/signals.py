"""Signals in memory: a struct of arrays that readers fill in place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from psdbatch.columns import Column

Array = NDArray[Any]


@dataclass
class Signals:
    """Consecutive signals of one acquisition file.

    Slicing gives views, so a reader that fills ``signals[a:b]`` writes into the arrays of ``signals``.

    Attributes
    ----------
    samples
        ADC values, shape ``(n, samples)``, integers as recorded (or float32 where the source has floats).
    length
        Number of real samples of each signal, uint32; samples behind it repeat the last real one.
    timestamp
        uint64 in the unit of the file's format, never rounded.
    board, channel
        uint16.
    flags
        uint16 bits of :class:`psdbatch.columns.Flag`.
    extra
        Further columns of the format by name, each of first dimension ``n``.
    """

    samples: Array
    length: Array
    timestamp: Array
    board: Array
    channel: Array
    flags: Array
    extra: dict[str, Array] = field(default_factory=dict)

    @classmethod
    def allocate(cls, n: int, samples: int, dtype: DTypeLike = "int16", columns: Iterable[Column] = ()) -> Signals:
        """Zeroed signals: ``n`` of ``samples`` samples each, with the format's extra ``columns``."""
        return cls(
            samples=np.zeros((n, samples), dtype),
            length=np.full(n, samples, np.uint32),
            timestamp=np.zeros(n, np.uint64),
            board=np.zeros(n, np.uint16),
            channel=np.zeros(n, np.uint16),
            flags=np.zeros(n, np.uint16),
            extra={column.name: np.zeros((n, *column.shape), column.dtype) for column in columns},
        )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, part: slice) -> Signals:
        return Signals(
            self.samples[part],
            self.length[part],
            self.timestamp[part],
            self.board[part],
            self.channel[part],
            self.flags[part],
            {name: values[part] for name, values in self.extra.items()},
        )

    def take(self, which: Array) -> Signals:
        """Copy of the signals that ``which``, a boolean mask or an array of numbers, selects."""
        return Signals(
            self.samples[which],
            self.length[which],
            self.timestamp[which],
            self.board[which],
            self.channel[which],
            self.flags[which],
            {name: values[which] for name, values in self.extra.items()},
        )
