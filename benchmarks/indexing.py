"""Speed of index and decoding for each format, one core, files in the page cache."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.material import write_runs
from psdbatch.acquisition.index import index_file, open_signals
from psdbatch.acquisition.signals import Signals

BATCH = 8192
FORMATS = ("mfm", "compass", "packets", "numpy", "zarr")


def run(directory: Path, signals: int) -> list[dict[str, Any]]:
    """A row per format, for signals of 232 samples."""
    return [_row(directory, name, signals // 4) for name in FORMATS]


def _row(directory: Path, format_name: str, signals: int) -> dict[str, Any]:
    (path,) = write_runs(directory / "formats", format_name, 232, signals, files=1)
    index_file(path, format_name)  # compiles the kernels, fills the page cache
    started = time.perf_counter()
    index = index_file(path, format_name)
    indexed = time.perf_counter() - started
    out = Signals.allocate(BATCH, index.scan.longest, index.scan.sample_dtype)
    with open_signals(index) as reader:
        reader.read(out)
    started = time.perf_counter()
    read = 0
    with open_signals(index) as reader:
        while count := reader.read(out):
            read += count
    decoded = time.perf_counter() - started
    return {
        "format": format_name,
        "file (MB)": index.size / 1e6,
        "index (GB/s of file)": index.size / indexed / 1e9,
        "decode (GB/s of samples)": read * 232 * 2 / decoded / 1e9,
        "decode (M signals/s)": read / decoded / 1e6,
    }
