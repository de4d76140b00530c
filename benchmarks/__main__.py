"""``python -m benchmarks [NAME ...]``: run benchmarks and print each as a table."""

from __future__ import annotations

import argparse
import importlib
import tempfile
from pathlib import Path
from typing import Any

NAMES = (
    "starting",
    "indexing",
    "storing",
    "end_to_end",
    "workers",
    "obvious",
    "scaling",
    "coordinator",
    "ledger",
    "live",
    "training",
    "networks",
)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, help=f"some of: {', '.join(NAMES)}")
    parser.add_argument("--signals", type=int, default=3_145_728, help="signals of a campaign")
    parser.add_argument("--directory", type=Path, help="keep the material here; default: a temporary directory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="psdbatch-benchmarks-") as temporary:
        directory = arguments.directory or Path(temporary)
        for name in arguments.names:
            module = importlib.import_module(f"benchmarks.{name}")
            summary = (module.__doc__ or "").strip().split("\n\n")[0]
            print(f"\n### {name}\n\n{summary}\n\n{table(module.run(directory, arguments.signals))}", flush=True)


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as a Markdown table."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    lines += [f"| {' | '.join(_cell(row.get(name)) for name in names)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
