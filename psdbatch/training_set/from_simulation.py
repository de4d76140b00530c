"""Simulated signals as a source, made in memory each time they are read."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from psdbatch.acquisition.signals import Signals
from psdbatch.config import validated
from psdbatch.config.training_set import Source
from psdbatch.errors import ConfigurationError
from psdbatch.simulation.generate import Truth, generate
from psdbatch.simulation.scintillator import CLASS_NAMES
from psdbatch.simulation.settings import Simulation
from psdbatch.training_set.pieces import ENERGY, TRUE_LABEL
from psdbatch.training_set.sources import PieceReader, SignalSource, SourceFile

Array = NDArray[Any]


class SimulationSource(SignalSource):
    """One simulated file.

    Its random numbers follow from the settings' seed and the name of the source, so that two sources of one set never
    hold the same signals.
    """

    def __init__(self, settings: Source) -> None:
        super().__init__(settings)
        where = f"source '{self.name}': 'simulation'"
        self._simulation = validated(Simulation, dict(settings.simulation or {}), where)
        if not self._simulation.signals:
            raise ConfigurationError(f"{where}: 'signals' is 0; nothing would be simulated")
        state = {"format": "simulation", "settings": self._simulation.model_dump(mode="json")}
        self.files = (
            SourceFile(
                path=f"simulation of '{self.name}'",
                run=self.name,
                signals=self._simulation.signals,
                samples=self._simulation.samples,
                sample_dtype=self._simulation.sample_dtype,
                sampling_period_ns=self._simulation.sampling_period,
                timestamp_unit="10 ns",
                state=state,
            ),
        )

    @property
    def classes(self) -> tuple[str, ...]:
        return CLASS_NAMES

    def open(self, file: SourceFile, rows: int) -> PieceReader:
        return SimulationReader(generate(self._simulation, rows, stream=(zlib.crc32(self.name.encode()),)))

    def question(self) -> dict[str, Any]:
        return {file.path: dict(file.state) for file in self.files}


class SimulationReader(PieceReader):
    """Makes signals chunk by chunk; ``chunks`` are those of :func:`psdbatch.simulation.generate.generate`."""

    def __init__(self, chunks: Iterator[tuple[Signals, Truth]]) -> None:
        self._chunks = chunks
        self._begin, self._held = 0, next(chunks)

    def read(self, first: int, count: int) -> tuple[Signals, dict[str, Array]]:
        while first >= self._begin + len(self._held[0]):
            self._begin += len(self._held[0])
            self._held = next(self._chunks)
        part = slice(first - self._begin, first - self._begin + count)
        signals, truth = self._held[0][part], self._held[1][part]
        if len(signals) < count:
            raise AssertionError("a stretch ends in another chunk than it begins in")
        return signals, {TRUE_LABEL: truth.label, ENERGY: truth.energy}

    def close(self) -> None:
        self._held = (self._held[0][:0], self._held[1][:0])
