"""What a set was made of, and whether one that exists is the one that is asked for."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from psdbatch.acquisition.format import Scan
from psdbatch.acquisition.index import FileIndex
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.config.training import TrainingConfig
from psdbatch.errors import TrainingSetError
from psdbatch.training_set.from_files import TRUTH_ENDING
from psdbatch.training_set.sources import SignalSource
from psdbatch.training_set.store import StoredSet

LISTED = 5


def settings_of(config: TrainingConfig) -> dict[str, Any]:
    """The part of the configuration that a set follows from, as plain values."""
    record = config.model_dump(mode="json", include={"set", "signals", "charge", "pile_up"})
    record["set"].pop("path")
    return record


def question_of(config: TrainingConfig, sources: list[SignalSource]) -> dict[str, Any]:
    """Settings, and the state of all files by source."""
    return {**settings_of(config), "files": {source.name: source.question() for source in sources}}


def check_same(stored: StoredSet, config: TrainingConfig) -> None:
    """Refuse a set that was made of something else.

    Files that are not there any more are no reason: the set holds their signals.

    Raises
    ------
    TrainingSetError
        It was; the message names the differences.
    """
    made = stored.facts.provenance.get("question", {})
    differences = _foreign(stored, config) if not config.set.sources else list(_differences(made, settings_of(config)))
    if config.set.sources:
        differences += _changed_files(made, config)
    if differences:
        more = [f"and {len(differences) - LISTED} more"] if len(differences) > LISTED else []
        raise TrainingSetError(
            f"{stored.path}: holds a training set made of something else:\n  "
            + "\n  ".join(differences[:LISTED] + more)
            + "\nremove it, or give another 'path' in [set]"
        )


def _foreign(stored: StoredSet, config: TrainingConfig) -> list[str]:
    """A set given without sources must agree on what its values mean."""
    facts = stored.facts
    wanted = {
        "classes": list(config.set.classes),
        "signals": config.signals.model_dump(mode="json"),
        "charge": config.charge.model_dump(mode="json"),
    }
    return list(_differences({key: facts.meaning()[key] for key in wanted}, wanted))


def _differences(made: Mapping[str, Any], wanted: Mapping[str, Any], where: str = "") -> list[str]:
    found = []
    for key, value in wanted.items():
        old, name = made.get(key), f"{where}{key}"
        if isinstance(value, dict) and isinstance(old, dict):
            found += _differences(old, value, f"{name}.")
        elif isinstance(value, list) and isinstance(old, list) and len(old) == len(value) and _tables(value):
            for number, (one, other) in enumerate(zip(old, value, strict=True)):
                found += _differences(one, other, f"{name}[{number + 1}].")
        elif old != value:
            found.append(f"'{name}' is {value!r}, was {old!r}")
    return found


def _tables(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(entry, dict) for entry in value)


def _changed_files(made: Mapping[str, Any], config: TrainingConfig) -> list[str]:
    """Files that are not as they were, and files that patterns name now and did not."""
    found = []
    for source in config.set.sources:
        known = made.get("files", {}).get(source.name, {})
        for path, state in known.items():
            changed = _changed(path, state) if "modified_ns" in state and Path(path).exists() else None
            if changed:
                found.append(f"{path} {changed}")
        if source.campaign:
            directory = CampaignDirectory(Path(source.campaign))
            blocks = known.get(f"commits of {directory.path}", {}).get("blocks")
            now = sum(1 for _ in directory.committed())
            if directory.commits.exists() and now != blocks:
                found.append(f"campaign {directory.path} has {now} finished blocks, had {blocks}")
        matches = {match for pattern in source.files or () for match in glob.glob(pattern, recursive=True)}  # noqa: PTH207
        real = {str(Path(path).resolve()) for path in known}
        new = [
            path
            for path in sorted(matches)
            if str(Path(path).resolve()) not in real and not path.endswith(TRUTH_ENDING)
        ]
        if new:
            found.append(f"source '{source.name}' has {len(new)} files more, such as {new[0]}")
    return found


def _changed(path: str, state: Mapping[str, Any]) -> str | None:
    index = FileIndex(
        path, state["bytes"], state["modified_ns"], state["format"], {}, "none", True, Scan(0, "int16", 0, 0, "")
    )
    return index.changed()
