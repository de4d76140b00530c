"""A campaign with a quality monitor, by the real commands: the column, its provenance, its summary; what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from psdbatch.config import Charge, PileUp, Preparation, SignalShape
from tests import preparation_reference as reference
from tests.campaigns import WINDOW, facts, psdbatch, pulses, write_config, write_file, write_network
from tests.quality_models import expected_residual, write_autoencoder

SIGNALS = 3_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished campaign with a monitor, in which board 2 channel 7 is noisy."""
    folder = tmp_path_factory.mktemp("quality")
    signals = pulses(SIGNALS)
    odd = (signals.board == 2) & (signals.channel == 7)
    rng = np.random.default_rng(5)
    signals.samples[odd] += np.rint(rng.normal(0, 400, (int(odd.sum()), signals.samples.shape[1]))).astype(np.int16)
    write_file(folder / "data/run_1.psdz", signals)
    np.savez(folder / "signals.npz", samples=signals.samples, odd=odd)
    network = write_network(folder / "network.pb")
    write_autoencoder(folder / "monitor.pb", WINDOW)
    config = write_config(folder / "campaign.toml", f"{folder}/data/*", network, quality={"model": "monitor.pb"})
    psdbatch("run", config)
    return folder


def test_every_signal_has_its_residual_and_the_store_says_whose(folder: Path) -> None:
    store = zarr.open_group(folder / "campaign/results.zarr", mode="r")
    samples = np.load(folder / "signals.npz")["samples"][:200]
    windows, _ = reference.prepare(samples, SignalShape(), Preparation(), Charge(), PileUp(), WINDOW)
    residual = store["run_1/residual"]
    np.testing.assert_allclose(residual[:200], expected_residual(windows), rtol=1e-3, atol=1e-5)
    assert residual.attrs["units"] == "amplitudes"
    assert store.attrs["quality"]["source"].endswith("monitor.pb")
    assert (folder / "campaign/quality/model.pb").read_bytes() == (folder / "monitor.pb").read_bytes()


def test_the_summary_by_channel_is_that_of_the_store(folder: Path) -> None:
    found = facts("quality", folder / "campaign")
    odd = np.load(folder / "signals.npz")["odd"]
    residual = zarr.open_group(folder / "campaign/results.zarr", mode="r")["run_1/residual"][:]
    assert found["signals"] == SIGNALS
    assert len(found["channels"]) == 64
    (row,) = (row for row in found["channels"] if (row["board"], row["channel"]) == (2, 7))
    assert row["signals"] == odd.sum()
    assert row["mean"] == pytest.approx(residual[odd].mean(), rel=1e-5)
    assert row["median"] == pytest.approx(np.median(residual[odd]), rel=0.1)
    assert "run_1" in psdbatch("quality", folder / "campaign", "--threshold", "0.5").stdout


def test_a_network_that_reconstructs_nothing_is_refused_before_anything_runs(folder: Path) -> None:
    network = folder / "network.pb"
    bad = write_config(folder / "bad.toml", f"{folder}/data/*", network, "new", quality={"model": "network.pb"})
    assert "no output has the shape of the signal" in psdbatch("plan", bad, "--no-probe", check=1).stderr
