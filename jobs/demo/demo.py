"""The whole main job in some minutes: simulate, train, run, audit, plot.

Every step is a command that can be typed by hand; they are printed as they run.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import tomli_w

TRAINING_SIGNALS = 60_000
CAMPAIGN_SIGNALS = 200_000


def main() -> None:
    """Run all steps in ``--directory``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path("demo"))
    parser.add_argument(
        "--signals", type=int, default=CAMPAIGN_SIGNALS, help="signals in each of the campaign's three files"
    )
    arguments = parser.parse_args()
    directory: Path = arguments.directory
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)

    title("1. Train the 75-10-4-2 network on simulated signals, freeze it and judge it")
    psdbatch("train", write_training(directory))

    title("2. Simulate the acquisition files of two NEDA runs")
    archive = ("simulate", directory / "archive", "--signals", arguments.signals)
    psdbatch(*archive, "--run", 41, "--set", "seed=2", "--files", 2)
    psdbatch(*archive, "--run", 42, "--set", "seed=3")

    title("3. Look at what a campaign would do")
    config = write_config(directory)
    psdbatch("plan", config)

    title("4. Run it")
    psdbatch("run", config)

    title("5. Prove that no signal is missing or doubled")
    psdbatch("audit", directory / "campaign", "--deep")

    title("6. Draw pulse shape against charge with the network's classes")
    psdbatch("plot", directory / "campaign", "--output", directory / "psd.png")
    compare_with_truth(directory)
    print(f"""
Look at  {directory}/psd.png                            pulse shape against charge, and the network's classes
         {directory}/campaign/report.html               the campaign: result, physics, throughput, provenance
         {directory}/training/evaluation/report.html    how good the network is

Read the results with:

    import psdbatch
    results = psdbatch.open_results("{directory}/campaign", run="run_0041")
    neutrons = results.isel(signal=(results.label == 1).values)
""")


def title(text: str) -> None:
    """Print a step's heading."""
    print(f"\n{text}", flush=True)


def psdbatch(*arguments: object) -> None:
    """Show a command and run it."""
    words = list(map(str, arguments))
    print(f"  $ psdbatch {shlex.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "psdbatch", *words], check=True)


def write_config(directory: Path) -> Path:
    """``campaign.toml`` of the demo; whatever is not said has its default."""
    content = {
        "campaign": "campaign",
        "input": {"files": ["archive/*/*.mfm"]},
        "model": {"path": "training/model.pb"},
        "processing": {"block": 65_536},
    }
    return write(directory / "campaign.toml", content)


def write_training(directory: Path) -> Path:
    """``training.toml``: the 75-10-4-2 network, from simulated signals whose truth is known."""
    content = {
        "training": "training",
        "set": {
            "signals": TRAINING_SIGNALS,
            "split": {"validation": 0.1, "test": 0.1},
            "sources": [
                {
                    "name": "simulation",
                    "label": {"truth": True},
                    "simulation": {"signals": 2 * TRAINING_SIGNALS, "seed": 1},
                }
            ],
        },
        "network": {"name": "dense"},
        "optimisation": {"epochs": 10, "batch": 256, "learning_rate": 3e-3},
    }
    return write(directory / "training.toml", content)


def write(path: Path, content: dict[str, object]) -> Path:
    """Write a configuration, and show it."""
    path.write_text(tomli_w.dumps(content), encoding="utf-8")
    print(f"  {path}:\n" + "\n".join(f"    {line}" for line in path.read_text(encoding="utf-8").splitlines()))
    return path


def compare_with_truth(directory: Path) -> None:
    """Print how often the network is right, for run 41, against the light output."""
    from psdbatch import open_results
    from psdbatch.simulation.files import load_truth, truth_path

    truths = [load_truth(truth_path(path)) for path in sorted((directory / "archive/run_0041").glob("*.mfm"))]
    label = np.concatenate([truth.label for truth in truths])
    energy = np.concatenate([truth.energy for truth in truths])
    answer = open_results(directory / "campaign", run="run_0041").label.values
    print("\n  light output [keVee]   signals   correct")
    for low, high in ((50, 100), (100, 200), (200, 500), (500, 1000), (1000, 4000)):
        inside = (energy >= low) & (energy < high)
        print(f"  {low:>8} - {high:<8} {inside.sum():>10,}   {(answer == label)[inside].mean():.3f}")


if __name__ == "__main__":
    main()
