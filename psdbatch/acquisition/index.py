"""The index of an acquisition file: what one pass over its headers found, kept on disk and reused.

One small JSON file per acquisition file, named after a digest of path, format and options; an entry counts as long as
size and modification time of the acquisition file are the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from psdbatch.acquisition.bytesource import open_source
from psdbatch.acquisition.format import Damage, Scan, SignalReader
from psdbatch.acquisition.registry import format_named, recognise
from psdbatch.columns import Column
from psdbatch.errors import AcquisitionFileError, CampaignError

INDEX_VERSION = 1
"""Part of the cache key: raise it when a scan finds something new."""


@dataclass(frozen=True)
class FileIndex:
    """Index of one acquisition file.

    Attributes
    ----------
    path
        Absolute path.
    size, modified_ns
        Bytes on disk and modification time (ns since 1970); the total size of all its files for a directory.
    format, options
        How the file was read.
    compression, seekable
        Compression of the whole file, and whether reading may start in its middle.
    scan
        What the pass over the headers found.
    """

    path: str
    size: int
    modified_ns: int
    format: str
    options: Mapping[str, Any]
    compression: str
    seekable: bool
    scan: Scan

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary; :meth:`from_json` is its inverse."""
        record = asdict(self)
        record["scan"]["columns"] = [column.to_json() for column in self.scan.columns]
        return record

    def to_bytes(self) -> bytes:
        """The index as a file's content."""
        return json.dumps(self.to_json()).encode()

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> FileIndex:
        """Index from what :meth:`to_json` made."""
        scan = dict(record["scan"])
        scan["columns"] = tuple(Column.from_json(column) for column in scan["columns"])
        scan["cuts"] = tuple((signal, offset) for signal, offset in scan["cuts"])
        scan["damage"] = tuple(Damage(**damage) for damage in scan["damage"])
        return cls(**{**record, "scan": Scan(**scan)})

    def changed(self) -> str | None:
        """What is different about the file on disk now, or None."""
        try:
            size, modified_ns = _stat(Path(self.path))
        except OSError as error:
            return f"cannot be found any more ({error.strerror})"
        if size != self.size:
            return f"has {size:,} bytes, had {self.size:,}"
        if modified_ns != self.modified_ns:
            return "was modified (same size, other modification time)"
        return None


def index_file(
    path: Path, format_name: str = "auto", options: Mapping[str, Any] | None = None, cache: Path | None = None
) -> FileIndex:
    """Index ``path``, from the ``cache`` directory where it holds a valid entry.

    Raises
    ------
    AcquisitionFileError
        The file is empty, in no known format, or holds not one readable signal.
    """
    path = path.absolute()
    try:
        size, modified_ns = _stat(path)
        name = recognise(path) if format_name == "auto" else format_name
        entry = cache / f"{_key(path, name, options)}.json" if cache else None
        known = _load(entry) if entry else None
        if known and (known.size, known.modified_ns) == (size, modified_ns):
            return known
        kind = format_named(name, options)
        source = open_source(path)
        scan = kind.scan(source)
        if source.damage:
            broken = Damage(source.damage_offset, 0, scan.signals, 0, source.damage)
            scan = replace(scan, damage=(*scan.damage, broken))
    except OSError as error:
        raise AcquisitionFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    index = FileIndex(
        str(path), size, modified_ns, name, kind.options.model_dump(), source.compression, source.seekable, scan
    )
    if entry:
        with suppress(OSError):  # a cache that cannot be written stops nobody
            write_index(index, entry)
    return index


def open_signals(index: FileIndex, first: int = 0) -> SignalReader:
    """Open the indexed file so that signal number ``first`` is the next one.

    Raises
    ------
    OSError
        The file cannot be opened.
    """
    kind = format_named(index.format, index.options)
    return kind.reader(open_source(Path(index.path)), index.scan, first)


def default_cache() -> Path:
    """``PSDBATCH_CACHE``, else ``psdbatch`` in the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("PSDBATCH_CACHE") or Path(base) / "psdbatch")


def write_index(index: FileIndex, path: Path) -> None:
    """Write ``index`` to ``path``, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.partial")
    partial.write_bytes(index.to_bytes())
    partial.replace(path)


def read_index(path: Path) -> FileIndex:
    """Read an index that :func:`write_index` wrote.

    Raises
    ------
    CampaignError
        The index file is gone or damaged.
    """
    try:
        return FileIndex.from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CampaignError(f"{path}: the index cannot be read ({error})") from error


def _stat(path: Path) -> tuple[int, int]:
    status = path.stat()
    if not path.is_dir():
        return status.st_size, status.st_mtime_ns
    inside = [entry.stat() for entry in sorted(path.rglob("*")) if entry.is_file()]
    return sum(entry.st_size for entry in inside), max(
        (entry.st_mtime_ns for entry in inside), default=status.st_mtime_ns
    )


def _key(path: Path, name: str, options: Mapping[str, Any] | None) -> str:
    question = json.dumps([INDEX_VERSION, str(path), name, dict(options or {})], sort_keys=True)
    return hashlib.sha256(question.encode()).hexdigest()[:32]


def _load(entry: Path) -> FileIndex | None:
    try:
        return read_index(entry)
    except CampaignError:
        return None  # absent, torn or of another version: the file is indexed again
