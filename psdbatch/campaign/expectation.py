"""What was expected of a campaign before it began, kept for whoever compares it with the truth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from psdbatch.acquisition.index import default_cache
from psdbatch.campaign.plan import Plan

Interval = tuple[float, float]
Comparison = tuple[str, Interval, float]
"""Name, what was expected, and the truth."""


def keep_estimate(plan: Plan, facts: Mapping[str, Any]) -> None:
    """Keep an estimate for the user who made it; a start of the campaign writes it into the journal, for everybody."""
    path = estimate_file(plan)
    with suppress(OSError):  # a cache that cannot be written stops nobody
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(json.dumps(facts).encode())


def kept_estimate(plan: Plan) -> dict[str, Any] | None:
    """What :func:`keep_estimate` kept of a plan; None if there was no estimate."""
    try:
        found = json.loads(estimate_file(plan).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def estimate_file(plan: Plan) -> Path:
    """Where the estimate of a plan is kept."""
    return default_cache() / "estimates" / f"{plan.fingerprint[:32]}.json"


def compare_estimate(
    expected: Mapping[str, Any] | None, size: int, elapsed: float, peak_memory: int
) -> list[Comparison]:
    """Expected interval and truth of bytes, seconds and memory of a whole campaign.

    Time and memory are compared only where they were expected of its own workers.
    """
    if expected is None:
        return []
    truth: dict[str, float] = {"bytes": size}
    if not expected.get("caution"):
        truth |= {"seconds": elapsed, "memory": peak_memory}
    return [(name, (*expected[name],), float(value)) for name, value in truth.items() if expected.get(name)]
