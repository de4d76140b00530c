"""Draws ``images/dashboard.png`` and ``images/report.png`` from a campaign that really runs.

    python -m docs.pictures [DIRECTORY]        in the repository; takes some minutes

A network is trained, three runs are simulated, one of which has a bad channel and a damaged file, and the campaign runs on a
real SLURM cluster of this machine with pretended GPUs (``tests/servers``), compared with an earlier campaign.  The page is
photographed in Chromium when two thirds are done.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from tests.campaigns import write_file
from tests.farms import farm, slurm_group
from tests.servers.browser import Browser
from tests.servers.fixtures import new_directory
from tests.servers.processes import free_ports
from tests.servers.slurm import Slurm

IMAGES = Path(__file__).parent / "images"
COMMAND = [sys.executable, "-m", "psdbatch"]
SIGNALS = 500_000
"""In each file."""
BAD_BOARD, BAD_CHANNEL = 2, 5
WIDTH, HEIGHT = 1440, 1360


def main() -> None:
    """Make the material, run, photograph."""
    with tempfile.TemporaryDirectory(prefix="psdbatch-pictures-") as temporary:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        make_material(folder)
        psdbatch("run", campaign(folder, "neda-2023", "reference/*/*.mfm"))
        slurm = Slurm(new_directory("slurm"))
        try:
            slurm.start()
            os.environ.update(slurm.environment)
            photograph(folder)
        finally:
            slurm.remove()


def psdbatch(*arguments: object) -> None:
    """Run a command."""
    subprocess.run([*COMMAND, *map(str, arguments)], check=True)


def make_material(folder: Path) -> None:
    """Network and acquisition files, unless they are there from an earlier time."""
    if not (folder / "training/summary.json").exists():
        source = {"name": "simulation", "label": {"truth": True}, "simulation": {"signals": 120_000}}
        content = {
            "training": "training",
            "set": {"signals": 60_000, "channels": False, "sources": [source]},
            "network": {"name": "dense", "options": {"hidden": [512, 256]}},  # slow enough to be watched
            "optimisation": {"epochs": 4, "batch": 256},
        }
        psdbatch("train", write(folder / "training.toml", content))
    if not (folder / "archive").exists():
        psdbatch("simulate", folder / "reference", "--run", 7, "--signals", SIGNALS, "--set", "seed=7")
        for run in (41, 42, 43):
            options = ("--signals", SIGNALS, "--files", 2, "--set", f"seed={run}")
            psdbatch("simulate", folder / "archive", "--run", run, *options)
        for part in sorted((folder / "archive/run_0042").glob("*.mfm")):
            spoil_channel(part)
        with (folder / "archive/run_0043/part_000.mfm").open("r+b") as file:
            file.seek(100_000_000)
            file.write(bytes(400_000))


def spoil_channel(path: Path) -> None:
    """Write a file again, as packets, in which one channel has lost a fifth of its light's fast part."""
    from psdbatch.acquisition.index import index_file, open_signals
    from psdbatch.acquisition.signals import Signals

    index = index_file(path)
    signals = Signals.allocate(index.scan.signals, index.scan.longest, index.scan.sample_dtype)
    with open_signals(index) as reader:
        reader.read(signals)
    bad = np.flatnonzero((signals.board == BAD_BOARD) & (signals.channel == BAD_CHANNEL))
    pulse = signals.samples[bad].astype(float)
    baseline = pulse[:, :30].mean(axis=1, keepdims=True)
    pulse[:, 38:46] = baseline + 0.8 * (pulse[:, 38:46] - baseline)
    signals.samples[bad] = np.rint(pulse)
    write_file(path.with_suffix(".psdz"), signals)
    path.unlink()


def campaign(folder: Path, name: str, *files: str, **sections: Any) -> Path:
    """Write a configuration."""
    content = {
        "campaign": name,
        "input": {"files": files},
        "model": {"path": "training/model.pb"},
        "processing": {"block": 16_384},
        "results": {"chunk": 16_384},
        **sections,
    }
    return write(folder / f"{name}.toml", content)


def write(path: Path, content: dict[str, Any]) -> Path:
    """Write a TOML file."""
    path.write_bytes(tomli_w.dumps(content).encode())
    return path


def photograph(folder: Path) -> None:
    """Run the campaign, with a picture of its page on the way and one of its report at the end."""
    (port,) = free_ports(1)
    cluster = farm(slurm_group("v100", batch=4096), slurm_group("k80", batch=64), dashboard=f"127.0.0.1:{port}")
    monitor = {"reference": "neda-2023"}
    files = "archive/*/*.mfm", "archive/*/*.psdz"
    config = campaign(folder, "neda-2024", *files, cluster=cluster, monitor=monitor)
    browser = Browser()
    browser.driver.set_window_size(WIDTH, HEIGHT)
    with subprocess.Popen([*COMMAND, "run", str(config)]) as process:
        while share_done(port) < 0.66 and process.poll() is None:
            time.sleep(0.5)
        browser.open(f"http://127.0.0.1:{port}/psdbatch")
        browser.wait_for("drifts from the reference")
        time.sleep(3)
        browser.picture(IMAGES / "dashboard.png")
    browser.open((folder / "neda-2024/report.html").as_uri())
    browser.picture(IMAGES / "report.png")
    browser.close()


def share_done(port: int) -> float:
    """Part of the signals that is done, by the metrics; 0 before there are any."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0.0
    found = dict(line.rsplit(" ", 1) for line in lines if line.startswith(("psdbatch_done", "psdbatch_planned")))
    return float(found.get("psdbatch_done_signals", 0)) / float(found.get("psdbatch_planned_signals", 1))


if __name__ == "__main__":
    main()
