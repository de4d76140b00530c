"""Answers of models that answer with a signal, on a part of a training set.  Needs TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.config import SignalShape, validated
from psdbatch.config.network import Augmentation
from psdbatch.config.training import TrainingConfig
from psdbatch.evaluation.errors import EvaluationError
from psdbatch.evaluation.scoring import BATCH, engine_settings, known_card, unused
from psdbatch.models.card import ModelCard
from psdbatch.models.facts import ModelFacts
from psdbatch.models.outputs import answers
from psdbatch.models.preparation import pulses
from psdbatch.models.quiet import tf
from psdbatch.models.residual import residual
from psdbatch.networks.augmentation import augment
from psdbatch.networks.chance import Key
from psdbatch.networks.collection import TASKS
from psdbatch.networks.examples import example, task_alone
from psdbatch.training_set.facts import SetFacts
from psdbatch.training_set.store import Part

Array = NDArray[Any]

SEED = 1
"""Of what is added to the signals; the same at every evaluation, so that networks compare."""

EPOCH = -1
"""That of all validation in :mod:`psdbatch.networks.examples`."""

PICTURES = 12
"""Signals kept to be drawn."""


@dataclass(frozen=True)
class _Batch:
    """What goes in and what should come out: raw ``(n, samples)``, windows ``(n, length)``, ADC units per unit of window ``(n, 1)``."""

    raw: Array
    window: Array
    clean: Array
    second: Array
    scale: Array
    noise: Array


def reconstruct(engine: Any, facts: ModelFacts, of: SetFacts, part: Part, signals: int) -> dict[str, Array]:
    """Errors of each of the first ``signals`` of ``part``, as :class:`psdbatch.evaluation.reconstruction.Reconstructed` names them, and some pictures.

    Parameters
    ----------
    engine
        :class:`psdbatch.models.batching.BatchedEngine` of the model.

    Returns
    -------
    dict
        Its arrays; ``numbers`` ``()``, the size of the bottleneck, 0 if unknown; ``picture_*``
        windows of the first signals ``(PICTURES, length)`` in ADC units.

    Raises
    ------
    EvaluationError
        The card does not tell what was added to the signals in training.
    """
    card = known_card(facts)
    config, task = _config(card, of.signals), TASKS[card.task]()
    columns = _columns(facts, of, card)
    rows: dict[str, list[Array]] = {}
    pictures: dict[str, Array] = {}
    for start in range(0, signals, BATCH):
        read = part.read(start, min(start + BATCH, signals), ["samples", "label", "amplitude"])
        batch = _batch(read["samples"], read["label"], start, config, task)
        out = {name: np.empty((len(batch.raw), *shape), np.float32) for name, shape in columns}
        engine.infer(batch.raw, {**out, **unused(len(batch.raw))})
        made = [out[name] for name, _ in columns[: 2 if card.task == "separator" else 1]]
        for name, values in _errors(batch, made, card.task).items():
            rows.setdefault(name, []).append(values)
        rows.setdefault("truth", []).append(read["label"].astype(np.int64))
        rows.setdefault("amplitude", []).append(read["amplitude"])
        pictures = pictures or _pictures(batch, made)
    found = {name: np.concatenate(parts) for name, parts in rows.items()}
    return {**found, **pictures, "numbers": np.array(_numbers(card, columns))}


def _config(card: ModelCard, signals: SignalShape) -> TrainingConfig:
    """The settings that decide what is added; the rest is not looked at."""
    trained = card.training.get("configuration")
    given = trained.get("augmentation") if isinstance(trained, dict) else None
    if given is None and TASKS[card.task]().learns_from:
        raise EvaluationError(
            f"the model's card does not tell its [augmentation], so nobody knows what a {card.task} is to remove; train it with 'psdbatch train'"
        )
    settings = validated(Augmentation, given or {}, "the model's card: [augmentation]")
    return TrainingConfig.model_construct(
        training="", signals=signals, preparation=card.preparation, augmentation=settings
    )


def _batch(raw: Array, label: Array, start: int, config: TrainingConfig, task: Any) -> _Batch:
    key = Key(SEED, EPOCH, tf.range(start, start + len(raw), dtype=tf.int64))
    tensor = tf.constant(raw)
    changed = augment(tensor, task_alone(task, config.augmentation), config.signals, key)
    made = example(tensor, tf.constant(label), replace(key), config, task, training=False)
    pulse = pulses(changed.raw, config.signals)
    normalised = config.preparation.enabled and config.preparation.normalise == "amplitude"
    scale = np.abs(pulse.amplitude.numpy()) if normalised else np.ones((len(raw), 1), np.float32)
    window, clean, second = (entry.numpy() for entry in (made.window, made.clean, made.second))
    noise = pulses(tensor, config.signals).noise.numpy()[:, 0]
    return _Batch(changed.raw.numpy(), window, clean, second, scale, noise)


def _errors(batch: _Batch, made: list[Array], task: str) -> dict[str, Array]:
    target = batch.window if task in ("autoencoder", "variational") else batch.clean
    found = {
        "noise": batch.noise,
        "error": error_left(target, made[0], batch.scale),
        "before": error_left(target, batch.window, batch.scale),
    }
    if task == "separator":
        found["second_error"] = error_left(batch.second, made[1], batch.scale)
        found["second_before"] = error_left(batch.second, np.zeros_like(batch.second), batch.scale)
        found["first_charge"] = _relative(made[0], batch.clean)
        found["second_charge"] = _relative(made[1], batch.second)
    return found


def error_left(window: Array, answer: Array, scale: Array) -> Array:
    """The residual of each window ``(n, length)``, as a campaign's quality monitor has it, times ``scale`` ``(n, 1)``."""
    return np.asarray(residual(tf.constant(window), tf.constant(answer)).numpy() * scale[:, 0])


def _relative(answer: Array, truth: Array) -> Array:
    """Relative error of the sum over the window; NaN where there is nothing."""
    right, given = truth.sum(axis=1, dtype=np.float64), answer.sum(axis=1, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(np.abs(right) > 0, (given - right) / right, np.nan))


def _pictures(batch: _Batch, made: list[Array]) -> dict[str, Array]:
    chosen, scale = slice(0, PICTURES), batch.scale[:PICTURES]
    found = {f"picture_{name}": getattr(batch, name)[chosen] * scale for name in ("window", "clean", "second")}
    return found | {f"picture_answer_{number}": answer[chosen] * scale for number, answer in enumerate(made)}


def _columns(facts: ModelFacts, of: SetFacts, card: ModelCard) -> list[tuple[str, tuple[int, ...]]]:
    """Names of the output columns in the order of the card, and the shape of one signal's value."""
    named = {
        tensor.name.split(":")[0]: (column.name, column.shape)
        for tensor, column in answers(facts, engine_settings(facts, of, 1).source).others
    }
    return [named[name] for name in card.outputs]


def _numbers(card: ModelCard, columns: list[tuple[str, tuple[int, ...]]]) -> int:
    """Numbers in the bottleneck: the second output of an auto-encoder (of a variational one, its means)."""
    if card.task not in ("autoencoder", "variational") or len(columns) < 2 or len(columns[1][1]) != 1:
        return 0
    return columns[1][1][0]
