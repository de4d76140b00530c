"""What the store says about its own origin.  The same campaign always says the same: no dates, no host names."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from psdbatch.campaign.model import CampaignModels
from psdbatch.campaign.plan import Plan, PlannedRun

RECORDED_PACKAGES = ("psdbatch", "numpy", "numba", "zstandard", "zarr", "dask", "tensorflow", "tensorflow-cpu")


def store_provenance(plan: Plan, models: CampaignModels, classes: tuple[str, ...]) -> dict[str, Any]:
    """Attributes of the root group."""
    quality = models.quality
    return {
        "creator": "psdbatch",
        "model": {"source": models.model.source, "digest": models.model.digest},
        **({} if quality is None else {"quality": {"source": quality.source, "digest": quality.digest}}),
        "classes": list(classes),
        "configuration": dict(plan.question),
        "block": plan.block,
        "software": versions(),
        "plan_fingerprint": plan.fingerprint,
    }


def run_provenance(run: PlannedRun) -> dict[str, Any]:
    """Attributes of a run's group: its files, and in how many regions each is damaged."""
    return {
        "run": run.name,
        "samples": run.samples,
        "files": [
            {
                "path": file.path,
                "bytes": file.size,
                "modified_ns": file.modified_ns,
                "format": file.format,
                "signals": file.signals,
                "damaged_regions": file.damage,
            }
            for file in run.files
        ],
    }


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape the results, where they are installed."""
    found = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
