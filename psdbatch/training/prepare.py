"""A training's directory: made, or found again and proved to be of this training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import tomli_w

from psdbatch.campaign import files
from psdbatch.config.training import TrainingConfig
from psdbatch.errors import TrainingError
from psdbatch.golden import software
from psdbatch.training.directory import TrainingDirectory
from psdbatch.training.own_function import check_function, function_file

MAY_CHANGE = {
    "training": True,
    "set": True,  # its digest is compared
    "replicas": True,
    "wait": True,
    "cluster": True,
    "optimisation": {"epochs", "checkpoint_steps"},
}
"""Keys that change nothing in what a network learns from a signal, or that may be changed for a training that goes on."""

LISTED = 5


def check_directory(directory: TrainingDirectory, config: TrainingConfig) -> None:
    """Whether the directory is free, or holds this training.

    Raises
    ------
    TrainingError
        It holds something else; the message says in what that differs.
    """
    if (directory.path / "plan.json").exists():
        raise TrainingError(f"{directory.path}: is a campaign's directory; give the training one of its own")
    held = _held(directory)
    if held is None:
        return
    found = list(_differences(held["config"], _meaning(config)))
    if found:
        more = f"\nand {len(found) - LISTED} more" if len(found) > LISTED else ""
        raise TrainingError(
            f"{directory.path}: holds another training; name another directory in 'training', or undo the change:\n"
            + "\n".join(found[:LISTED])
            + more
        )
    check_function(directory, config)


def write_directory(directory: TrainingDirectory, config: TrainingConfig, digest: str) -> None:
    """Write what replicas and workers need.

    Parameters
    ----------
    digest
        Of the training set.

    Raises
    ------
    TrainingError
        The training that the directory holds learnt from another set.
    """
    held = _held(directory)
    if held is not None and held["set"] != digest:
        raise TrainingError(
            f"{directory.path}: its training has learnt from another training set ({held['set'][:12]}) than {config.set.path} "
            f"is now ({digest[:12]}); name another directory in 'training', or bring back the set"
        )
    for path in (directory.checkpoints, directory.restart.parent, directory.rounds, directory.logs):
        files.make_directory(path)
    write_config(directory, config)
    files.replace_durably(directory.software, json.dumps(software.software()).encode())
    if held is None:
        own = function_file(config)
        if own is not None:
            files.replace_durably(directory.function, own.content)
        identity = {"config": _meaning(config), "set": digest, "function": own.digest if own else None}
        files.replace_durably(directory.identity, json.dumps(identity, indent=1).encode())


def write_config(directory: TrainingDirectory, config: TrainingConfig) -> None:
    """Write the configuration as it will be run."""
    content = tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)).encode()
    files.replace_durably(directory.config, content)


def _held(directory: TrainingDirectory) -> dict[str, Any] | None:
    if not directory.identity.exists():
        return None
    found: dict[str, Any] = json.loads(directory.identity.read_bytes())
    return found


def _meaning(config: TrainingConfig) -> dict[str, Any]:
    """What decides about the network that comes out, as plain values."""
    meaning: dict[str, Any] = json.loads(json.dumps(config.model_dump(mode="json", exclude=MAY_CHANGE)))  # type: ignore[arg-type]
    return meaning


def _differences(there: Mapping[str, Any], here: Mapping[str, Any], where: str = "") -> Iterator[str]:
    for key in sorted({*there, *here}):
        old, new = there.get(key), here.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{where}{key}.")
        elif old != new:
            yield f"'{where}{key}' is {new!r}, was {old!r}"
