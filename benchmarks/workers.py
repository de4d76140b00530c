"""One process with several threads, or several processes; and more threads than cores."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.end_to_end import measured_span, write_campaign
from benchmarks.material import write_runs


def run(directory: Path, signals: int) -> list[dict[str, Any]]:
    """Pace of the same campaign on different workers, relative to one thread."""
    rows: list[dict[str, Any]] = []
    files = write_runs(directory / "packets-75", "packets", 75, signals)
    for processes, threads in ((1, 1), (1, 2), (2, 1), (1, 3), (1, 4)):
        config = write_campaign(directory / "packets-75", files, 75, processes=processes, threads=threads)
        subprocess.run(
            [sys.executable, "-m", "psdbatch", "run", str(config), "--json"], check=True, stdout=subprocess.DEVNULL
        )
        span, _ = measured_span(directory / "packets-75" / "campaign")
        first = rows[0]["M signals/s"] if rows else signals / span / 1e6
        rows.append(
            {
                "processes": processes,
                "threads": threads,
                "M signals/s": signals / span / 1e6,
                "against one thread": signals / span / 1e6 / first,
            }
        )
    return rows
