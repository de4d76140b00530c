"""Writing a training set: staged aside, complete when it appears under its name."""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from psdbatch.campaign import files
from psdbatch.errors import StorageError, TrainingSetError
from psdbatch.results.shards import encode_shard
from psdbatch.results.store import Layout, consolidate, create_run, create_store, read_metadata, shard_file
from psdbatch.training_set.columns import set_columns
from psdbatch.training_set.facts import LAYOUT, PARTS, SetFacts
from psdbatch.training_set.store import KIND, SET_VERSION, StoredSet, open_set, set_digest

Array = NDArray[Any]


class Staging:
    """A directory beside ``path`` for what is not finished; gone at the end, whatever happens.

    It holds a lock while its process lives, so that the next one can tell what was left by one that was killed.
    """

    def __init__(self, path: Path) -> None:
        self.target = path
        self.path = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")

    def __enter__(self) -> Self:
        try:
            new = self.path.with_suffix(".new")  # another process looks at it only when it is locked
            files.make_directory(new)
            self._lock = os.open(new / "lock", os.O_RDWR | os.O_CREAT, 0o644)
            with suppress(OSError):  # a file system without locks
                fcntl.flock(self._lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            files.rename(new, self.path)
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be made: {error.strerror}") from error
        for left in self.target.parent.glob(f".{self.target.name}.{'?' * 32}.partial"):
            if left != self.path and _abandoned(left):
                shutil.rmtree(left, ignore_errors=True)
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._lock)
        shutil.rmtree(self.path, ignore_errors=True)


def _abandoned(staging: Path) -> bool:
    try:
        descriptor = os.open(staging / "lock", os.O_RDWR)
    except OSError:
        return False  # being made or removed at this moment
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


