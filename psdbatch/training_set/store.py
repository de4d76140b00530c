"""A training set on disk: a Zarr v3 store with one group per part, one sharded array per column.

A set is written aside and appears under its name complete, or not at all.  A part lies in globally shuffled order, so
whoever reads it from its start to its end reads it mixed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from psdbatch.errors import TrainingSetError
from psdbatch.training_set.facts import SetFacts
from psdbatch.wording import nearest

Array = NDArray[Any]

KIND = "psdbatch training set"
SET_VERSION = 1
METADATA = "zarr.json"


@dataclass(frozen=True)
class Part:
    """One part of a stored set: ``name`` (train, validation or test), ``size`` signals, ``chunk`` signals in a chunk.

    ``len(part)`` is its size.  Reading whole chunks, from a multiple of ``chunk`` on, decompresses nothing twice.
    """

    name: str
    size: int
    chunk: int
    _group: zarr.Group

    def __len__(self) -> int:
        return self.size

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns."""
        return tuple(sorted(self._group.array_keys()))

    def read(self, start: int, stop: int, names: Iterable[str] | None = None) -> dict[str, Array]:
        """Signals number ``start`` to ``stop`` of the part, in its shuffled order.

        Parameters
        ----------
        start, stop
            As in a slice of a list; what lies behind the end is left out.
        names
            Columns to read; default: all of :func:`psdbatch.training_set.columns.set_columns`.

        Returns
        -------
        dict
            Column name to array of first dimension ``stop - start``; ``samples`` is ``(stop - start, samples)``.

        Raises
        ------
        TrainingSetError
            A column is not there, or its bytes are damaged.
        """
        try:
            return {name: np.asarray(self._array(name)[start:stop]) for name in (names or self.names)}
        except (ValueError, RuntimeError, OSError) as error:
            if isinstance(error, TrainingSetError):
                raise
            raise TrainingSetError(
                f"{self._group.store_path}: part '{self.name}' cannot be read from signal {start:,} on: {error}; build the set again"
            ) from error

    def _array(self, name: str) -> Any:
        if name not in self._group:
            raise TrainingSetError(f"a training set has no column '{name}'{nearest(name, self.names)}")
        return self._group[name]


@dataclass(frozen=True)
class StoredSet:
    """A complete training set at ``path``; ``parts`` are the ones that have signals."""

    path: Path
    facts: SetFacts
    parts: Mapping[str, Part]
    shards: Mapping[str, Mapping[str, list[int]]]

    def part(self, name: str) -> Part:
        """The part ``train``, ``validation`` or ``test``.

        Raises
        ------
        TrainingSetError
            The set has none of that name.
        """
        if name not in self.parts:
            raise TrainingSetError(
                f"{self.path}: has no part '{name}'{nearest(name, self.parts)}; it has {', '.join(self.parts)} ([set.split] says which parts are made)"
            )
        return self.parts[name]

    def verify(self) -> None:
        """Read every byte again.

        Raises
        ------
        TrainingSetError
            The contents are not what the digest says.
        """
        digests = {
            part: {
                column: [_sha256(path) for path in shard_files(self.path, part, column, len(sizes))]
                for column, sizes in columns.items()
            }
            for part, columns in self.shards.items()
        }
        if set_digest(self.facts, digests) != self.facts.digest:
            raise TrainingSetError(f"{self.path}: the bytes are not the ones that were written; build the set again")


def open_set(path: Path) -> StoredSet:
    """Open the training set at ``path``; nothing but metadata is read.

    Raises
    ------
    TrainingSetError
        There is none, it is of another version, or files of it are missing or cut off.
    """
    try:
        attributes = json.loads((path / METADATA).read_bytes())["attributes"]
    except FileNotFoundError:
        raise TrainingSetError(
            f"{path}: there is no training set; 'psdbatch build-set training.toml' makes one"
        ) from None
    except (OSError, ValueError, KeyError) as error:
        raise TrainingSetError(f"{path}: the training set's metadata cannot be read: {error}") from error
    if attributes.get("kind") != KIND:
        raise TrainingSetError(f"{path}: is a Zarr store, but not a training set")
    if attributes["version"] != SET_VERSION:
        raise TrainingSetError(f"{path}: training set of another version of psdbatch; build it again")
    facts, shards = SetFacts.from_json(attributes["facts"]), attributes["shards"]
    _check_files(path, shards)
    root = zarr.open_group(path, mode="r")
    return StoredSet(path, facts, {name: _part(root, name) for name in shards}, shards)


def set_digest(facts: SetFacts, shards: Mapping[str, Mapping[str, list[str]]]) -> str:
    """Digest of a set, from what its values mean and the SHA-256 of each shard, ``{part: {column: [digest]}}``."""
    content = json.dumps([SET_VERSION, facts.meaning(), shards], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def shard_files(path: Path, part: str, column: str, count: int) -> list[Path]:
    """The ``count`` shards of a column in order."""
    trailing = ".0" if column == "samples" else ""
    return [path / part / column / f"c.{number}{trailing}" for number in range(count)]


def _part(root: zarr.Group, name: str) -> Part:
    group = cast(zarr.Group, root[name])
    label = cast("zarr.Array[Any]", group["label"])
    return Part(name, label.shape[0], label.chunks[0], group)


def _check_files(path: Path, shards: Mapping[str, Mapping[str, list[int]]]) -> None:
    """An absent shard would read as fill values."""
    for part, columns in shards.items():
        for column, sizes in columns.items():
            for file, size in zip(shard_files(path, part, column, len(sizes)), sizes, strict=True):
                found = file.stat().st_size if file.exists() else None
                if found != size:
                    what = "is missing" if found is None else f"has {found:,} bytes, had {size:,}"
                    raise TrainingSetError(
                        f"{file}: {what}; the training set is damaged: remove {path} and build it again"
                    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
