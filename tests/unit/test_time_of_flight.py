"""Time of flight as truth: contamination and its subtraction; real NE-213 and stilbene events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from psdbatch.evaluation.errors import EvaluationError
from psdbatch.evaluation.roc import roc
from psdbatch.evaluation.time_of_flight import contamination, tagged_separation
from psdbatch.monitor.figure_of_merit import figures_of_merit

Array = NDArray[Any]


def events(seed: int = 1) -> tuple[Array, Array]:
    """Parameter and time of flight: 4,000 neutrons, 3,000 gammas, and 20,000 accidental signals, a tenth neutrons."""
    random = np.random.default_rng(seed)
    neutrons, gammas, others = random.poisson([4000, 3000, 20_000])
    accidental = random.random(others) < 0.1
    parameter = [random.normal(2, 1, neutrons), random.normal(0, 1, gammas), random.normal(2.0 * accidental, 1)]
    time = [random.uniform(50, 60, neutrons), random.uniform(20, 24, gammas), random.uniform(0, 400, others)]
    return np.concatenate(parameter), np.concatenate(time)


def test_accidental_signals_under_a_peak_are_those_of_the_quiet_range() -> None:
    found = contamination(events()[1], (50, 60), (100, 400))
    assert found.accidental == pytest.approx(500, rel=0.03)
    assert found.share == pytest.approx(500 / 4500, rel=0.05)
    shares = [contamination(events(seed)[1], (50, 60), (100, 400)).share for seed in range(80)]
    assert found.share_sigma == pytest.approx(np.std(shares), rel=0.3)


def test_subtraction_finds_the_separation_of_pure_signals() -> None:
    found = tagged_separation(*events(), neutrons=(50, 60), gammas=(20, 24), quiet=(100, 400), repetitions=50)
    pure = 0.9214  # Phi(2 / sqrt 2)
    assert found.area < pure - 0.03
    assert found.subtracted == pytest.approx(pure, abs=3 * found.subtracted_sigma)
    assert found.subtracted_sigma < 0.01


def test_area_without_subtraction_is_that_of_the_roc() -> None:
    parameter, time = events()
    found = tagged_separation(parameter, time, (50, 60), (20, 24), (100, 400), repetitions=20)
    chosen = ((time >= 50) & (time < 60)) | ((time >= 20) & (time < 24))
    curve = roc(parameter[chosen], time[chosen] >= 50)
    assert found.area == pytest.approx(curve.area, abs=1e-12)
    assert found.area_sigma == pytest.approx(curve.area_sigma, rel=0.5)


def test_ranges_that_cannot_be_are_refused() -> None:
    with pytest.raises(EvaluationError, match="overlaps"):
        contamination([1.0, 2.0], (0, 5), (4, 9))
    with pytest.raises(EvaluationError, match="no signal in"):
        contamination([1.0, 2.0], (0, 5), (6, 9))


@pytest.fixture(scope="module")
def run_3200(shared_data: Path) -> dict[str, Array]:
    """Real events; a random part of a channel is added to the integers ``psd``."""
    uproot = pytest.importorskip("uproot")
    tree: dict[str, Array] = uproot.open(shared_data / "neutron-gamma" / "ne213-stilbene-run3200.root")["T"].arrays(
        library="np"
    )
    tree["parameter"] = tree["psd"] + np.random.default_rng(1).uniform(-0.5, 0.5, len(tree["psd"]))
    return tree


def test_figures_of_merit_of_measured_ne213_equal_the_published_ones(run_3200: dict[str, Array]) -> None:
    liquid = run_3200["route"] == 4
    energy = 1.455 * run_3200["ea"][liquid] - 200.0
    found = figures_of_merit(energy, run_3200["parameter"][liquid], [100, 200, 300, 500, 1000, 2000])
    assert [entry.value for entry in found] == pytest.approx([0.81, 1.13, 1.32, 1.40, 1.55], abs=0.02)


@pytest.mark.parametrize(("low", "high", "least"), [(0, 100, 0.96), (100, 300, 0.98), (300, 1000, 0.985)])
def test_charge_comparison_of_measured_ne213_against_time_of_flight(
    run_3200: dict[str, Array], low: float, high: float, least: float
) -> None:
    """Neutrons are those of the beam energy's peak, gammas those of the flash; windows of light output in keVee.

    Without subtraction the areas are far smaller, because half of the signals under the flash are accidental.
    """
    energy = 1.455 * run_3200["ea"] - 200.0
    chosen = (run_3200["route"] == 4) & (energy >= low) & (energy < high)
    time = run_3200["tof"][chosen]
    found = tagged_separation(
        run_3200["parameter"][chosen], time, (784, 812), (1136, 1160), (1250, 1700), repetitions=20
    )
    assert least < found.subtracted < 1 + 3 * found.subtracted_sigma
    assert found.subtracted > found.area + 3 * found.area_sigma
    assert found.gammas.share > 0.3


def test_charge_comparison_of_measured_stilbene_against_time_of_flight(run_3200: dict[str, Array]) -> None:
    """Signals with a parameter below 100 are the pedestal of channels that did not fire."""
    chosen = (run_3200["route"] == 8) & (run_3200["psd"] > 100)
    time = run_3200["tof"][chosen]
    found = tagged_separation(
        run_3200["parameter"][chosen], time, (1195, 1225), (1410, 1445), (1700, 3300), repetitions=20
    )
    assert 0.96 < found.subtracted < 0.99
    assert found.subtracted > found.area
    assert found.neutrons.share < 0.03
    assert found.gammas.share < 0.04
