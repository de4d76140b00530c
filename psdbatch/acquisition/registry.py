"""Which format reads a file: by name, or by looking at its first bytes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from psdbatch.acquisition.bytesource import ByteSource, open_source
from psdbatch.acquisition.format import AcquisitionFormat
from psdbatch.config import validated
from psdbatch.errors import AcquisitionFileError, ConfigurationError, UnknownFormatError
from psdbatch.wording import nearest

logger = logging.getLogger(__name__)

HEAD_BYTES = 65536
"""How much of a file a format may look at to recognise it."""


@cache
def formats() -> dict[str, type[AcquisitionFormat]]:
    """All registered formats by name, those of other packages included; one that cannot be imported is left out."""
    found = {}
    for entry in entry_points(group="psdbatch.formats"):
        try:
            found[entry.name] = entry.load()
        except Exception as error:  # a laboratory's own format may fail in any way; it must not take the others along
            logger.warning("format '%s' (%s) cannot be loaded: %s", entry.name, entry.value, error)
    return found


def format_named(name: str, options: Mapping[str, Any] | None = None) -> AcquisitionFormat:
    """Format ``name`` with checked ``options``.

    Raises
    ------
    ConfigurationError
        No such format, or an option it does not know.
    """
    try:
        kind = formats()[name]
    except KeyError:
        raise ConfigurationError(
            f"there is no format '{name}'{nearest(name, formats())}; known: {', '.join(sorted(formats()))}"
        ) from None
    return kind(validated(kind.Options, dict(options or {}), f"options of format '{name}'"))


def recognise(path: Path) -> str:
    """Name of the format that recognises the file by its content.

    Raises
    ------
    UnknownFormatError
        None does, or the file is empty.
    OSError
        The file cannot be read.
    """
    head = b"" if path.is_dir() else _head(open_source(path))
    if not head and not path.is_dir():
        raise UnknownFormatError(f"{path}: the file is empty; remove it from the input, or restore it from the archive")
    found = [name for name, kind in formats().items() if kind.recognises(head, path)]
    if len(found) != 1:
        what = f"more than one format ({', '.join(found)}) recognises" if found else "no known format recognises"
        raise UnknownFormatError(
            f"{path}: {what} its first bytes ({head[:12].hex(' ')}); name one with 'format = ...' in [input], known: {', '.join(sorted(formats()))}"
        )
    return found[0]


def _head(source: ByteSource) -> bytes:
    try:
        with source.open() as stream:
            return stream.read(HEAD_BYTES)
    except (EOFError, ValueError) as error:
        raise AcquisitionFileError(f"{source.path}: cannot be decompressed from its start: {error}") from error
