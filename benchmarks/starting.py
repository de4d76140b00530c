"""How long the command line takes to answer."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def run(directory: Path, signals: int) -> list[dict[str, Any]]:
    """Best of five starts, and of a bare interpreter beside it."""
    return [
        {"command": "python -c pass", "milliseconds": _best(["-c", "pass"])},
        {"command": "psdbatch --help", "milliseconds": _best(["-m", "psdbatch", "--help"])},
        {"command": "psdbatch run --help", "milliseconds": _best(["-m", "psdbatch", "run", "--help"])},
    ]


def _best(arguments: list[str]) -> float:
    times = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    return min(times) * 1e3
