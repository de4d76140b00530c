"""From one acquisition format into another, losing nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from psdbatch.acquisition.format import Damage, WriterSettings
from psdbatch.acquisition.index import FileIndex, index_file, open_signals
from psdbatch.acquisition.registry import format_named
from psdbatch.acquisition.signals import Signals
from psdbatch.columns import Flag
from psdbatch.errors import AcquisitionFileError, ConfigurationError

ENDINGS = {".psdz": "packets", ".npz": "numpy", ".zarr": "zarr", ".mfm": "mfm", ".bin": "compass"}
"""Formats by the ending of a file's name."""

BATCH_BYTES = 1 << 23
"""Samples in memory at a time."""


@dataclass(frozen=True)
class ConversionSummary:
    """What became of the signals of a file: ``signals == written + omitted``, always.

    Attributes
    ----------
    signals
        Signals with a place in the source, damaged ones included.
    written
        Signals in the target.
    damaged
        Damaged signals: kept in the target with zero samples and the flag ``DAMAGED``, or omitted.
    omitted
        Damaged signals that are not in the target, by the caller's wish.
    damage
        Damaged regions of the source, found when it was indexed and when it was read.
    """

    source: Path
    target: Path
    signals: int
    written: int
    damaged: int
    omitted: int
    damage: tuple[Damage, ...]


def convert(
    source: Path,
    target: Path,
    format_name: str | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    source_format: str = "auto",
    source_options: Mapping[str, Any] | None = None,
    damaged: Literal["keep", "omit"] = "keep",
    overwrite: bool = False,
) -> ConversionSummary:
    """Write all signals of ``source`` to ``target`` in another format, with every column.

    A damaged signal keeps its place and its flag, so that signal numbers are the same in both files; a format that
    cannot say "damaged" gets no such signal unseen: the conversion stops, and the caller may ask for ``"omit"``.
    ``target`` appears when it is complete.  Without ``format_name`` its ending decides (:data:`ENDINGS`); of any other
    ending it holds packets.

    Raises
    ------
    AcquisitionFileError
        The source cannot be read, or has damaged signals which the target's format cannot mark.
    ConfigurationError
        The target exists, or its format cannot be written with these options.
    OSError
        The file system failed.
    """
    index = index_file(source, source_format, source_options)
    if target.exists() and not overwrite:
        raise ConfigurationError(f"{target}: exists already; choose another name or allow overwriting")
    with _appearing(target) as partial:
        chosen = format_name or ENDINGS.get(target.suffix.lower(), "packets")
        return _stream(index, target, partial, chosen, options or {}, damaged)


def _stream(
    index: FileIndex, target: Path, partial: Path, name: str, options: Mapping[str, Any], damaged: str
) -> ConversionSummary:
    scan = index.scan
    kind = type(format_named(name))
    settings = WriterSettings(
        scan.longest, scan.sample_dtype, scan.timestamp_unit, scan.sampling_period_ns, scan.columns, options
    )
    rows = max(1, BATCH_BYTES // (scan.longest * np.dtype(scan.sample_dtype).itemsize))
    batch = Signals.allocate(min(rows, scan.signals), scan.longest, scan.sample_dtype, scan.columns)
    read = bad = omitted = 0
    with open_signals(index) as reader, kind.writer(partial, settings) as writer:
        while count := reader.read(batch):
            part = batch[:count]
            broken = (part.flags & Flag.DAMAGED) != 0
            bad += int(broken.sum())
            if broken.any() and damaged == "omit":
                omitted += int(broken.sum())
                part = part.take(~broken)
            elif broken.any() and not kind.stores_flags:
                raise AcquisitionFileError(
                    f"{index.path}: signal {read + int(broken.argmax()):,} is damaged, which format '{name}' cannot say; leave damaged signals out (damaged = omit) or convert to packets"
                )
            writer.write(part)
            read += count
        known = set(scan.damage)
        found = tuple(entry for entry in reader.damage if entry not in known)
    if read != scan.signals:
        raise AcquisitionFileError(f"{index.path}: gave {read:,} signals, its index says {scan.signals:,}; it changed")
    return ConversionSummary(Path(index.path), target, read, read - omitted, bad, omitted, scan.damage + found)


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A path beside ``target`` that takes its place when all went well, and vanishes otherwise."""
    partial = target.with_name(f"partial-{target.name}")
    _remove(partial)
    try:
        yield partial
        if target.is_dir():
            _remove(target)  # a directory cannot be replaced in one step
        partial.replace(target)
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
