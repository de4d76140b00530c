"""From raw signals to examples: augmentation, then the preparation that inference has too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from psdbatch.config.network import Augmentation
from psdbatch.config.training import TrainingConfig
from psdbatch.errors import ConfigurationError
from psdbatch.models.preparation import model_input, model_input_of, pulses
from psdbatch.models.quiet import tf
from psdbatch.networks.augmentation import augment
from psdbatch.networks.chance import Key
from psdbatch.networks.example import Example
from psdbatch.networks.task import Task

_VALIDATION = -1
"""Epoch of all validation: what is added at random there is the same every time, so that its losses compare."""


def example(raw: Any, label: Any, key: Key, config: TrainingConfig, task: Task, training: bool) -> Example:
    """What a network learns from, or is validated with.

    Parameters
    ----------
    raw
        Raw signals, integer ``(batch, samples)``, samples static.
    label
        Number of the class, ``(batch,)``.
    key
        Seed, epoch and numbers of the signals.
    training
        With the whole augmentation.  Otherwise only what the task is about is added: noise to a denoiser's signals, a
        second pulse to a separator's, the same in every epoch.
    """
    settings = config.augmentation
    if not training:
        settings = task_alone(task, settings)
        key = replace(key, epoch=_VALIDATION)
    changed = augment(raw, settings, config.signals, key)
    if config.preparation.enabled:
        pulse = pulses(changed.raw, config.signals)
        length = config.preparation.length
        assert length is not None  # checked with the configuration
        window = model_input(pulse, config.preparation, length)
        sign = 1.0 if pulse.upwards else -1.0
        clean = model_input_of(pulse.height(changed.clean), pulse, config.preparation, length)
        second = model_input_of(sign * changed.added, pulse, config.preparation, length)
    else:
        window, clean, second = tf.cast(changed.raw, tf.float32), changed.clean, changed.added
    return Example(window, clean, second, tf.cast(label, tf.int32), key)


def task_alone(task: Task, settings: Augmentation) -> Augmentation:
    """The part of the augmentation without which there is nothing to do for ``task``."""
    kept = {name: getattr(settings, name) for name in task.learns_from}
    return Augmentation(pile_up_delay=settings.pile_up_delay, **kept)


def check_augmentation(task: Task, settings: Augmentation, samples: int) -> None:
    """Before the first example.

    Parameters
    ----------
    samples
        Samples of the raw signals.

    Raises
    ------
    ConfigurationError
        The task learns from something that is not added, or something moves further than the signal is long.
    """
    for name in task.learns_from:
        if not getattr(settings, name):
            what = {"noise": "added noise", "pile_up": "added second pulses"}[name]
            raise ConfigurationError(
                f"a network for the task '{task.name}' learns from {what}: set '{name}' in [augmentation] above 0"
            )
    if settings.shift >= samples:
        raise ConfigurationError(
            f"'augmentation.shift' is {settings.shift}, the signals have only {samples} samples; take a few samples"
        )
    if settings.pile_up and settings.pile_up_delay[1] >= samples:
        raise ConfigurationError(
            f"'augmentation.pile_up_delay' goes to {settings.pile_up_delay[1]}, the signals have only {samples} samples"
        )
