"""The model card: what a frozen graph says of itself, a constant string in the graph.

It travels with the file, costs nothing when the graph runs, and every TensorFlow carries it along.  Reading it from a
GraphDef needs no TensorFlow: the GraphDef's own accessors are enough.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from psdbatch.config import Preparation, SignalShape, validated
from psdbatch.errors import ModelError

NODE = "psdbatch_card"
"""Name of the node that holds the card."""

VERSION = 1
"""Raised when a card means something else than before; unknown further entries are ignored."""


@dataclass(frozen=True)
class ModelCard:
    """What a frozen graph takes, does and comes from.

    Attributes
    ----------
    classes
        Class names in the order of the scores; none for a model that does not classify.
    task
        What the network was trained for: ``"classifier"``, ``"autoencoder"``, ...
    complete
        Whether the preparation is part of the graph: raw ADC samples in.  Else prepared windows go in.
    samples, sample_dtype
        What the graph's input takes: raw samples of a complete graph, the samples of a window of a bare one.
    signals
        The digitiser of the signals that the network was trained with.
    preparation
        From raw samples to the network's input, inside or, for a bare graph, before it; ``length`` is always given.
    outputs
        Names of the output tensors' nodes, those of the Keras layers.
    training
        Provenance: digest of the training set, configuration, seed, epochs, validation loss, software; anything JSON holds.
    weights_digest
        SHA-256 of the network's weights, the same with and without preparation; "" where the source does not tell.
    """

    classes: tuple[str, ...]
    task: str
    complete: bool
    samples: int
    sample_dtype: str
    signals: SignalShape
    preparation: Preparation
    outputs: tuple[str, ...]
    training: Mapping[str, Any] = field(default_factory=dict)
    weights_digest: str = ""

    @property
    def window(self) -> int:
        """Samples that the network itself sees."""
        return self.preparation.length or self.samples

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary; :meth:`from_json` is its inverse."""
        record = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {
            "version": VERSION,
            **record,
            "classes": list(self.classes),
            "outputs": list(self.outputs),
            "signals": self.signals.model_dump(mode="json"),
            "preparation": self.preparation.model_dump(mode="json"),
            "training": dict(self.training),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ModelCard:
        """Card from what :meth:`to_json` made.

        Raises
        ------
        ValueError, TypeError, KeyError
            Something is missing, of the wrong kind, or of a later version.
        """
        if record["version"] > VERSION:
            raise ValueError(f"version {record['version']}, this psdbatch knows up to {VERSION}")
        known = {entry.name: record[entry.name] for entry in fields(cls) if entry.name in record}
        return cls(
            **{
                **known,
                "classes": tuple(record["classes"]),
                "outputs": tuple(record["outputs"]),
                "signals": validated(SignalShape, record["signals"], "signals"),
                "preparation": validated(Preparation, record["preparation"], "preparation"),
            }
        )

    def to_bytes(self) -> bytes:
        """The card as the graph holds it; the same card gives the same bytes."""
        return json.dumps(self.to_json(), sort_keys=True).encode()


def card_of(graph: Any, path: object = "the graph") -> ModelCard | None:
    """The card in a GraphDef; None if it has none, as all graphs that psdbatch did not freeze.

    Parameters
    ----------
    graph
        GraphDef.
    path
        File that it came from, for the message.

    Raises
    ------
    ModelError
        There is a card, but it cannot be read.
    """
    node = next((node for node in graph.node if node.name == NODE), None)
    if node is None:
        return None
    try:
        return ModelCard.from_json(json.loads(node.attr["value"].tensor.string_val[0]))
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ModelError(
            f"{path}: its card (node '{NODE}') cannot be read: {error}; was it frozen by a later psdbatch?"
        ) from error


def add_card(graph: Any, card: ModelCard) -> None:
    """Put the card into a GraphDef, in place of one it may have."""
    for number in reversed(range(len(graph.node))):
        if graph.node[number].name == NODE:
            del graph.node[number]
    node = graph.node.add(name=NODE, op="Const")
    string = 7  # DT_STRING, a number that TensorFlow's formats have kept since the first
    node.attr["dtype"].type = string
    tensor = node.attr["value"].tensor
    tensor.dtype = string
    tensor.tensor_shape.SetInParent()  # a scalar
    tensor.string_val.append(card.to_bytes())
