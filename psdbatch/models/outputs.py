"""Which columns a model's outputs become."""

from __future__ import annotations

import re
from dataclasses import dataclass

from psdbatch.columns import Column
from psdbatch.config import ModelSource
from psdbatch.errors import ModelError
from psdbatch.models.facts import ModelFacts, TensorFacts
from psdbatch.wording import nearest


@dataclass(frozen=True)
class Answers:
    """How outputs are read: the class scores, if any, their number, and all other outputs.

    ``binary`` tells that one number stands for two classes, the probability of the second.
    """

    scores: TensorFacts | None
    classes: tuple[str, ...]
    binary: bool
    others: tuple[tuple[TensorFacts, Column], ...]


def answers(facts: ModelFacts, source: ModelSource) -> Answers:
    """Find the class scores among the outputs and name everything.

    Raises
    ------
    ModelError
        The classifier named does not exist or has no class dimension, or the class names do not fit.
    """
    scores = _scores(facts, source)
    others = tuple((tensor, _column(tensor)) for tensor in facts.outputs if tensor is not scores)
    if scores is None:
        return Answers(None, (), False, others)
    size = scores.shape[1]
    binary = size == 1
    count = 2 if binary else size
    if count is None:
        raise ModelError(f"{facts.source}: output '{scores.name}' does not say how many classes it has")
    classes = source.classes or tuple(f"class_{number}" for number in range(count))
    if len(classes) != count:
        raise ModelError(
            f"{facts.source}: output '{scores.name}' answers for {count} classes, 'model.classes' names {len(classes)}"
        )
    return Answers(scores, classes, binary, others)


def output_columns(facts: ModelFacts, source: ModelSource) -> tuple[Column, ...]:
    """Columns of the model's answers: ``probability`` and ``label`` of a classifier, then every further output."""
    found = answers(facts, source)
    columns = tuple(column for _, column in found.others)
    if found.scores is None:
        return columns
    probability = Column(
        "probability",
        "float32",
        "probability of each class, as the model answers",
        shape=(len(found.classes),),
        dimensions=("class",),
        attributes={"classes": list(found.classes)},
    )
    label = Column(
        "label",
        "uint8",
        "most probable class; 255: the signal has no answer",
        attributes={
            "flag_values": [*range(len(found.classes)), 255],
            "flag_meanings": " ".join([*(re.sub(r"\s+", "_", name) for name in found.classes), "no_answer"]),
        },
    )
    return (probability, label, *columns)


def _scores(facts: ModelFacts, source: ModelSource) -> TensorFacts | None:
    if source.classifier is False:
        return None
    if source.classifier is True:
        return next((tensor for tensor in facts.outputs if len(tensor.shape) == 2), None)
    known = {
        name: tensor for tensor in facts.outputs for name in (tensor.name, tensor.name.split(":")[0], tensor.label)
    }
    chosen = known.get(source.classifier)
    if chosen is None:
        names = [tensor.name for tensor in facts.outputs]
        raise ModelError(
            f"{facts.source}: 'model.classifier' names '{source.classifier}', which is no output"
            f"{nearest(source.classifier, names)}; outputs: {', '.join(names)}"
        )
    if len(chosen.shape) != 2:
        raise ModelError(
            f"{facts.source}: output '{chosen.name}' has shape {chosen.shape}; class scores have two dimensions"
        )
    return chosen


def _column(tensor: TensorFacts) -> Column:
    name = re.sub(r"\W", "_", tensor.label).lower()
    shape = tensor.shape[1:]
    if any(size is None for size in shape):
        raise ModelError(f"output '{tensor.name}' has shape {tensor.shape}: only the batch dimension may be open")
    return Column(
        name,
        tensor.dtype,
        f"output '{tensor.name}' of the model",
        shape=tuple(size for size in shape if size is not None),
        dimensions=tuple(f"{name}_{number}" for number in range(len(shape))),
    )
