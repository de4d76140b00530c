"""The CPU image, built from this checkout, does what the checkout does, and holds nothing of the machine that built it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import psdbatch as package
from tests.campaigns import facts, psdbatch, pulses, write_config, write_file, write_network
from tests.images import CHECKOUT, cpu_image, image_program, in_image

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def image() -> Path:
    if not os.environ.get("PSDBATCH_TEST_IMAGE"):
        pytest.skip("builds an image, which takes minutes: set PSDBATCH_TEST_IMAGE=1")
    if image_program() is None:
        pytest.skip("neither apptainer nor singularity is installed")
    return cpu_image()


def output(image: Path, *arguments: object, options: tuple[str, ...] = ()) -> str:
    done = in_image(image, *arguments, options=options)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_command_is_there_in_this_version(image: Path) -> None:
    assert output(image, "psdbatch", "--version") == psdbatch("--version").stdout


def test_its_own_test_passes_with_the_pinned_versions(image: Path) -> None:
    program = image_program()
    assert program is not None
    done = subprocess.run([program, "test", image], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "image: all checks passed" in done.stdout
    assert f"psdbatch {package.__version__}" in done.stdout
    pins = (CHECKOUT / "singularity" / "constraints.txt").read_text().split()
    for name in ("numpy", "dask", "distributed", "zarr"):
        (pin,) = (line for line in pins if line.startswith(f"{name}=="))
        assert pin.replace("==", " ") in done.stdout


def test_labels_name_the_versions_inside(image: Path) -> None:
    program = image_program()
    assert program is not None
    done = subprocess.run([program, "inspect", "--labels", image], capture_output=True, text=True, check=True)
    labels = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    assert labels["psdbatch"] == package.__version__
    assert f"tensorflow-cpu=={labels['tensorflow-cpu']}" in (CHECKOUT / "singularity" / "cpu.txt").read_text()


def test_nothing_of_the_building_machine_is_in_it(image: Path) -> None:
    alone = ("--contain", "--cleanenv")
    assert output(image, "pip", "config", "list", options=alone).strip() == ""
    left = output(image, "sh", "-c", "ls -d /wheels /build /etc/pip.conf 2>/dev/null; true", options=alone)
    assert left == ""


def test_packages_of_the_users_home_stay_outside(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = tmp_path / ".local/lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    (packages / "numpy.py").write_text("raise ImportError('from the home directory')\n")
    monkeypatch.setenv("PYTHONPATH", str(packages))  # as an environment module of the cluster sets it
    code = "import numpy; print(numpy.__file__)"
    assert "/opt/psdbatch/" in output(image, "python", "-c", code, options=("--home", str(tmp_path)))


def test_it_runs_without_a_home_directory_to_write_in(image: Path, tmp_path: Path) -> None:
    file = write_file(tmp_path / "run_1/board.psdz", pulses(500))
    listed = output(image, "psdbatch", "index", file, "--json", options=("--no-home", "--env", "HOME=/nowhere"))
    assert "500" in listed


def test_a_file_is_indexed_inside_as_outside(image: Path, tmp_path: Path) -> None:
    psdbatch("simulate", tmp_path / "runs", "--signals", 3000, "--set", "seed=5")
    (file,) = (path for path in (tmp_path / "runs").rglob("*.mfm"))
    outside = facts("index", file)
    inside = json.loads(
        output(image, "psdbatch", "index", file, "--json", options=("--env", f"PSDBATCH_CACHE={tmp_path}"))
    )
    assert inside == outside


def test_a_campaign_inside_answers_as_outside(image: Path, tmp_path: Path) -> None:
    write_file(tmp_path / "run_1/board.psdz", pulses(5_000))
    network = write_network(tmp_path / "psd.pb")
    answers = {}
    for place in ("outside", "inside"):
        config = write_config(tmp_path / f"{place}.toml", f"{tmp_path}/run_1/*.psdz", network, campaign=place)
        if place == "inside":
            output(image, "psdbatch", "run", config)
        else:
            psdbatch("run", config)
        answers[place] = package.open_results(tmp_path / place, run="run_1").load()
    inside, outside = answers["inside"], answers["outside"]
    np.testing.assert_allclose(inside["probability"].values, outside["probability"].values, atol=1e-5)
    for name in ("timestamp", "board", "channel", "flags"):
        assert np.array_equal(inside[name].values, outside[name].values)
