"""Simulated signals come out as asked, and follow the measurement."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from psdbatch.acquisition.format import AcquisitionFormat, SignalWriter, WriterSettings
from psdbatch.acquisition.index import index_file, open_signals
from psdbatch.acquisition.signals import Signals
from psdbatch.columns import charge_ratio
from psdbatch.config import validated
from psdbatch.errors import ConfigurationError
from psdbatch.monitor.figure_of_merit import figures_of_merit
from psdbatch.simulation import files
from psdbatch.simulation.digitiser import response
from psdbatch.simulation.files import load_truth, simulate, simulate_run, truth_path
from psdbatch.simulation.generate import Truth, generate
from psdbatch.simulation.scintillator import (
    DECAY_TIMES_NS,
    GAMMA,
    LIGHT_FRACTIONS,
    NEUTRON,
    compton_electron_density,
    energy_quantiles,
    proton_light,
)
from psdbatch.simulation.settings import Simulation

Array = NDArray[Any]

EDGES_KEV = (100, 200, 300, 500, 1000, 2000)
MEASURED = (0.81, 1.13, 1.32, 1.40, 1.55)


def all_of(settings: Simulation, **options: Any) -> tuple[Signals, Truth]:
    """Everything :func:`generate` yields, in one piece."""
    parts = list(generate(settings, **options))
    truth = Truth.joined([part for _, part in parts])
    signals = Signals.allocate(len(truth), settings.samples, settings.sample_dtype)
    position = 0
    for chunk, _ in parts:
        for name in ("samples", "timestamp", "board", "channel"):
            getattr(signals, name)[position : position + len(chunk)] = getattr(chunk, name)
        position += len(chunk)
    return signals, truth


def gate_charges(samples: Array, short: int = 10, long: int = 60, offset: int = -3) -> tuple[Array, Array]:
    """Long and short charge with the default gates of the configuration, signal by signal."""
    charges = []
    for row in samples.astype(float):
        pulse = row[:16].mean() - row
        begin = int(np.argmax(pulse >= 0.2 * pulse.max())) + offset
        charges.append((pulse[begin : begin + long].sum(), pulse[begin : begin + short].sum()))
    return np.array(charges).T


def test_the_figure_of_merit_follows_the_measured_values() -> None:
    settings = Simulation(signals=80_000, neutrons=0.5, lowest_energy=80, highest_energy=2300, pile_up=0.0)
    signals, truth = all_of(settings)
    long, short = gate_charges(signals.samples)
    per_kev = np.median((long / truth.energy)[truth.label == GAMMA])
    found = figures_of_merit(long / per_kev, charge_ratio(long, short), EDGES_KEV)
    assert [f.value for f in found] == pytest.approx(MEASURED, rel=0.08)


@pytest.mark.parametrize("label", [GAMMA, NEUTRON])
def test_the_mean_pulse_decays_as_the_components_say(label: int) -> None:
    settings = Simulation(
        signals=4_000,
        neutrons=label,
        lowest_energy=1000,
        highest_energy=1001,
        pile_up=0.0,
        noise=0.5,
        baseline_spread=0.0,
        trigger=20,
    )
    signals, truth = all_of(settings)
    pulse = (settings.baseline - signals.samples.astype(float)).mean(axis=0)
    assert pulse.sum() == pytest.approx(_light_before(232 - 20.5, label) * 1000.5 * settings.gain, rel=0.01)
    for samples_behind in (10, 20, 40, 100):
        edge = 20 + samples_behind
        share = pulse[edge:].sum() / pulse.sum()
        # behind the light lie the mean delay of the response (3 tau), half a sample of the trigger's phase, and half a
        # sample because the sum from sample k on stands for the time from k - 1/2 on
        lag = 3 * 10 / 3.3948 / 5 + 0.5 + 0.5
        ends = [_light_before(samples_behind - lag, label), _light_before(232 - 20 - lag, label)]
        assert share == pytest.approx(1 - ends[0] / ends[1], rel=0.03)
    assert np.std(truth.onset) == pytest.approx(1 / np.sqrt(12), rel=0.05)


def _light_before(samples: float, label: int) -> float:
    decays = zip(LIGHT_FRACTIONS[label], DECAY_TIMES_NS, strict=True)
    return sum(share * (1 - np.exp(-samples * 5 / tau)) for share, tau in decays)


def test_light_fractions_are_complete() -> None:
    assert np.sum(LIGHT_FRACTIONS, axis=1) == pytest.approx([1, 1])


def test_photoelectrons_fluctuate_as_poisson_with_the_spread_of_single_ones() -> None:
    settings = Simulation(
        signals=20_000,
        neutrons=0,
        lowest_energy=300,
        highest_energy=300.01,
        pile_up=0.0,
        noise=0.0,
        baseline_spread=0.0,
        slow_spread=0.0,
        samples=2000,
        trigger=20,
    )
    signals, _ = all_of(settings)
    charge = settings.baseline - signals.samples.astype(float)
    total = charge.sum(axis=1)
    photoelectrons = 300 * settings.photoelectrons
    assert total.mean() == pytest.approx(300 * settings.gain, rel=0.005)
    assert total.std() / total.mean() == pytest.approx(np.sqrt((1 + 0.4**2) / photoelectrons), rel=0.05)


def test_noise_and_baseline_are_what_was_asked() -> None:
    signals, _ = all_of(Simulation(signals=5_000, noise=3.0, baseline_spread=5.0, baseline=9000, pile_up=0.0))
    quiet = signals.samples[:, :40].astype(float)
    assert quiet.std(axis=1, ddof=1).mean() == pytest.approx(np.sqrt(9 + 1 / 12), rel=0.02)
    assert quiet.mean() == pytest.approx(9000, abs=0.3)
    assert quiet.mean(axis=1).std() == pytest.approx(5.0, rel=0.05)


def test_positive_pulses_rise() -> None:
    signals, _ = all_of(Simulation(signals=200, polarity="positive", baseline=1000, pile_up=0.0))
    assert (signals.samples.max(axis=1) - 1000 > 1000 - signals.samples.min(axis=1)).all()


@pytest.mark.parametrize("bits", [10, 14])
def test_large_pulses_saturate_at_the_end_of_the_range(bits: int) -> None:
    settings = Simulation(
        signals=3_000, spectrum="uniform", highest_energy=9000, adc_bits=bits, baseline=2**bits - 200.0, pile_up=0.0
    )
    signals, truth = all_of(settings)
    at_the_end = (signals.samples == 0).any(axis=1) | (signals.samples == 2**bits - 1).any(axis=1)
    assert np.array_equal(truth.saturated, at_the_end)
    assert 0.05 < at_the_end.mean() < 1
    assert signals.samples.min() == 0
    assert signals.samples.max() < 2**bits
    assert truth.energy[at_the_end].min() > 0.5 * truth.energy[~at_the_end].max()


def test_classes_are_mixed_as_asked() -> None:
    _, truth = all_of(Simulation(signals=20_000, neutrons=0.3, samples=20, trigger=10))
    for half in (truth.label[:10_000], truth.label[10_000:]):
        assert half.mean() == pytest.approx(0.3, abs=0.02)


def test_by_class_puts_all_gammas_first() -> None:
    _, truth = all_of(Simulation(signals=1_000, neutrons=0.37, order="by class", samples=20, trigger=10))
    assert np.array_equal(truth.label, np.repeat([GAMMA, NEUTRON], [630, 370]))


def test_stretches_have_their_own_mix() -> None:
    order = ({"fraction": 0.4, "neutrons": 0.25}, {"fraction": 0.6, "neutrons": 1.0})
    settings = validated(Simulation, {"signals": 10_000, "order": order, "samples": 20, "trigger": 10}, "test")
    _, truth = all_of(settings)
    assert truth.label[:4_000].mean() == pytest.approx(0.25, abs=0.03)
    assert truth.label[4_000:].all()


def test_pile_up_comes_as_often_as_asked_and_adds_light() -> None:
    settings = Simulation(signals=10_000, pile_up=0.2, spectrum="uniform", lowest_energy=500, highest_energy=600)
    signals, truth = all_of(settings)
    charge = (settings.baseline - signals.samples.astype(float)).sum(axis=1)
    assert truth.pile_up.mean() == pytest.approx(0.2, abs=0.015)
    assert np.median(charge[truth.pile_up]) > 1.6 * np.median(charge[~truth.pile_up])


def test_pile_up_follows_the_rate() -> None:
    settings = Simulation(signals=30_000, rate=200_000)
    _, truth = all_of(settings)
    window = (232 - 40) * 5e-9
    assert truth.pile_up.mean() == pytest.approx(1 - np.exp(-200_000 * window), rel=0.05)


def test_time_goes_on_at_the_rate_and_timestamps_are_its_ticks() -> None:
    settings = Simulation(signals=20_000, rate=500.0, boards=2, channels=8, samples=20, trigger=10)
    signals, truth = all_of(settings, tick_ns=10.0)
    assert (np.diff(truth.time) >= 0).all()
    assert np.diff(truth.time).mean() == pytest.approx(1e9 / (500 * 16), rel=0.03)
    assert np.array_equal(signals.timestamp, (truth.time // 10).astype(np.uint64))


def test_every_channel_of_every_board_is_hit() -> None:
    signals, _ = all_of(Simulation(signals=20_000, boards=5, channels=16, samples=20, trigger=10))
    hits = np.bincount(signals.board.astype(int) * 16 + signals.channel, minlength=80)
    assert len(hits) == 80
    assert hits.min() > 0.7 * 250
    assert hits.max() < 1.3 * 250


def test_energies_lie_in_the_range_and_neutrons_fall_more_steeply() -> None:
    _, truth = all_of(Simulation(signals=20_000, neutrons=0.5, lowest_energy=80, highest_energy=3000))
    assert truth.energy.min() >= 80
    assert truth.energy.max() <= 3000
    assert np.median(truth.energy[truth.label == NEUTRON]) < np.median(truth.energy[truth.label == GAMMA])
    assert energy_quantiles("uniform", 100, 300)[:, 2048] == pytest.approx([200, 200])


def test_proton_light_is_that_of_cecil_and_others() -> None:
    # by hand: 0.83 * 5 - 2.82 * (1 - exp(-0.25 * 5**0.93)) MeV
    assert proton_light(np.array([5000.0])) == pytest.approx(4150 - 2820 * (1 - np.exp(-0.25 * 4.46724)), rel=1e-4)


def test_electrons_follow_klein_and_nishina() -> None:
    # independent: the angular formula, scattered by random photons and angles, and the electron's energy counted
    random = np.random.default_rng(5)
    photon = random.uniform(100, 8000, 2_000_000)
    cosine = random.uniform(-1, 1, len(photon))
    left = 1 / (1 + photon / 511.0 * (1 - cosine))  # scattered energy over the photon's
    weight = np.exp(-photon / 900) * left**2 * (left + 1 / left - (1 - cosine**2))
    edges = np.array([100, 200, 300, 500, 800, 1200, 2000, 3000])
    counted = np.histogram(photon * (1 - left), edges, weights=weight)[0]
    fine = [np.linspace(low, high, 201) for low, high in pairwise(edges)]
    expected = np.array([compton_electron_density(x).mean() * (x[-1] - x[0]) for x in fine])
    assert counted / counted.sum() == pytest.approx(expected / expected.sum(), rel=0.03)


def test_the_response_has_the_width_asked_for() -> None:
    shape = response(10.0, 0.05)[0]
    high = np.flatnonzero(shape >= shape.max() / 2)
    assert (high[-1] - high[0]) * 0.05 == pytest.approx(10.0, rel=0.02)
    assert response(10.0, 5.0).sum(axis=1).mean() == pytest.approx(1.0)


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not() -> None:
    settings = Simulation(signals=300, pile_up=0.3)
    first, again = all_of(settings), all_of(settings)
    other = all_of(settings.model_copy(update={"seed": 2}))
    next_file = all_of(settings, stream=(1, 1))
    assert first[0].samples.tobytes() == again[0].samples.tobytes()
    assert not np.array_equal(first[0].samples, other[0].samples)
    assert not np.array_equal(first[1].energy, next_file[1].energy)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lowest_energy": 500, "highest_energy": 400}, "must be below highest_energy"),
        ({"trigger": 300}, "must lie inside the 232 samples"),
        ({"baseline": 20_000}, "0 to 16383"),
        ({"pile_up": 1.5}, "fraction between 0 and 1"),
        ({"order": [{"fraction": 0.5, "neutrons": 1}]}, "must add up to 1"),
        ({"neutron": 0.5}, "unknown key 'neutron'; did you mean 'neutrons'"),
    ],
)
def test_impossible_settings_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        validated(Simulation, values, "[simulation]")


class RawWriter(SignalWriter):
    """Samples and timestamps one after another: the smallest real format."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, signals: Signals) -> None:
        self._file.write(signals.samples.tobytes())

    def close(self) -> None:
        self._file.close()


