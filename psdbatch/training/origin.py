"""What a training directory or a configuration file says about a network that is to be frozen."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from psdbatch.config import CampaignConfig, Preparation, SignalShape, read_config
from psdbatch.config.section import read_toml
from psdbatch.config.training import TrainingConfig, read_training
from psdbatch.models.card import ModelCard
from psdbatch.networks.collection import DEFAULT, NETWORKS
from psdbatch.training.directory import TrainingDirectory
from psdbatch.training.own_function import recorded_digest
from psdbatch.training_set.store import open_set


@dataclass(frozen=True)
class Origin:
    """What files say about a network: sections of a configuration, raw signals of a training set, provenance."""

    signals: SignalShape = field(default_factory=SignalShape)
    preparation: Preparation = field(default_factory=Preparation)
    classes: tuple[str, ...] | None = None
    task: str | None = None
    samples: int | None = None
    sample_dtype: str | None = None
    input: str | None = None
    outputs: tuple[str, ...] | None = None
    training: dict[str, Any] = field(default_factory=dict)


def origin_of_card(card: ModelCard) -> Origin:
    """What the card of a frozen graph without preparation says."""
    return Origin(
        signals=card.signals,
        preparation=card.preparation,
        classes=card.classes or None,
        task=card.task,
        training={name: value for name, value in card.training.items() if name != "frozen_with"},
    )


def origin_of_training(directory: TrainingDirectory, config: TrainingConfig) -> Origin:
    """What a training directory says about its network.

    Raises
    ------
    PsdbatchError
        Its set cannot be read.
    """
    origin = _of_training(config)
    provenance: dict[str, Any] = {
        "configuration": config.model_dump(mode="json", exclude_none=True, exclude={"cluster", "training"}),
        "seed": config.optimisation.seed,
        **_course(directory.history),
    }
    if function := recorded_digest(directory):
        provenance["function_sha256"] = function
    stored = Path(config.set.path or directory.set)
    for path in (stored, directory.set):  # the directory may have been moved since
        if path.exists():
            facts = open_set(path).facts
            provenance["set"] = {
                "digest": facts.digest,
                "sources": list(facts.sources),
                "counts": {part: dict(counts) for part, counts in facts.counts.items()},
            }
            return replace(origin, samples=facts.samples, sample_dtype=facts.sample_dtype, training=provenance)
    return replace(origin, training=provenance)


def _of_training(config: TrainingConfig) -> Origin:
    named = NETWORKS.get(config.network.name or DEFAULT)
    own = config.network.task or "classifier"
    return Origin(
        signals=config.signals,
        preparation=config.preparation,
        classes=config.set.classes,
        task=named.task if named is not None and not config.network.function else own,
    )


def with_sections(origin: Origin, path: Path) -> Origin:
    """Sections of ``campaign.toml`` or ``training.toml`` in place of those of the origin."""
    keys = read_toml(path)
    if "training" in keys:
        said = _of_training(read_training(path))
        return replace(said, samples=origin.samples, sample_dtype=origin.sample_dtype, training=origin.training)
    campaign: CampaignConfig = read_config(path)
    return replace(
        origin,
        signals=campaign.signals,
        preparation=campaign.preparation,
        classes=campaign.model.classes or origin.classes,
        input=campaign.model.input,
        outputs=campaign.model.outputs,
    )


def _course(history: Path) -> dict[str, Any]:
    """Epochs trained and the best one, from the training's ``history.csv``."""
    try:
        with history.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        best = min(rows, key=lambda row: float(row["val_loss"]))
        return {"epochs": len(rows), "best_epoch": int(float(best["epoch"])), "val_loss": float(best["val_loss"])}
    except (OSError, ValueError, KeyError):
        return {}  # no epoch has ended yet
