"""The whole main job in a minute or two: simulate, train, freeze, run, audit, plot.

Every step but the training is a command that can be typed by hand; they are printed as they run.
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

from psdbatch.config import Preparation, SignalShape

CLASSES = ["gamma", "neutron"]
WINDOW = 75
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

    title("1. Simulate NEDA runs: one to train on, two for the campaign")
    psdbatch("simulate", directory / "training", "--run", 1, "--signals", TRAINING_SIGNALS, "--set", "seed=1")
    psdbatch(
        "simulate", directory / "archive", "--run", 41, "--signals", arguments.signals, "--set", "seed=2", "--files", 2
    )
    psdbatch("simulate", directory / "archive", "--run", 42, "--signals", arguments.signals, "--set", "seed=3")

    title("2. Train the 75-10-4-2 network on the first run and freeze it")
    train(next((directory / "training").glob("*/*.mfm")), directory / "psd.pb")

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
The picture is {directory}/psd.png. Read the results with:

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
        "model": {"path": "psd.pb", "classes": CLASSES},
        "processing": {"block": 65_536},
    }
    path = directory / "campaign.toml"
    path.write_text(tomli_w.dumps(content))
    print(f"  {path}:\n" + "\n".join(f"    {line}" for line in path.read_text().splitlines()))
    return path


def train(signals_file: Path, frozen: Path) -> None:
    """Train some epochs on prepared signals and freeze the network."""
    from psdbatch.acquisition.index import index_file, open_signals
    from psdbatch.acquisition.signals import Signals
    from psdbatch.models.freezing import freeze
    from psdbatch.models.preparation import model_input, pulses
    from psdbatch.models.quiet import tf
    from psdbatch.networks.dense import dense
    from psdbatch.simulation.files import load_truth, truth_path

    index = index_file(signals_file)
    signals = Signals.allocate(index.scan.signals, index.scan.longest, index.scan.sample_dtype)
    with open_signals(index) as reader:
        reader.read(signals)
    truth = load_truth(truth_path(signals_file))
    prepared = model_input(pulses(tf.constant(signals.samples), SignalShape()), Preparation(), WINDOW).numpy()
    targets = np.eye(2, dtype=np.float32)[truth.label]
    tf.keras.utils.set_random_seed(1)
    network = dense(WINDOW)
    network.compile(tf.keras.optimizers.Adam(3e-3), "categorical_crossentropy", metrics=["categorical_accuracy"])
    history = network.fit(prepared, targets, batch_size=256, epochs=12, validation_split=0.1, verbose=0).history
    print(
        f"  validation accuracy after each epoch: {', '.join(f'{value:.3f}' for value in history['val_categorical_accuracy'])}"
    )
    freeze(network, frozen)


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
