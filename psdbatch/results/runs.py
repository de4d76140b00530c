"""Where results lie, and which runs they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore, StorePath

from psdbatch.errors import CampaignError

METADATA = "zarr.json"

Node = dict[str, Any]
"""Metadata of a group or array, as its file has them."""


def store_path(path: str | Path) -> Path:
    """The store of a campaign directory, or ``path`` itself if it is a store.

    Raises
    ------
    CampaignError
        There are no results at ``path``.
    """
    given = Path(path)
    for candidate in (given / "results.zarr", given):
        if (candidate / METADATA).exists():
            return candidate
    raise CampaignError(
        f"{given}: holds no results (no results.zarr); is it a campaign directory, and has it been started?"
    )


def belongings(store: Path) -> Path:
    """The campaign directory that a store lies in, or the store alone where it lies by itself."""
    return store.parent if (store.parent / "plan.json").exists() else store


class StoreMetadata:
    """Metadata of a store's runs and columns: as gathered in the root's file, or file by file until they are.

    So a finished campaign is opened with one read, even over a network, whatever the number of its runs; zarr would make
    objects of all runs for the sake of one.

    Parameters
    ----------
    store
        The root group.

    Attributes
    ----------
    attributes
        Of the root.

    Raises
    ------
    CampaignError
        The metadata are damaged.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        root = _read(store / METADATA)
        self.attributes: Node = root.get("attributes", {})
        self._gathered: dict[str, dict[str, Node]] | None = None
        gathered = root.get("consolidated_metadata")
        if gathered:
            self._gathered = {}
            for path, node in gathered["metadata"].items():
                parent, _, name = path.rpartition("/")
                self._gathered.setdefault(parent, {})[name] = node

    def runs(self) -> list[str]:
        """Names of the runs."""
        return sorted(name for name, node in self._below("").items() if node.get("node_type") == "group")

    def run(self, name: str) -> tuple[Node, dict[str, zarr.Array[Any]]]:
        """Attributes of a run, and its arrays by name."""
        place = StorePath(LocalStore(self._store, read_only=True), name)
        node = _read(self._store / name / METADATA) if self._gathered is None else self._gathered[""][name]
        arrays = {
            column: zarr.Array.from_dict(place / column, metadata)
            for column, metadata in sorted(self._below(name).items())
            if metadata.get("node_type") == "array"
        }
        return node.get("attributes", {}), arrays

    def _below(self, group: str) -> dict[str, Node]:
        if self._gathered is not None:
            return self._gathered.get(group, {})
        return {path.parent.name: _read(path) for path in (self._store / group).glob(f"*/{METADATA}")}


def _read(path: Path) -> Node:
    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("it is no object")
    except ValueError as error:
        raise CampaignError(f"{path}: damaged ({error}); 'psdbatch audit' lists all that is") from None
    return found
