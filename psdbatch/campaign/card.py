"""Where a model's card and ``campaign.toml`` meet: the card fills in what is not said, and may not be contradicted."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from psdbatch.campaign.model import CampaignModels
from psdbatch.campaign.plan import PlannedRun
from psdbatch.config import CampaignConfig, ModelSource, Preparation, SignalShape
from psdbatch.errors import ConfigurationError
from psdbatch.models.card import ModelCard
from psdbatch.models.facts import ModelFacts

_NO_CLASSES = ("classifier", "unknown")
"""Tasks that leave it to the configuration whether an output holds class scores."""


def with_card(config: CampaignConfig, facts: ModelFacts) -> tuple[CampaignConfig, tuple[str, ...]]:
    """The configuration with everything that the model's card says, and what was taken from it, in words.

    A model without a card leaves the configuration as it is; one that was filled in before stays the same.

    Raises
    ------
    ConfigurationError
        Both say something, and it differs; the message names both values.
    """
    card = facts.card
    if card is None:
        return config, ()
    model, notes = _model(config.model, card)
    signals, signal_notes = _signals(config.signals, card, config.model.path)
    preparation, preparation_notes = _preparation(config.preparation, card, config.model.path)
    filled = config.model_copy(update={"model": model, "signals": signals, "preparation": preparation})
    return filled, (*notes, *signal_notes, *preparation_notes)


def with_quality_card(config: CampaignConfig, models: CampaignModels) -> tuple[CampaignConfig, tuple[str, ...]]:
    """The configuration, as :func:`with_card` left it, with the preparation of the quality monitor, in words too.

    What the monitor's card says holds; without a card it gets what the campaign's own model sees.

    Raises
    ------
    ConfigurationError
        The card and the configuration say something that differs.
    """
    quality, facts = config.quality, models.quality
    if quality is None or facts is None:
        return config, ()
    if facts.card is not None:
        preparation = facts.card.preparation
        if quality.preparation is not None:
            _check_preparation(quality.preparation, preparation, "quality.preparation", quality.model)
        _check_signals(config.signals, facts.card, quality.model)
        notes = (f"quality: residual of {quality.model}, preparation from its card",)
    else:
        preparation = quality.preparation or _seen(config, models.model, facts)
        notes = (f"quality: residual of {quality.model}",)
    filled = quality.model_copy(update={"preparation": preparation})
    return config.model_copy(update={"quality": filled}), notes


def length_notes(facts: ModelFacts, runs: Iterable[PlannedRun]) -> tuple[str, ...]:
    """Runs whose signals are longer than those that the model was made for."""
    card = facts.card
    if card is None or not card.complete:
        return ()
    return tuple(
        f"warning: run {run.name}: its signals have {run.samples} samples, the model gets the first {card.samples}"
        for run in runs
        if run.samples > card.samples
    )


def _model(source: ModelSource, card: ModelCard) -> tuple[ModelSource, list[str]]:
    changes: dict[str, Any] = {}
    notes = []
    if card.classes and source.classes is None:
        changes["classes"] = card.classes
        notes.append(f"classes from the model's card: {', '.join(card.classes)}")
    elif card.classes and source.classes != card.classes:
        raise ConfigurationError(
            f"'model.classes' names {_listed(source.classes)}, the card of {source.path} names {_listed(card.classes)}; "
            "leave 'classes' out of [model]"
        )
    if card.task not in _NO_CLASSES and "classifier" not in source.model_fields_set:
        changes["classifier"] = False
        notes.append(f"the model is no classifier but for the task '{card.task}'")
    return (source.model_copy(update=changes) if changes else source), notes


def _signals(given: SignalShape, card: ModelCard, path: str) -> tuple[SignalShape, list[str]]:
    """[signals]: what is not said comes from the card.

    The network sees raw samples as it was trained to, whatever number of samples the baseline has elsewhere; and with
    normalised windows their scale does not matter.  Polarity and sampling period do.
    """
    preparation = card.preparation
    scaled = preparation.enabled and preparation.normalise == "amplitude"
    harmless = {"baseline"} if card.complete else set()
    harmless |= {"adc_bits"} if scaled else set()
    notes = []
    differing = _differing(given, card.signals)
    for key in differing:
        mine, its = getattr(given, key), getattr(card.signals, key)
        if key not in harmless:
            raise _other_signals(given, card, key, path)
        notes.append(
            f"warning: 'signals.{key}' is {mine}, the model was made with {its}; amplitude, charges and flags follow the "
            "configuration, the model's answers its own value"
        )
    return _filled(given, card.signals, differing), notes


def _preparation(given: Preparation, card: ModelCard, path: str) -> tuple[Preparation, list[str]]:
    """[preparation]: none for a graph that brings its own, the card's for one that needs it."""
    inside = card.complete or not card.preparation.enabled
    wanted = card.preparation.model_copy(update={"enabled": not inside})
    differing = _differing(given, wanted)
    if inside and "enabled" in differing:
        raise ConfigurationError(
            f"'preparation.enabled' is true, but {path} takes raw signals, as its card says; leave [preparation] out"
        )
    _check_preparation(given, wanted, "preparation", path)
    if not card.preparation.enabled:
        return wanted, ["the model takes raw samples as they are"]
    return wanted, ["the model prepares raw signals itself" if inside else "preparation from the model's card"]


def _check_preparation(given: Preparation, wanted: Preparation, section: str, path: str) -> None:
    for key in _differing(given, wanted):
        raise ConfigurationError(
            f"'{section}.{key}' is {getattr(given, key)}, but {path} was made with {getattr(wanted, key)}, as its card says; "
            f"leave [{section}] out, or freeze the network again with the other value"
        )


def _check_signals(signals: SignalShape, card: ModelCard, path: str) -> None:
    """The signals must be those of the network's training; their rest is measured as the card says in any case."""
    keys = ["polarity", "sampling_period"]
    if not (card.preparation.enabled and card.preparation.normalise == "amplitude"):
        keys.append("adc_bits")
    for key in keys:
        if not _same(getattr(signals, key), getattr(card.signals, key)):
            raise _other_signals(signals, card, key, path)


def _other_signals(signals: SignalShape, card: ModelCard, key: str, path: str) -> ConfigurationError:
    return ConfigurationError(
        f"'signals.{key}' is {getattr(signals, key)}, but {path} was made for signals with {getattr(card.signals, key)}, "
        "as its card says; use a model made for these signals, or correct [signals]"
    )


def _seen(config: CampaignConfig, model: ModelFacts, monitor: ModelFacts) -> Preparation:
    """What the campaign's own model sees, cut to the monitor's own length where its input has one."""
    seen = model.card.preparation if model.card is not None and model.card.complete else config.preparation
    return seen if None in monitor.input.shape[1:] else seen.model_copy(update={"length": None})


def _differing(given: Any, wanted: Any) -> list[str]:
    """Keys that the user has given and that say something else."""
    said = [key for key in type(given).model_fields if key in given.model_fields_set]
    return [key for key in said if not _same(getattr(given, key), getattr(wanted, key))]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return bool(one == other)


def _filled(given: Any, wanted: Any, kept: Iterable[str]) -> Any:
    """``wanted`` with the ``kept`` keys of ``given``."""
    return wanted.model_copy(update={key: getattr(given, key) for key in kept})


def _listed(names: tuple[str, ...] | None) -> str:
    return ", ".join(f"'{name}'" for name in names or ())