class Raw(AcquisitionFormat):
    """A format of another laboratory."""

    name: ClassVar[str] = "raw"
    recognises = scan = reader = None  # type: ignore[assignment]
    given: ClassVar[list[WriterSettings]] = []

    @classmethod
    def writer(cls, path: Path, settings: WriterSettings) -> SignalWriter:
        cls.given.append(settings)
        return RawWriter(path)


@pytest.fixture
def raw_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the format ``raw`` alone."""
    monkeypatch.setattr(files, "formats", lambda: {"raw": Raw})


@pytest.mark.usefixtures("raw_format")
def test_files_hold_the_signals_with_the_truth_beside_them(tmp_path: Path) -> None:
    settings = Simulation(signals=500)
    truth = simulate(tmp_path / "new" / "board3.raw", settings, "raw")
    samples = np.fromfile(tmp_path / "new" / "board3.raw", np.int16).reshape(500, 232)
    stored = load_truth(tmp_path / "new" / "board3.raw.truth.npz")
    assert np.array_equal(samples, all_of(settings)[0].samples)
    assert np.array_equal(stored.energy, truth.energy)
    assert np.array_equal(stored.label, truth.label)
    assert Raw.given[-1] == WriterSettings(232, "int16", "10 ns", 5.0)


@pytest.mark.parametrize("format_name", ["mfm", "compass", "packets", "numpy", "zarr"])
def test_every_writable_format_gives_the_simulated_signals_back(tmp_path: Path, format_name: str) -> None:
    settings = Simulation(signals=300, boards=3)
    (path,) = simulate_run(tmp_path, settings, run=7, format_name=format_name)
    index = index_file(path)
    found = Signals.allocate(index.scan.signals, 232, index.scan.sample_dtype)
    with open_signals(index) as reader:
        assert reader.read(found) == 300
    tick_ns = {"1 ps": 1e-3, "10 ns": 10.0}[index.scan.timestamp_unit]
    expected, _ = all_of(settings, stream=(7, 0), tick_ns=tick_ns)
    for name in ("samples", "timestamp", "board", "channel"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name


@pytest.mark.usefixtures("raw_format")
def test_a_run_goes_on_from_file_to_file(tmp_path: Path) -> None:
    paths = simulate_run(tmp_path, Simulation(signals=200), run=42, files=3, format_name="raw")
    assert [str(path.relative_to(tmp_path)) for path in paths] == [f"run_0042/part_00{k}.raw" for k in range(3)]
    times = np.concatenate([load_truth(truth_path(path)).time for path in paths])
    assert (np.diff(times) >= 0).all()
    assert len({path.read_bytes() for path in paths}) == 3
    longer = simulate_run(tmp_path / "longer", Simulation(signals=200), run=42, files=4, format_name="raw")
    assert [path.read_bytes() for path in longer[:3]] == [path.read_bytes() for path in paths]


@pytest.mark.usefixtures("raw_format")
def test_an_unknown_format_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no format 'ray'; did you mean 'raw'"):
        simulate(tmp_path / "a", Simulation(signals=1), "ray")
