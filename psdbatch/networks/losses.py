"""Keras's losses by name, one number per signal."""

from __future__ import annotations

import inspect
from typing import Any

from psdbatch.errors import ConfigurationError
from psdbatch.models.quiet import tf
from psdbatch.networks.task import Difference
from psdbatch.wording import nearest


def keras_loss(name: str) -> Difference:
    """The loss of every signal.

    Raises
    ------
    ConfigurationError
        Keras knows no such loss, or it takes class numbers instead of one column per class.
    """
    if "sparse" in name.lower():
        raise ConfigurationError(
            f"'optimisation.loss' is '{name}', which takes class numbers; write 'categorical_crossentropy'"
        )
    try:
        found = tf.keras.losses.get(name)
    except (ValueError, TypeError):
        raise ConfigurationError(
            f"'optimisation.loss' is '{name}', which Keras does not know{nearest(name, _names())}"
        ) from None
    if isinstance(found, tf.keras.losses.Loss):  # named as a class: it would give the mean of the batch
        found = type(found)(reduction="none")

    def difference(truth: Any, answer: Any) -> Any:
        return found(truth, answer)

    return difference


def _names() -> list[str]:
    return [name for name, value in vars(tf.keras.losses).items() if inspect.isfunction(value)]
