"""The obvious way, for comparison: Dask tasks that prepare in NumPy, call ``keras.predict`` and write with zarr-python.

It gets its signals as plain arrays on disk, so it has nothing to decompress or decode.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.end_to_end import measured_span, write_campaign
from benchmarks.material import pulses, write_runs

PIECE = 65_536


def run(directory: Path, signals: int) -> list[dict[str, Any]]:
    """Signals per second of the obvious way with two batch sizes, and of a campaign on the same kind of signals."""
    import subprocess
    import sys

    files = write_runs(directory / "packets-75", "packets", 75, signals)
    config = write_campaign(directory / "packets-75", files, 75)
    subprocess.run(
        [sys.executable, "-m", "psdbatch", "run", str(config), "--json"], check=True, stdout=subprocess.DEVNULL
    )
    span, _ = measured_span(directory / "packets-75" / "campaign")
    pace = signals / span
    rows = [{"way": "psdbatch", "M signals/s": pace / 1e6, "psdbatch is faster": 1.0}]
    for batch, pieces in ((32, 2), (8192, 16)):
        other = obvious(directory / "obvious", batch, pieces)
        rows.append(
            {
                "way": f"dask + keras.predict, batch {batch:,}",
                "M signals/s": other / 1e6,
                "psdbatch is faster": pace / other,
            }
        )
    return rows


def obvious(directory: Path, batch: int, pieces: int) -> float:
    """Signals per second on ``pieces`` arrays of 65,536 signals, workers warm."""
    from distributed import Client, LocalCluster

    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for number in range(pieces):
        np.save(directory / f"{number}.npy", pulses(PIECE, 75, number).samples)
    import zarr

    store = zarr.open_group(directory / "results.zarr", mode="w")
    store.create_array("probability", shape=(pieces * PIECE, 2), chunks=(PIECE, 2), dtype="float32")
    with (
        LocalCluster(n_workers=len(os.sched_getaffinity(0)), threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.gather(
            [
                client.submit(_piece, str(directory), 0, batch, pure=False, workers=[worker])
                for worker in client.scheduler_info()["workers"]
            ]
        )
        started = time.perf_counter()
        client.gather(client.map(_piece, [str(directory)] * pieces, range(pieces), [batch] * pieces, pure=False))
        return pieces * PIECE / (time.perf_counter() - started)


def _piece(directory: str, number: int, batch: int) -> None:
    import zarr

    raw = np.load(Path(directory) / f"{number}.npy").astype(np.float32)
    height = raw[:, :16].mean(axis=1, keepdims=True) - raw
    prepared = height / height.max(axis=1, keepdims=True)
    answers = _network().predict(prepared, batch_size=batch, verbose=0)
    zarr.open_group(Path(directory) / "results.zarr", mode="a")["probability"][
        number * PIECE : (number + 1) * PIECE
    ] = answers


_kept: list[Any] = []


def _network() -> Any:
    if not _kept:
        from psdbatch.networks.dense import dense

        _kept.append(dense(75))
    return _kept[0]
