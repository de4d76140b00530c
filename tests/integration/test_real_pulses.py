"""A network trained on simulation alone, on real pulses of another scintillator, photodetector and digitiser.

The 32 pulses were read off a published figure whose labels look swapped: the longer tail is the neutron's.  Neither period nor
detector are known here, so simulation and pulses are brought together by the width and shape of the mean pulse, both
classes mixed: a photodetector's response of 30 ns, and 5.75 ns for a sample.  No label is used for that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from psdbatch.columns import charge_ratio
from psdbatch.config import Charge, PileUp, Preparation, SignalShape
from psdbatch.evaluation.classification import evidence
from psdbatch.evaluation.resampling import resampled, width_at_half
from psdbatch.evaluation.roc import roc
from psdbatch.simulation.generate import generate
from psdbatch.simulation.settings import Simulation
from tests.preparation_reference import prepare

Array = NDArray[Any]

MEASURED_PERIOD_NS = 5.75
SIGNALS = SignalShape(baseline=40)
WINDOW = 120


@pytest.fixture(scope="module")
def pulses(shared_data: Path) -> tuple[Array, Array]:
    """Raw signals, int16 ``(32, 270)`` of 5 ns, and which of them have the longer tail by the figure's colours."""
    with np.load(shared_data / "neutron-gamma" / "sipm-waveforms-32.npz") as file:
        short, long = file["blue_neutron_label"], file["red_gamma_label"]
    volts = np.concatenate([short, long]).astype(float)
    volts -= volts[:, :50].mean(axis=1, keepdims=True)
    grid = resampled(volts, SIGNALS.sampling_period / MEASURED_PERIOD_NS, 270)
    return np.rint(15_000 - 8_000 * grid).astype(np.int16), np.repeat([False, True], 16)


def simulated(signals: int = 6000) -> tuple[Array, Array]:
    """Raw signals of 5 ns, and which are neutrons."""
    settings = Simulation(
        signals=signals,
        samples=270,
        neutrons=0.5,
        response="30 ns",
        pile_up=0.0,
        spectrum="uniform",
        lowest_energy=100,
        highest_energy=1000,
        trigger=65,
        noise=8.0,
        gain=40.0,
        seed=5,
    )
    made, truth = next(generate(settings, chunk=signals))
    return made.samples, truth.label == 1


def test_mean_pulses_agree_in_width_after_resampling(pulses: tuple[Array, Array]) -> None:
    widths = []
    for raw in (pulses[0], simulated(500)[0]):
        height = 15_000.0 - raw
        mean = np.mean([np.roll(row, 60 - int(row.argmax())) for row in height], axis=0)
        widths.append(width_at_half(mean - mean[:40].mean()))
    assert widths[0] == pytest.approx(widths[1], rel=0.15)


@pytest.mark.slow
def test_a_network_trained_on_simulation_separates_real_pulses(pulses: tuple[Array, Array]) -> None:
    from psdbatch.models.preparation import model_input
    from psdbatch.models.preparation import pulses as find_pulses
    from psdbatch.models.quiet import tf

    def windows(raw: Array) -> Array:
        return np.asarray(model_input(find_pulses(tf.constant(raw), SIGNALS), Preparation(), WINDOW))

    raw, neutron = simulated()
    tf.keras.utils.set_random_seed(1)
    layers = tf.keras.layers
    network = tf.keras.Sequential(
        [tf.keras.Input((WINDOW,)), layers.Dense(16, activation="relu"), layers.Dense(2, activation="softmax")]
    )
    network.compile(tf.keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    network.fit(windows(raw), neutron.astype(int), batch_size=128, epochs=6, verbose=0)
    measured, long_tail = pulses
    odds = evidence(np.asarray(network(windows(measured)), np.float64), 1)
    right = int(((odds > 0) == long_tail).sum())
    assert right >= 26  # 27 with every seed tried; three more lie just beyond the threshold
    assert roc(odds, long_tail).area > 0.9
    assert roc(odds, ~long_tail).area < 0.1  # with the labels as published it would be wrong nearly everywhere
    wrong = np.flatnonzero((odds > 3) & ~long_tail | (odds < -3) & long_tail)
    assert len(wrong) <= 2  # two pulses look clearly like the other class; the charge ratio says the same

    _, columns = prepare(measured, SIGNALS, Preparation(), Charge(long=100), PileUp(), WINDOW)
    ratio = charge_ratio(columns["charge_long"], columns["charge_short"])
    assert roc(odds, long_tail).area > roc(ratio, long_tail).area - 0.05
