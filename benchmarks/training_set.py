"""Building a training set against reading the same files: processor time, so that a busy machine changes little.

*Read* is every signal decoded once, by the same reader, in the same pieces and threads, kernels warm.
"""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.material import write_runs
from psdbatch.acquisition.index import index_file, open_signals
from psdbatch.acquisition.signals import Signals
from psdbatch.config.training import TrainingConfig
from psdbatch.training_set.build import build_set
from psdbatch.training_set.survey import PIECE_BYTES

FORMATS = ("mfm", "compass", "packets", "numpy")
SAMPLES = 232


def run(directory: Path, signals: int) -> list[dict[str, Any]]:
    """A row per format: all signals of the rarer class and as many of the other, and one signal in a hundred."""
    os.environ.setdefault("PSDBATCH_CACHE", str(directory / "cache"))
    return [_row(directory, name, signals // 4) for name in FORMATS]


def _row(directory: Path, format_name: str, signals: int) -> dict[str, Any]:
    paths = write_runs(directory / "training_set" / format_name, format_name, SAMPLES, signals)
    _build(directory, paths, signals // 100)  # compiles the kernels, fills the page cache
    read = min(_read(paths) for _ in range(3))
    few, some = _build(directory, paths, signals // 100)
    whole, taken = _build(directory, paths, None)
    return {
        "format": format_name,
        "signals": signals,
        "read (M signals/s and core)": signals / read / 1e6,
        "1 in 100: time / reading": few / read,
        "(signals taken)": some,
        "balanced: time / reading": whole / read,
        "(signals taken) ": taken,
        "balanced (M signals/s and core)": signals / whole / 1e6,
    }


def _read(paths: list[Path]) -> float:
    rows = PIECE_BYTES // (2 * SAMPLES)

    def one(path: Path) -> None:
        index = index_file(path)
        out = Signals.allocate(rows, index.scan.longest, index.scan.sample_dtype)
        with open_signals(index) as reader:
            while reader.read(out):
                pass

    started = time.process_time()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, paths))
    return time.process_time() - started


def _build(directory: Path, paths: list[Path], wanted: int | None) -> tuple[float, int]:
    cut = {"above": "neutron", "below": "gamma", "intercept": 0.45}
    source = {"name": "beam", "files": [str(path) for path in paths], "label": {"cut": cut}}
    settings = {"path": str(directory / "set.zarr"), "sources": [source], "signals": wanted, "bins": 4}
    config = TrainingConfig.model_validate({"training": str(directory), "set": settings})
    started = time.process_time()
    stored = build_set(config)
    seconds = time.process_time() - started
    shutil.rmtree(stored.path)
    return seconds, sum(sum(part.values()) for part in stored.facts.counts.values())
