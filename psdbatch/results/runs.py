"""Where results lie, and which runs they hold."""

from __future__ import annotations

from pathlib import Path

import zarr

from psdbatch.errors import CampaignError


def store_path(path: str | Path) -> Path:
    """The store of a campaign directory, or ``path`` itself if it is a store.

    Raises
    ------
    CampaignError
        There are no results at ``path``.
    """
    given = Path(path)
    for candidate in (given / "results.zarr", given):
        if (candidate / "zarr.json").exists():
            return candidate
    raise CampaignError(
        f"{given}: holds no results (no results.zarr); is it a campaign directory, and has it been started?"
    )


def belongings(store: Path) -> Path:
    """The campaign directory that a store lies in, or the store alone where it lies by itself."""
    return store.parent if (store.parent / "plan.json").exists() else store


def runs(path: str | Path) -> list[str]:
    """Names of the runs in the store."""
    return sorted(zarr.open_group(store_path(path), mode="r").group_keys())
