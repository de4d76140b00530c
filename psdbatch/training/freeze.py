"""Freeze a model with its card; also run as a process of its own, ``python -m psdbatch.training.freeze``."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from psdbatch.campaign import files
from psdbatch.config import ModelSource, Section, SignalShape, validated
from psdbatch.config.training import TrainingConfig, read_training
from psdbatch.errors import ConfigurationError, ModelError, StorageError
from psdbatch.golden.software import software
from psdbatch.models.asking import answer
from psdbatch.models.card import ModelCard, card_of
from psdbatch.models.complete import write_bare, write_complete
from psdbatch.models.frozen import describe_graph, read_graph
from psdbatch.models.loading import Network, is_graph, keras_network, load_network
from psdbatch.models.outputs import answers
from psdbatch.models.verifying import TOLERANCE, verify
from psdbatch.networks.collection import build
from psdbatch.training.directory import TrainingDirectory
from psdbatch.training.freeze_request import FreezeRequest, FrozenFile
from psdbatch.training.origin import Origin, origin_of_card, origin_of_training, with_sections
from psdbatch.training.own_function import check_function
from psdbatch.training.records import best_checkpoint

UNKNOWN = "unknown"
"""Task of a network of which nobody says what it is for."""


def freeze(request: FreezeRequest) -> FrozenFile:
    """Freeze, compare with the network, and only then write the target.

    Raises
    ------
    PsdbatchError
        Source or configuration cannot be used, they do not fit, or the frozen graph gives other numbers.
    """
    source, target = Path(request.source), Path(request.target)
    _check_target(source, target)
    directory = TrainingDirectory(source)
    config = read_training(directory.config) if source.is_dir() and directory.config.exists() else None
    if config is not None:
        source = best_checkpoint(directory) or directory.model
        if not source.exists():
            raise ModelError(f"{directory.path}: this training has no network yet; let it finish an epoch first")
    origin = origin_of_training(directory, config) if config is not None else _origin_of_file(source)
    if request.config:
        origin = with_sections(origin, Path(request.config))
    network = _own_network(directory, config, source, origin) if config is not None else None
    network = network or load_network(source, origin.input, origin.outputs)
    return write_verified(network, target, make_card(request, origin, network), request.bare)


def _own_network(directory: TrainingDirectory, config: TrainingConfig, weights: Path, origin: Origin) -> Network | None:
    """The trained network of a user's own function, made anew: its file may hold layers that only that function knows."""
    samples = config.preparation.length if config.preparation.enabled else origin.samples
    if config.network.function is None or samples is None:
        return None
    check_function(directory, config)
    model = build(config.network, samples, config.set.classes).model
    model.load_weights(weights)
    return keras_network(model)


def _origin_of_file(source: Path) -> Origin:
    """What the card of a frozen graph says; other files say nothing."""
    card = card_of(read_graph(source)[0], source) if source.is_file() and is_graph(source) else None
    if card is not None and card.complete:
        raise ModelError(f"{source}: takes raw signals already; freeze the network that it was made from")
    return Origin() if card is None else origin_of_card(card)


def freeze_training(directory: Path, target: Path | None = None) -> FrozenFile:
    """Freeze the best network of a training directory, by default to its ``model.pb``.

    Raises
    ------
    PsdbatchError
        As :func:`freeze`.
    """
    return freeze(FreezeRequest(str(directory), str(target or TrainingDirectory(directory).frozen)))


def write_verified(network: Network, target: Path, card: ModelCard, bare: bool = False) -> FrozenFile:
    """Write a network with its card beside the target, compare, and rename.

    Raises
    ------
    ModelError
        Network and card do not fit, or the numbers differ.
    StorageError
        The target cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / target.name
        try:
            card = (write_bare if bare else write_complete)(network, trial, card)
            _check_classes(trial, card)
            difference = verify(network, trial, card)
        except ModelError as error:
            raise ModelError(str(error).replace(str(trial), str(target))) from error
        content = trial.read_bytes()
    try:
        files.replace_durably(target, content)
    except OSError as error:
        raise StorageError(f"{target}: cannot be written: {error.strerror or error}") from error
    return FrozenFile(str(target), hashlib.sha256(content).hexdigest(), card, difference, TOLERANCE)


def make_card(request: FreezeRequest, origin: Origin, network: Network) -> ModelCard:
    """What the frozen graph will say: the request's own words first, then its origin's.

    Raises
    ------
    ConfigurationError, ModelError
        A key is unknown, or something is said by nobody.
    """
    signals = _changed(origin.signals, request.signals, "--signals")
    preparation = _changed(origin.preparation, request.preparation, "--preparation")
    taken = [size for size in network.shape[1:] if size not in (1, None)]
    if preparation.length is None:
        if len(taken) != 1 and preparation.enabled:
            raise ModelError(
                f"{request.source}: the network does not say how many samples it takes; give --preparation length=..."
            )
        preparation = preparation.model_copy(update={"length": taken[0] if taken else None})
    samples = request.samples or origin.samples
    if not preparation.enabled:
        samples = samples or (taken[0] if taken else None)
        preparation = preparation.model_copy(update={"length": samples})
    if request.bare:
        samples = samples or preparation.length
    if samples is None:
        raise ModelError(
            f"{request.source}: nothing says how many samples the raw signals have; give --samples "
            "(or --bare, for a graph that takes prepared windows)"
        )
    classes = origin.classes if request.classes is None else request.classes
    task = request.task or origin.task or ("classifier" if classes else UNKNOWN)
    return ModelCard(
        classes=(classes or ()) if task == "classifier" else (),
        task=task,
        complete=not request.bare,
        samples=samples,
        sample_dtype=_sample_dtype(request.sample_dtype or origin.sample_dtype, signals),
        signals=signals,
        preparation=preparation,
        outputs=(),
        training={**origin.training, "frozen_with": software()},
    )


def _changed(section: Any, changes: Any, where: str) -> Any:
    kind: type[Section] = type(section)
    kept = section.model_dump(mode="json", exclude_none=True)
    return validated(kind, {**kept, **changes}, where) if changes else section


def _sample_dtype(given: str | None, signals: SignalShape) -> str:
    if given is None:
        return next(
            kind for kind in ("int16", "uint16", "int32", "int64") if 2**signals.adc_bits <= np.iinfo(kind).max + 1
        )
    try:
        return np.dtype(given).name
    except TypeError:
        raise ConfigurationError(
            f"'--sample-dtype': '{given}' is no dtype; write for example int16 or uint16"
        ) from None


def _check_target(source: Path, target: Path) -> None:
    if target.suffix != ".pb":
        raise ConfigurationError(f"{target}: a frozen graph is written to a file *.pb; name one as TARGET")
    if target.exists() and source.exists() and target.samefile(source):
        raise ConfigurationError(f"{target}: SOURCE and TARGET are the same file")
    if not target.parent.is_dir():
        raise ConfigurationError(f"{target.parent}: there is no such directory to write {target.name} to")


def _check_classes(path: Path, card: ModelCard) -> None:
    """The class names must fit the scores."""
    if card.classes:
        source = ModelSource(path=str(path), outputs=card.outputs, classes=card.classes)
        answers(describe_graph(path, source, ""), source)


def main() -> int:
    """Answer a :class:`FreezeRequest` with a :class:`FrozenFile`; see :mod:`psdbatch.models.asking`."""
    return answer(lambda request: freeze(FreezeRequest.from_json(request)).to_json())


if __name__ == "__main__":
    sys.exit(main())
