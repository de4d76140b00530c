"""The collection of networks by name, and how a network is built and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from psdbatch.config.network import Network
from psdbatch.errors import ConfigurationError
from psdbatch.networks import autoencoder, cleaning, convolutional, dense, recurrent, task, variational
from psdbatch.networks.checks import check_network
from psdbatch.networks.losses import keras_loss
from psdbatch.networks.options import checked_options, fitting
from psdbatch.networks.own import call, load_function
from psdbatch.networks.task import Task
from psdbatch.wording import nearest

TASKS: dict[str, Callable[..., Task]] = {
    "classifier": task.classifier,
    "autoencoder": task.autoencoder,
    "denoiser": task.denoiser,
    "separator": task.separator,
    "variational": task.variational,
}

DEFAULT = "dense"


@dataclass(frozen=True)
class Entry:
    """A network of the collection: its function and what it is trained for."""

    function: Callable[..., Any]
    task: str


NETWORKS = {
    "dense": Entry(dense.dense, "classifier"),
    "wide": Entry(dense.wide, "classifier"),
    "convolutional": Entry(convolutional.convolutional, "classifier"),
    "recurrent": Entry(recurrent.recurrent, "classifier"),
    "autoencoder": Entry(autoencoder.autoencoder, "autoencoder"),
    "monitor": Entry(autoencoder.monitor, "autoencoder"),
    "denoiser": Entry(cleaning.denoiser, "denoiser"),
    "separation": Entry(cleaning.separation, "separator"),
    "variational": Entry(variational.variational, "variational"),
}


@dataclass(frozen=True)
class Built:
    """An uncompiled Keras model with one input ``(samples,)``, float32, and its task."""

    model: Any
    task: Task


def build(config: Network, samples: int, classes: tuple[str, ...], loss: str | None = None) -> Built:
    """Build the network that ``[network]`` names.

    Parameters
    ----------
    samples
        Prepared samples of a signal.
    classes
        Names of the classes.
    loss
        A Keras loss by name; default: that of the task.

    Raises
    ------
    ConfigurationError
        There is no such network, option or loss, or an option has a value that the network cannot have.
    ModelError
        A user's function is missing, raises, or gives something that does not fit signals or task.
    """
    given = {"samples": samples, "classes": len(classes)}
    difference = keras_loss(loss) if loss else None
    if config.function:
        function = load_function(config.function)
        make = TASKS[config.task or "classifier"]
        options = checked_options(config.options, (function, make), config.function, typed=False)
        model = call(function, fitting(function, {**options, **given}), config.function)
    else:
        name = config.name or DEFAULT
        entry = _entry(name)
        make = TASKS[entry.task]
        options = checked_options(config.options, (entry.function, make), name, typed=True)
        model = entry.function(**fitting(entry.function, {**options, **given}))
    chosen = make(**fitting(make, {**options, "difference": difference}))
    if chosen.name == "classifier" and len(classes) < 2:
        raise ConfigurationError(
            f"'set.classes' names one class, {', '.join(classes)}: a classifier has nothing to tell apart; name a second "
            "class, or take an auto-encoder"
        )
    check_network(model, chosen, samples, len(classes), config.function or config.name or DEFAULT)
    return Built(model, chosen)


def _entry(name: str) -> Entry:
    if name not in NETWORKS:
        raise ConfigurationError(
            f"'network.name' is '{name}', which is not in the collection{nearest(name, NETWORKS)}; networks: {', '.join(NETWORKS)}"
        )
    return NETWORKS[name]
