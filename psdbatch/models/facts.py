"""What is known of a model without loading TensorFlow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from psdbatch.errors import ModelError
from psdbatch.models.card import ModelCard


@dataclass(frozen=True)
class TensorFacts:
    """A tensor at the model's edge.

    Attributes
    ----------
    name
        Name in the graph, for example ``"output_layer:0"``.
    dtype
        For example ``"float32"``.
    shape
        Batch dimension first; None where it is not fixed.
    operation
        The operation that makes the tensor, identities passed over: ``"Softmax"``.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    operation: str

    @property
    def label(self) -> str:
        """The last part of the name; with the number of the output where the operation has several: ``"moments_1"``."""
        node, _, number = self.name.partition(":")
        last = node.split("/")[-1]
        return last if number in ("", "0") else f"{last}_{number}"


@dataclass(frozen=True)
class ModelFacts:
    """A frozen model.

    Attributes
    ----------
    path, digest
        The frozen GraphDef, and the SHA-256 of its bytes.
    source, source_digest
        What the user named, a ``.pb``, SavedModel, ``.keras`` or ``.h5``, and the SHA-256 of its bytes.
    input, outputs
        The tensors that a batch goes into and comes out of.
    operations
        Number of graph nodes by operation.
    parameters
        Numbers in the graph's floating-point constants.
    card
        What the graph says of itself; None where nobody has written a card into it.
    """

    path: str
    digest: str
    source: str
    source_digest: str
    input: TensorFacts
    outputs: tuple[TensorFacts, ...]
    operations: Mapping[str, int]
    parameters: int
    card: ModelCard | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary; :meth:`from_json` is its inverse."""
        return {**asdict(replace(self, card=None)), "card": self.card and self.card.to_json()}

    def to_bytes(self) -> bytes:
        """The content of ``model.json``."""
        return json.dumps(self.to_json(), indent=1).encode()

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ModelFacts:
        """Facts from what :meth:`to_json` made."""

        def tensor(entry: Mapping[str, Any]) -> TensorFacts:
            return TensorFacts(**{**entry, "shape": tuple(entry["shape"])})

        card = record.get("card")  # older files have none
        return cls(
            **{
                **record,
                "input": tensor(record["input"]),
                "outputs": tuple(tensor(entry) for entry in record["outputs"]),
                "card": card and ModelCard.from_json(card),
            }
        )

    @classmethod
    def read(cls, path: Path) -> ModelFacts:
        """Read ``model.json``; the frozen graph is the ``model.pb`` beside it.

        Raises
        ------
        ModelError
            The file is missing or damaged.
        """
        try:
            record = json.loads(path.read_bytes())
            return cls.from_json({**record, "path": str(path.with_name("model.pb"))})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ModelError(f"{path}: the model's facts cannot be read ({error})") from error

    def write(self, path: Path) -> None:
        """Write ``model.json``."""
        path.write_bytes(self.to_bytes())


def source_digest(source: Path) -> str:
    """SHA-256 of a file, or of the names and bytes of all files of a directory."""
    digest = hashlib.sha256()
    for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
        if file.is_file():
            if source.is_dir():
                digest.update(f"{file.relative_to(source)}\0{file.stat().st_size}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()