class SetWriter:
    """Writes the parts of a set, each in the order in which its signals are given.

    Parameters
    ----------
    path
        Where the complete set appears; nothing may be there.
    facts
        ``counts`` and ``digest`` are found out while writing.
    sizes
        Signals of each part; a part of 0 signals is not made.
    layout
        Signals in a chunk and in a shard.

    Examples
    --------
    >>> with SetWriter(path, facts, {"train": 900, "test": 100}) as writer:      # doctest: +SKIP
    ...     writer.append("train", columns)       # as often as wanted, 900 signals altogether
    ...     writer.append("test", others)
    """

    def __init__(self, path: Path, facts: SetFacts, sizes: Mapping[str, int], layout: Layout = LAYOUT) -> None:
        unknown = [name for name in sizes if name not in PARTS]
        if unknown:
            raise TrainingSetError(f"a set has the parts {', '.join(PARTS)}, not '{unknown[0]}'")
        self._path, self._facts, self._layout = path, facts, layout
        self._sizes = {name: sizes[name] for name in PARTS if sizes.get(name)}
        self._columns = set_columns(facts.samples, facts.sample_dtype)
        self._staging = Staging(path)

    def __enter__(self) -> Self:
        if self._path.exists():
            raise TrainingSetError(f"{self._path}: is there already; remove it, or give another 'path' in [set]")
        self._staging.__enter__()
        try:
            self._store = self._staging.path / "store"
            create_store(self._store, {})
            for part, size in self._sizes.items():
                create_run(self._store, part, size, self._columns, self._layout, {})
        except OSError as error:
            self._staging.__exit__()
            raise _storage_error(self._path, error) from error
        self._buffers: dict[str, dict[str, Array]] = {}
        self._filled = dict.fromkeys(self._sizes, 0)
        self._classes = {part: np.zeros(256, np.int64) for part in self._sizes}
        names = [column.name for column in self._columns]
        self._digests: dict[str, dict[str, list[str]]] = {p: {n: [] for n in names} for p in self._sizes}
        self._bytes: dict[str, dict[str, list[int]]] = {p: {n: [] for n in names} for p in self._sizes}
        return self

    @property
    def scratch(self) -> Path:
        """A directory beside the set for temporary files; removed at the end."""
        return self._staging.path

    def append(self, part: str, columns: Mapping[str, Array]) -> None:
        """Append signals to ``part``: all columns of the set, each of the same first dimension.

        Raises
        ------
        TrainingSetError
            More signals than announced, or labels that are no class.
        StorageError
            The file system refuses.
        """
        label = np.asarray(columns["label"])
        count, size = len(label), self._sizes.get(part, 0)
        if self._filled.get(part, 0) + count > size:
            raise TrainingSetError(f"part '{part}' was announced with {size:,} signals and gets more")
        if count and int(label.max()) >= len(self._facts.classes):
            raise TrainingSetError(f"label {int(label.max())} is none of the {len(self._facts.classes)} classes")
        if not count:
            return
        self._classes[part] += np.bincount(label, minlength=256)
        done = 0
        while done < count:
            at = self._filled[part] % self._layout.block
            step = min(self._layout.block - at, count - done)
            buffer = self._buffer(part)
            for column in self._columns:
                buffer[column.name][at : at + step] = columns[column.name][done : done + step]
            done += step
            self._filled[part] += step
            if at + step == self._layout.block or self._filled[part] == size:
                self._write_shard(part, at + step)

    def finish(self) -> StoredSet:
        """Give the set its name.  Called at the end of the ``with`` block; earlier by hand to read it at once."""
        for part, size in self._sizes.items():
            if self._filled[part] != size:
                raise TrainingSetError(
                    f"part '{part}' was announced with {size:,} signals and got {self._filled[part]:,}"
                )
        counts = {
            part: {name: int(found[number]) for number, name in enumerate(self._facts.classes)}
            for part, found in self._classes.items()
        }
        facts = replace(self._facts, counts=counts, digest=set_digest(self._facts, self._digests))
        try:
            attributes = {"kind": KIND, "version": SET_VERSION, "facts": facts.to_json(), "shards": self._bytes}
            create_store(self._store, attributes)
            consolidate(self._store, read_metadata(self._store))
            for folder in (*self._store.glob("*/*/"), *self._store.glob("*/"), self._store):
                files.sync_directory(folder)
            if self._path.exists():
                raise TrainingSetError(f"{self._path}: another process has made it meanwhile")
            files.rename(self._store, self._path)
            files.sync_directory(self._path.parent)
        except OSError as error:
            raise _storage_error(self._path, error) from error
        return open_set(self._path)

    def __exit__(self, kind: object, *exc: object) -> None:
        try:
            if kind is None and self._store.exists():
                self.finish()
        finally:
            self._staging.__exit__()

    def _buffer(self, part: str) -> dict[str, Array]:
        if part not in self._buffers:
            rows = min(self._layout.block, self._sizes[part])
            self._buffers[part] = {column.name: column.empty(rows) for column in self._columns}
        return self._buffers[part]

    def _write_shard(self, part: str, rows: int) -> None:
        number = (self._filled[part] - 1) // self._layout.block
        for column in self._columns:
            shard = encode_shard(
                self._buffers[part][column.name][:rows],
                chunk=self._layout.chunk,
                shard=self._layout.block,
                level=self._layout.level,
                fill_value=column.fill_value(),
            )
            try:
                files.write_durably(self._store / part / shard_file(column, number), shard.parts)
            except OSError as error:
                raise _storage_error(self._path, error) from error
            self._digests[part][column.name].append(shard.sha256)
            self._bytes[part][column.name].append(shard.bytes)
        if self._filled[part] == self._sizes[part]:
            del self._buffers[part]


def _storage_error(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path}: the training set cannot be written: {error.strerror or error}")


def write_set(
    path: Path, facts: SetFacts, parts: Mapping[str, Mapping[str, Array]], layout: Layout = LAYOUT
) -> StoredSet:
    """Write a set whose parts are in memory; columns that are not given get their fill value."""
    sizes = {part: len(columns["label"]) for part, columns in parts.items()}
    with SetWriter(path, facts, sizes, layout) as writer:
        for part, columns in parts.items():
            absent = [column for column in set_columns(facts.samples, facts.sample_dtype) if column.name not in columns]
            filled = {column.name: np.full(sizes[part], column.fill_value(), column.dtype) for column in absent}
            if sizes[part]:
                writer.append(part, {**columns, **filled})
    return open_set(path)
