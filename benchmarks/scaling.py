"""Memory of a worker against the size of the file, and time against the number of signals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.end_to_end import measured_span, write_campaign
from benchmarks.material import write_runs


def run(directory: Path, signals: int) -> list[dict[str, Any]]:
    """Four files, each twice as large as the one before."""
    rows: list[dict[str, Any]] = []
    for part in (8, 4, 2, 1):
        folder = directory / f"scaling-{part}"
        files = write_runs(folder, "packets", 75, signals // part, files=1)
        config = write_campaign(folder, files, 75)
        done = subprocess.run(
            [sys.executable, "-m", "psdbatch", "run", str(config), "--json"], check=True, stdout=subprocess.PIPE
        )
        span, _ = measured_span(folder / "campaign")
        memory = json.loads(done.stdout)["peak_memory"]
        rows.append(
            {
                "signals": signals // part,
                "file (MB)": files[0].stat().st_size / 1e6,
                "memory of the worker (MB)": memory / 1e6,
                "microseconds per signal": span / (signals // part) * 1e6,
            }
        )
    return rows
