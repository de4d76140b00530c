"""Training of one network by one process and by two: seconds of an epoch, the same batches in all rows."""

from __future__ import annotations

import csv
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import tomli_w

EPOCHS = 5
"""The first one compiles and reads; the median of the others is told."""

BATCH = 1024

HIDDEN = [1024, 1024, 256]
"""Wide layers, so that a step has something to share."""


def run(directory: Path, signals: int) -> list[dict[str, Any]]:
    """A wide dense network on simulated signals; each replica has one core, or the only one has two."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    taken = min(signals, 50_000)
    rows: list[dict[str, Any]] = []
    for replicas, used in ((1, cores[:1]), (1, cores), (2, cores)):
        folder = directory / f"training-{replicas}-{len(used)}"
        config = write_training(folder, directory / "training-set.zarr", taken, replicas)
        subprocess.run(
            [sys.executable, "-m", "psdbatch", "train", str(config)],
            check=True,
            stdout=subprocess.DEVNULL,
            preexec_fn=lambda used=used: os.sched_setaffinity(0, used),
        )
        history = read_history(folder / "training")
        seconds = statistics.median(row["seconds"] for row in history[1:])
        rows.append(
            {
                "processes": replicas,
                "cores": len(used),
                "seconds of an epoch": seconds,
                "times as fast": rows[0]["seconds of an epoch"] / seconds if rows else 1.0,
                "signals per second": int(0.8 * taken / seconds),
                "last validation loss": f"{history[-1]['val_loss']:.6f}",
            }
        )
    return rows


def write_training(folder: Path, training_set: Path, signals: int, replicas: int) -> Path:
    """``training.toml`` for a set that the first one builds and the others use."""
    content = {
        "training": "training",
        "replicas": replicas,
        "set": {
            "path": str(training_set),
            "signals": signals,
            "channels": False,
            "sources": [
                {
                    "name": "simulation",
                    "label": {"truth": True},
                    "simulation": {"signals": 2 * signals, "neutrons": 0.5},
                }
            ],
        },
        "network": {"name": "wide", "options": {"hidden": HIDDEN}},
        "optimisation": {"epochs": EPOCHS, "batch": min(BATCH, signals // 20 // 2 * 2)},
        "cluster": {"dashboard": ""},
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "training.toml"
    path.write_text(tomli_w.dumps(content))
    return path


def read_history(training: Path) -> list[dict[str, float]]:
    """Rows of ``history.csv``."""
    with (training / "history.csv").open() as lines:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]
