"""Figure of merit: what a double-Gaussian fit finds, and when it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from psdbatch.columns import charge_ratio
from psdbatch.errors import ConfigurationError
from psdbatch.monitor.figure_of_merit import (
    FWHM_PER_SIGMA,
    FigureOfMeritError,
    Gates,
    figure_of_merit,
    figures_of_merit,
)
from psdbatch.monitor.plots import fom_plot, psd_plot


def two_peaks(
    neutrons: int, gammas: int, seed: int = 1, sigma: tuple[float, float] = (0.01, 0.02)
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Values around 0.10 (gammas) and 0.20 (neutrons)."""
    random = np.random.default_rng(seed)
    return np.concatenate([random.normal(0.1, sigma[0], gammas), random.normal(0.2, sigma[1], neutrons)])


@pytest.mark.parametrize(("neutrons", "gammas"), [(20_000, 20_000), (1_500, 30_000), (30_000, 1_500)])
def test_the_fit_finds_the_peaks_that_were_put_in(neutrons: int, gammas: int) -> None:
    found = figure_of_merit(two_peaks(neutrons, gammas))
    expected = 0.1 / (FWHM_PER_SIGMA * 0.03)
    assert found.value == pytest.approx(expected, rel=0.06)
    assert found.gamma.mean == pytest.approx(0.1, abs=0.002)
    assert found.neutron.mean == pytest.approx(0.2, abs=0.003)
    assert found.gamma.signals == pytest.approx(gammas, rel=0.05)
    assert found.neutron.signals == pytest.approx(neutrons, rel=0.1)


def test_pile_up_outside_the_peaks_does_not_move_the_result() -> None:
    clean = two_peaks(4_000, 10_000)
    dirty = np.concatenate([clean, np.random.default_rng(2).uniform(0.0, 0.9, 700), [np.nan, np.inf, 50.0]])
    assert figure_of_merit(dirty).value == pytest.approx(figure_of_merit(clean).value, rel=0.05)


def test_the_uncertainty_is_the_scatter_of_repeated_measurements() -> None:
    repeated = [figure_of_merit(two_peaks(1_000, 1_000, seed)) for seed in range(60)]
    scatter = np.std([found.value for found in repeated])
    assert np.mean([found.uncertainty for found in repeated]) == pytest.approx(scatter, rel=0.5)


def test_few_signals_are_refused_with_their_number() -> None:
    with pytest.raises(FigureOfMeritError, match=r"^30 signals between 100 and 200 are too few"):
        figure_of_merit(two_peaks(10, 20), 100, 200)


@pytest.mark.parametrize(
    "values", [np.random.default_rng(3).normal(0.1, 0.01, 5_000), np.full(5_000, 0.1)], ids=["one peak", "one value"]
)
def test_one_peak_is_refused(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    with pytest.raises(FigureOfMeritError, match="one peak, not two"):
        figure_of_merit(values)


def test_windows_take_the_signals_of_their_energy_and_report_the_gates() -> None:
    gates = Gates("threshold", -3, 10, 60)
    values = np.concatenate([two_peaks(2_000, 2_000), two_peaks(2_000, 2_000, sigma=(0.005, 0.01))])
    energy = np.repeat([150.0, 1500.0], 4_000)
    low, high = figures_of_merit(energy, values, [100, 1000, 2000], gates)
    assert (low.low, low.high, high.low, high.high) == (100, 1000, 1000, 2000)
    assert low.signals == high.signals == 4_000
    assert high.value == pytest.approx(2 * low.value, rel=0.1)
    assert str(high.gates) == "short 10, long 60 samples from threshold -3"


def test_charge_ratio_is_the_share_behind_the_short_gate() -> None:
    ratio = charge_ratio([100, 50, 0, -5], [80, 50, 3, 1])
    assert ratio[:2] == pytest.approx([0.2, 0.0])
    assert np.isnan(ratio[2:]).all()


def test_measured_events_give_the_published_values(shared_data: Path) -> None:
    uproot = pytest.importorskip("uproot")
    tree = uproot.open(shared_data / "neutron-gamma" / "ne213-stilbene-run3200.root")["T"].arrays(library="np")
    liquid = tree["route"] == 4
    energy = 1.455 * tree["ea"][liquid] - 200.0
    spread = np.random.default_rng(1).uniform(-0.5, 0.5, liquid.sum())
    found = figures_of_merit(energy, tree["psd"][liquid] + spread, [100, 200, 300, 500, 1000, 2000])
    assert [f.value for f in found] == pytest.approx([0.81, 1.13, 1.32, 1.40, 1.55], abs=0.02)


def test_plots_are_written_without_a_display(tmp_path: Path) -> None:
    values = two_peaks(2_000, 2_000)
    charge = np.geomspace(10, 1e4, len(values))
    label = (values > 0.15).astype(np.uint8)
    label[:10] = 255
    found = [figure_of_merit(values, 100, 1000)]
    psd_plot(tmp_path / "new" / "psd.png", charge, values, label, figures=found, title="run_0042")
    psd_plot(tmp_path / "plain.svg", charge, values)
    fom_plot(tmp_path / "fom.png", {"simulated": found}, {"measured": ([100, 1000], [1.2])})
    assert (tmp_path / "new" / "psd.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "plain.svg").read_text()[:1000]
    assert (tmp_path / "fom.png").stat().st_size > 10_000


def test_a_plot_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="none of 2 signals"):
        psd_plot(tmp_path / "psd.png", [1.0, -1.0], [np.nan, 0.1])
