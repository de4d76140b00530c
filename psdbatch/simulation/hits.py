"""Which particle hits which channel when: the truth of the simulation, drawn signal by signal in compiled code."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.compiled import compiled
from psdbatch.simulation.chance import start, uniform
from psdbatch.simulation.scintillator import energy_quantiles
from psdbatch.simulation.settings import Simulation

Array = NDArray[Any]


@dataclass
class Hits:
    """Consecutive hits; all arrays of shape ``(n,)``.

    ``time`` in ns since the run began; ``label`` 0 gamma, 1 neutron; ``energy`` in keVee; ``second_*`` describe the
    piled-up pulse, ``second_delay`` in ns after the first one, negative where there is none.
    """

    time: Array
    board: Array
    channel: Array
    label: Array
    energy: Array
    second_label: Array
    second_energy: Array
    second_delay: Array

    @classmethod
    def allocate(cls, n: int) -> Hits:
        """Zeroed hits."""
        return cls(
            np.zeros(n, np.float64),
            np.zeros(n, np.uint16),
            np.zeros(n, np.uint16),
            np.zeros(n, np.uint8),
            np.zeros(n, np.float32),
            np.zeros(n, np.uint8),
            np.zeros(n, np.float32),
            np.zeros(n, np.float32),
        )


def draw_hits(settings: Simulation, key: np.uint64, first: int, count: int, time: float) -> Hits:
    """Hits number ``first`` to ``first + count``; ``time`` (ns) is that of the hit before them."""
    hits = Hits.allocate(count)
    window = (settings.samples - settings.trigger) * settings.sampling_period
    rate = settings.rate * 1e-9
    given = settings.pile_up != "rate"
    probability = float(settings.pile_up) if given else -math.expm1(-rate * window)
    _draw(
        key,
        first,
        time,
        rate * settings.boards * settings.channels,
        settings.boards,
        settings.channels,
        _neutron_probability(settings, first, count),
        energy_quantiles(settings.spectrum, settings.lowest_energy, settings.highest_energy),
        probability,
        0.0 if given else rate,
        window,
        hits.time,
        hits.board,
        hits.channel,
        hits.label,
        hits.energy,
        hits.second_label,
        hits.second_energy,
        hits.second_delay,
    )
    return hits


def _neutron_probability(settings: Simulation, first: int, count: int) -> Array:
    stretches = settings.stretches()
    ends = np.cumsum([stretch.fraction for stretch in stretches]) * settings.signals
    number = np.searchsorted(np.rint(ends), np.arange(first, first + count), side="right")
    return np.array([stretch.neutrons for stretch in stretches])[np.minimum(number, len(stretches) - 1)]


@compiled
def _quantile(table: Array, probability: float) -> float:
    place = probability * (len(table) - 1)
    below = int(place)
    return float(table[below] + (place - below) * (table[below + 1] - table[below]))


@compiled
def _draw(
    key: np.uint64,
    first: int,
    now: float,
    total_rate: float,
    boards: int,
    channels: int,
    neutrons: Array,
    energies: Array,
    pile_up: float,
    rate: float,
    window: float,
    time: Array,
    board: Array,
    channel: Array,
    label: Array,
    energy: Array,
    second_label: Array,
    second_energy: Array,
    second_delay: Array,
) -> None:
    state = np.zeros(1, np.uint64)
    for i in range(len(time)):
        start(state, key, first + i)
        now += -math.log(1.0 - uniform(state)) / total_rate
        time[i] = now
        board[i] = int(uniform(state) * boards)
        channel[i] = int(uniform(state) * channels)
        label[i] = 1 if uniform(state) < neutrons[i] else 0
        energy[i] = _quantile(energies[label[i]], uniform(state))
        second_delay[i] = -1.0
        if uniform(state) < pile_up:
            share = uniform(state)
            if rate > 0.0:  # first of the later arrivals, given that one lies inside the window
                second_delay[i] = -math.log(1.0 - share * pile_up) / rate
            else:
                second_delay[i] = share * window
            second_label[i] = 1 if uniform(state) < neutrons[i] else 0
            second_energy[i] = _quantile(energies[second_label[i]], uniform(state))
