"""The smaller commands as a user types them: simulate, index, convert, inspect, plot, and their JSON."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from psdbatch.acquisition.index import index_file, open_signals
from psdbatch.acquisition.signals import Signals
from psdbatch.simulation.files import load_truth, truth_path
from tests.campaigns import facts, psdbatch, write_config, write_network


def read_all(path: Path) -> Signals:
    index = index_file(path)
    out = Signals.allocate(index.scan.signals, index.scan.longest, index.scan.sample_dtype, index.scan.columns)
    with open_signals(index) as reader:
        assert reader.read(out) == len(out)
    return out


@pytest.mark.parametrize("format_name", ["mfm", "compass", "packets", "numpy", "zarr"])
def test_simulated_files_of_every_format_hold_the_same_signals_and_the_truth(tmp_path: Path, format_name: str) -> None:
    settings = ("--signals", 3_000, "--set", "seed=7", "--set", "neutrons=0.4", "--set", "boards=2")
    done = psdbatch("simulate", tmp_path / "data", "--run", 42, "--format", format_name, *settings)
    path = Path(done.stdout.strip())
    assert path.parent.name == "run_0042"
    truth = load_truth(truth_path(path))
    assert len(truth) == 3_000
    assert 0.37 < truth.label.mean() < 0.43
    signals = read_all(path)
    assert set(signals.board) == {0, 1}
    (index,) = facts("index", path)["files"]
    assert (index["scan"]["signals"], index["scan"]["longest"], index["format"]) == (3_000, 232, format_name)
    reference = Path(psdbatch("simulate", tmp_path / "other", "--run", 42, *settings).stdout.strip())
    assert np.array_equal(signals.samples, read_all(reference).samples)


def test_conversion_keeps_every_signal_and_column(tmp_path: Path) -> None:
    source = Path(psdbatch("simulate", tmp_path, "--signals", 2_000).stdout.strip())
    target = tmp_path / "run_0001.psdz"
    assert "2,000 = 2,000 written + 0 omitted" in psdbatch("convert", source, target).stdout
    before, after = read_all(source), read_all(target)
    for name in ("samples", "timestamp", "board", "channel", "length"):
        assert np.array_equal(getattr(before, name), getattr(after, name))
    assert before.extra.keys() == after.extra.keys()
    assert all(np.array_equal(before.extra[name], after.extra[name]) for name in before.extra)
    assert target.stat().st_size < source.stat().st_size / 2
    assert "exists already" in psdbatch("convert", source, target, check=1).stderr


def test_a_setting_or_format_that_does_not_exist_is_answered_with_the_nearest(tmp_path: Path) -> None:
    assert "did you mean 'neutrons'?" in psdbatch("simulate", tmp_path, "--set", "neutron=1", check=1).stderr
    assert "did you mean 'packets'?" in psdbatch("simulate", tmp_path, "--format", "packet", check=1).stderr
    assert "photoelectrons per keVee" in psdbatch("simulate", tmp_path, "--settings").stdout


def test_inspect_shows_what_goes_in_and_comes_out(tmp_path: Path) -> None:
    network = write_network(tmp_path / "psd.pb")
    shown = facts("inspect", network)
    assert shown["input"]["shape"] == [None, 75]
    assert [output["name"] for output in shown["outputs"]] == ["output_layer:0"]
    assert shown["outputs"][0]["operation"] == "Softmax"
    text = psdbatch("inspect", network).stdout
    assert "output_layer:0: float32 (any, 2), Softmax" in text
    assert shown["digest"] in text


def test_a_picture_of_a_campaign_shows_its_classes(tmp_path: Path) -> None:
    psdbatch("simulate", tmp_path / "data", "--signals", 4_000)
    network = write_network(tmp_path / "psd.pb")
    facts("run", write_config(tmp_path / "campaign.toml", "data/*/*.mfm", network))
    psdbatch("plot", tmp_path / "campaign", "--output", tmp_path / "psd.png")
    from matplotlib.image import imread

    picture = imread(tmp_path / "psd.png")
    assert picture.shape[0] > 300
    assert len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)) > 50
