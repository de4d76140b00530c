"""``psdbatch evaluate``: from a model and a training set to numbers and a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch import __version__
from psdbatch.campaign.files import replace_durably
from psdbatch.config.training import read_training
from psdbatch.errors import StorageError
from psdbatch.evaluation.errors import EvaluationError
from psdbatch.evaluation.evaluation import Classification, Scored, evaluate
from psdbatch.evaluation.pages import classifier_sections, reconstruction_sections
from psdbatch.evaluation.reconstruction import (
    Compression,
    Reconstructed,
    Reconstruction,
    compression,
    reconstruction,
)
from psdbatch.evaluation.scoring import COLUMNS, as_scored, check_fit, known_card, score_in_subprocess
from psdbatch.evaluation.separation import REJECTIONS
from psdbatch.models.card import ModelCard
from psdbatch.models.facts import ModelFacts
from psdbatch.monitor.page import page
from psdbatch.plain import plain
from psdbatch.training_set.store import StoredSet, open_set

Array = NDArray[Any]

REPORT, NUMBERS = "report.html", "evaluation.json"

TEACHING = 200_000
"""Signals of another part that the cuts of the charge comparison are learnt on, at most."""


@dataclass(frozen=True)
class Evaluation:
    """What was evaluated, and the figures.

    Attributes
    ----------
    about
        Model, set and part, as the report shows them.
    figures
        Of a classifier, or of a network that answers with a signal.
    directory
        Where ``report.html`` and ``evaluation.json`` lie.
    """

    about: dict[str, Any]
    figures: Classification | Reconstruction
    directory: Path

    def facts(self) -> dict[str, Any]:
        """Everything as plain values, as in ``evaluation.json``."""
        kind = "classification" if isinstance(self.figures, Classification) else "reconstruction"
        return {"version": 1, "kind": kind, "about": plain(self.about), "figures": plain(self.figures)}


def evaluate_model(
    model: Path,
    training_set: Path | None = None,
    part: str = "test",
    output: Path | None = None,
    *,
    signals: int | None = None,
    amplitudes: Sequence[float] = (),
    energies: Sequence[float] = (),
    rejections: Sequence[float] = REJECTIONS,
) -> Evaluation:
    """Evaluate a frozen model on one part of a training set, and write ``report.html`` and ``evaluation.json``.

    Parameters
    ----------
    model
        Frozen model with a card, or the directory of a training.
    training_set
        Default: that of the training.
    output
        Directory of the report; default: ``evaluation`` in the training, ``NAME-evaluation`` beside a model.
    signals
        Signals at most; default: all of the part.
    amplitudes, energies, rejections
        As of :func:`psdbatch.evaluation.evaluation.evaluate`.

    Raises
    ------
    EvaluationError
        Model and set do not fit, or the figures cannot be had from these signals.
    ModelError, TrainingSetError
        Model or set cannot be used.
    StorageError
        The report cannot be written.
    """
    frozen, chosen, directory = _places(model, training_set, output)
    stored = open_set(chosen)
    stored.part(part)  # before a process is started in vain
    facts, found = score_in_subprocess(frozen, chosen, part, signals)
    card = known_card(facts)
    notes = check_fit(card, stored.facts, facts.source)
    figures: Classification | Reconstruction
    if card.task == "classifier":
        scored, others = as_scored(found), _teachers(stored, part)
        figures = evaluate(
            scored, stored.facts.classes, others, amplitudes=amplitudes, energies=energies, rejections=rejections
        )
        sections = classifier_sections(figures, scored)
    else:
        signals_found = _reconstructed(found)
        figures = reconstruction(card.task, signals_found, stored.facts.classes, _saved(found, card), amplitudes)
        sections = reconstruction_sections(figures, signals_found, found, stored.facts.classes)
    evaluation = Evaluation(
        _about(facts, card, stored, part, len(found["truth" if "truth" in found else "label"])), figures, directory
    )
    title = f"Evaluation of {frozen.parent.name if model.is_dir() else frozen.name}"
    html = page(title, evaluation.about["shown"], [*notes, *figures.notes], sections)
    _write(evaluation, html)
    return evaluation


def _places(model: Path, training_set: Path | None, output: Path | None) -> tuple[Path, Path, Path]:
    """Frozen model, set, and directory of the report."""
    frozen = model / "model.pb" if model.is_dir() else model
    if not frozen.is_file():
        what = "no training directory with a frozen model (model.pb)" if model.is_dir() else "no such model"
        raise EvaluationError(f"{model}: {what}")
    chosen = training_set or (_set_of(model) if model.is_dir() else None)
    if chosen is None:
        raise EvaluationError(f"{model}: name the training set to evaluate on with --set")
    default = model / "evaluation" if model.is_dir() else model.with_name(f"{model.stem}-evaluation")
    return frozen, chosen, output or default


def _set_of(training: Path) -> Path | None:
    """The set of a training, wherever its configuration says it lies; None if it is not there any more."""
    config = training / "training.toml"
    named = read_training(config).set.path if config.exists() else None
    candidates = [*([Path(named)] if named else []), training / "set.zarr"]
    return next((path for path in candidates if path.exists()), None)


def _teachers(stored: StoredSet, part: str) -> Scored | None:
    """Signals of another part, for the cuts of the charge comparison; None if there is no other part with signals."""
    other = next((name for name in ("validation", "train") if name != part and name in stored.parts), None)
    if other is None:
        return None
    found = stored.part(other).read(0, TEACHING, COLUMNS)
    unscored = np.full((len(found["label"]), len(stored.facts.classes)), np.nan, np.float32)
    return as_scored({**found, "scores": unscored})


def _reconstructed(found: dict[str, Array]) -> Reconstructed:
    none = np.zeros(0)
    return Reconstructed(**{name: found.get(name, none) for name in Reconstructed.__dataclass_fields__})


def _saved(found: dict[str, Array], card: ModelCard) -> Compression | None:
    numbers = int(found["numbers"])
    return compression(card.window, card.signals.adc_bits, numbers) if numbers else None


def _about(facts: ModelFacts, card: ModelCard, stored: StoredSet, part: str, signals: int) -> dict[str, Any]:
    counts = stored.facts.counts.get(part, {})
    gates = stored.facts.charge
    shown = {
        "model": facts.source,
        "digest of the model": facts.source_digest,
        "task": card.task,
        "classes": list(card.classes),
        "parameters": facts.parameters,
        "window": f"{card.window} samples, {card.preparation.align} {card.preparation.offset:+d}, normalised by {card.preparation.normalise}",
        "training": {name: value for name, value in card.training.items() if isinstance(value, (int, float, str))}
        or "not told by the card",
        "set": str(stored.path),
        "digest of the set": stored.facts.digest,
        "sources of the set": list(stored.facts.sources),
        "part": f"{part}: {signals:,} of {sum(counts.values()):,} signals ({', '.join(f'{n:,} {name}' for name, n in counts.items())})",
        "gates of the charge comparison": f"short {gates.short}, long {gates.long} samples from {gates.align} {gates.offset:+d}",
        "samples": f"{stored.facts.samples} of {stored.facts.signals.sampling_period:g} ns, {stored.facts.signals.adc_bits} bits, {stored.facts.signals.polarity} pulses",
        "psdbatch": __version__,
    }
    return {
        "shown": shown,
        "model": {"digest": facts.digest, "source_digest": facts.source_digest, "card": card.to_json()},
        "set": {"digest": stored.facts.digest, "part": part, "signals": signals, "counts": stored.facts.counts},
    }


def _write(evaluation: Evaluation, html: str) -> None:
    directory = evaluation.directory
    numbers = json.dumps(evaluation.facts(), indent=1, allow_nan=False)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in ((NUMBERS, numbers), (REPORT, html)):
            replace_durably(directory / name, content.encode())
    except OSError as error:
        raise StorageError(f"{directory}: the report cannot be written: {error.strerror or error}") from error
