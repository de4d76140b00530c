"""Simulated signals with their truth, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.acquisition.signals import Signals
from psdbatch.columns import Column, scalar
from psdbatch.simulation.digitiser import digitise, onset
from psdbatch.simulation.hits import draw_hits
from psdbatch.simulation.scintillator import CLASS_NAMES
from psdbatch.simulation.settings import Simulation

Array = NDArray[Any]

TRUTH_COLUMNS: tuple[Column, ...] = (
    scalar(
        "label", "uint8", "particle of the first pulse: " + ", ".join(f"{i} {c}" for i, c in enumerate(CLASS_NAMES))
    ),
    scalar("energy", "float32", "light output of the first pulse", "keVee"),
    scalar("pile_up", "bool", "a second pulse lies inside the signal"),
    scalar("saturated", "bool", "a sample lies at an end of the ADC range"),
    scalar("time", "float64", "arrival of the particle since the run began", "ns"),
    scalar("onset", "float32", "where in the signal the first pulse begins", "samples"),
)


@dataclass
class Truth:
    """What the signals really are; one array of shape ``(n,)`` per column of :data:`TRUTH_COLUMNS`."""

    label: Array
    energy: Array
    pile_up: Array
    saturated: Array
    time: Array
    onset: Array

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, part: slice) -> Truth:
        return Truth(*(getattr(self, column.name)[part] for column in TRUTH_COLUMNS))

    @classmethod
    def joined(cls, parts: list[Truth]) -> Truth:
        """All ``parts`` behind one another."""
        empty = [np.zeros(0, column.dtype) for column in TRUTH_COLUMNS]
        return cls(
            *(
                np.concatenate([none, *(getattr(part, column.name) for part in parts)]).astype(column.dtype)
                for column, none in zip(TRUTH_COLUMNS, empty, strict=True)
            )
        )


def generate(
    settings: Simulation, chunk: int = 16_384, tick_ns: float = 10.0, stream: tuple[int, ...] = (), began: float = 0.0
) -> Iterator[tuple[Signals, Truth]]:
    """Simulated signals in order of time; the bytes depend on ``settings`` and ``stream`` alone, not on ``chunk``.

    Parameters
    ----------
    settings
        What to simulate.
    chunk
        Signals made at once.
    tick_ns
        Unit of the timestamps in nanoseconds; 10 for GANIL MFM.
    stream
        Numbers that select an independent stream of the seed, for example run and file.
    began
        Time in ns since the run began at which the file begins.

    Yields
    ------
    signals, truth
        ``chunk`` of them, fewer at the end.

    Examples
    --------
    >>> signals, truth = next(generate(Simulation(signals=1000, neutrons=0.5, seed=7)))
    >>> signals.samples.shape
    (1000, 232)
    """
    hit_key, pulse_key = np.random.SeedSequence(settings.seed, spawn_key=stream).generate_state(2, np.uint64)
    for first in range(0, settings.signals, chunk):
        count = min(chunk, settings.signals - first)
        hits = draw_hits(settings, hit_key, first, count, began)
        signals = Signals.allocate(count, settings.samples, settings.sample_dtype)
        saturated = digitise(settings, pulse_key, first, hits, signals.samples)
        signals.timestamp[:] = np.floor(hits.time / tick_ns).astype(np.uint64)
        signals.board[:] = hits.board
        signals.channel[:] = hits.channel
        began = float(hits.time[-1])
        yield (
            signals,
            Truth(hits.label, hits.energy, hits.second_delay >= 0, saturated, hits.time, onset(settings, hits.time)),
        )
