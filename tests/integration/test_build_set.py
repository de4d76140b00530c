"""``psdbatch build-set`` as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from psdbatch.training_set.store import open_set
from tests.campaigns import command, facts, psdbatch
from tests.small_campaign import tree

CONFIGURATION = """
training = "neda"

[set]
bins = 3
signals = {signals}

[[set.sources]]
name = "beam"
simulation = {{ signals = {simulated}, boards = 1, channels = 2, order = [
    {{ fraction = 0.75, neutrons = 0.0 }}, {{ fraction = 0.25, neutrons = 1.0 }}] }}
label = {{ truth = true }}
"""


def write(folder: Path, signals: int, simulated: int) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "training.toml"
    path.write_text(CONFIGURATION.format(signals=signals, simulated=simulated))
    return path


def test_the_command_builds_shows_strata_and_alarm_and_uses_the_set_again(tmp_path: Path) -> None:
    config = write(tmp_path, 800, 4000)
    shown = psdbatch("build-set", config).stdout
    assert "ALARM: source 'beam' is ordered by class: 100 % 'gamma' between 0 and 10 % of its length" in shown
    assert "train 640, validation 80, test 80" in shown
    row = next(line for line in shown.splitlines() if line.startswith("neutron  amplitude from"))
    available, *parts, short = (int(word) for word in row.split()[-5:])
    assert available == sum(parts) > 0  # too few for their share: both channels give all they have
    assert short == 2
    before = tree(tmp_path / "neda" / "set.zarr")
    record = facts("build-set", config)
    assert tree(tmp_path / "neda" / "set.zarr") == before
    assert Path(record["order_plot"]).read_bytes().startswith(b"\x89PNG")
    assert record["counts"]["test"] == {"gamma": 40, "neutron": 40}
    assert record["digest"] == open_set(Path(record["set"])).facts.digest
    config.write_text(config.read_text().replace("signals = 800", "signals = 802"))
    refused = psdbatch("build-set", config, check=1).stderr
    assert "'set.signals' is 802, was 800" in refused
    assert "remove it, or give another 'path' in [set]" in refused


def test_what_is_wrong_is_said_without_a_traceback(tmp_path: Path) -> None:
    config = write(tmp_path, 100_000, 4000)
    assert "class 'neutron' has 1,000 signals" in psdbatch("build-set", config, check=1).stderr
    assert sorted(path.name for path in (tmp_path / "neda").iterdir()) == []
    config.write_text(config.read_text().replace("truth = true", 'name = "gama"'))
    assert "did you mean 'gamma'?" in psdbatch("build-set", config, check=1).stderr


@pytest.mark.slow
def test_a_killed_build_leaves_no_set_and_the_next_one_makes_the_same(tmp_path: Path) -> None:
    whole = write(tmp_path / "one", 20_000, 60_000)
    psdbatch("build-set", whole)
    config = write(tmp_path / "two", 20_000, 60_000)
    process = subprocess.Popen(command("build-set", config), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    folder, end = tmp_path / "two" / "neda", time.monotonic() + 60
    while not list(folder.glob(".set.zarr.*.partial/codes-*")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(30)
    assert list(folder.glob(".set.zarr.*.partial"))
    assert not (folder / "set.zarr").exists()
    psdbatch("build-set", config)
    assert sorted(path.name for path in folder.iterdir()) == ["set.order.png", "set.zarr"]
    one, two = (open_set(path / "neda" / "set.zarr") for path in (tmp_path / "one", tmp_path / "two"))
    assert one.facts == two.facts
    assert tree(one.path) == tree(two.path)
    two.verify()
