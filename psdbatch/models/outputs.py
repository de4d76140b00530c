"""Which columns a model's outputs become."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from psdbatch.columns import IDENTITY, NO_LABEL, SHAPE, Column
from psdbatch.config import ModelSource
from psdbatch.errors import ModelError
from psdbatch.models.facts import ModelFacts, TensorFacts
from psdbatch.wording import nearest

_TAKEN = {column.name for column in (*IDENTITY, *SHAPE)} | {"probability", "label", "flags", "signal", "class"}

_STORED = {
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "complex64", "complex128",
}  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """How outputs are read: the class scores, if any, their classes, and all other outputs.

    ``binary`` tells that one number stands for two classes, the probability of the second.
    """

    scores: TensorFacts | None
    classes: tuple[str, ...]
    binary: bool
    others: tuple[tuple[TensorFacts, Column], ...]


def answers(facts: ModelFacts, source: ModelSource, reserved: Collection[str] = ()) -> Answers:
    """Find the class scores among the outputs and name everything, with none of the ``reserved`` names.

    Raises
    ------
    ModelError
        The classifier named does not exist or has no class dimension, or the class names do not fit.
    """
    scores = _scores(facts, source)
    others = _columns([tensor for tensor in facts.outputs if tensor is not scores], facts.source, reserved)
    if scores is None:
        if source.classes:
            raise ModelError(
                f"{facts.source}: 'model.classes' names classes, but no output of rank 2 holds their scores"
            )
        return Answers(None, (), False, others)
    size = scores.shape[1]
    if size is None:
        raise ModelError(f"{facts.source}: output '{scores.name}' does not say how many classes it has")
    return Answers(scores, _classes(facts, source, scores, 2 if size == 1 else size), size == 1, others)


def output_columns(facts: ModelFacts, source: ModelSource, reserved: Collection[str] = ()) -> tuple[Column, ...]:
    """Columns of the model's answers: ``probability`` and ``label`` of a classifier, then every further output.

    Raises
    ------
    ModelError
        As :func:`answers`.
    """
    found = answers(facts, source, reserved)
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
        f"most probable class; {NO_LABEL}: the signal has no answer",
        attributes={
            "flag_values": [*range(len(found.classes)), NO_LABEL],
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


def _classes(facts: ModelFacts, source: ModelSource, scores: TensorFacts, count: int) -> tuple[str, ...]:
    if count > NO_LABEL:
        raise ModelError(
            f"{facts.source}: output '{scores.name}' has {count} numbers per signal, more than the {NO_LABEL} classes that a label "
            "can name; if it does not classify, set 'classifier' in [model] to false or to another output"
        )
    classes = source.classes or tuple(f"class_{number}" for number in range(count))
    if len(classes) != count:
        raise ModelError(
            f"{facts.source}: output '{scores.name}' answers for {count} classes, 'model.classes' names {len(classes)}"
        )
    if len({*classes}) < count:
        raise ModelError(f"{facts.source}: 'model.classes' names a class twice: {', '.join(classes)}")
    return classes


def _columns(
    tensors: list[TensorFacts], source: str, reserved: Collection[str]
) -> tuple[tuple[TensorFacts, Column], ...]:
    """One column per output, its name taken from the tensor's, never that of another column."""
    used, columns = {*_TAKEN, *reserved}, []
    for tensor in tensors:
        plain = re.sub(r"\W+", "_", tensor.label).strip("_").lower() or "output"
        candidates = (plain, f"model_{plain}", *(f"model_{plain}_{number}" for number in range(2, len(tensors) + 3)))
        name = next(candidate for candidate in candidates if candidate not in used)
        used.add(name)
        columns.append((tensor, _column(tensor, name, source)))
    return tuple(columns)


def _column(tensor: TensorFacts, name: str, source: str) -> Column:
    shape = tuple(size for size in tensor.shape[1:] if size is not None)
    if len(shape) < len(tensor.shape) - 1:
        raise ModelError(
            f"{source}: output '{tensor.name}' has shape {tensor.shape}: only the batch dimension may be open"
        )
    dtype = "float32" if tensor.dtype == "bfloat16" else tensor.dtype
    if dtype not in _STORED:
        raise ModelError(f"{source}: output '{tensor.name}' is of type {tensor.dtype}, which cannot be stored")
    dimensions = tuple(f"{name}_{number}" for number in range(len(shape)))
    return Column(name, dtype, f"output '{tensor.name}' of the model", shape=shape, dimensions=dimensions)
