"""Lines of numbers: found in a stream of bytes, turned into rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.acquisition.bytesource import ByteStream

Array = NDArray[Any]

READ = 1 << 22
"""Bytes read at a time."""

LONGEST_LINE = 1 << 24
"""A line longer than this is none."""


@dataclass(frozen=True)
class Line:
    """One line that is not empty: its bytes without the end, and where in the file it begins."""

    content: bytes
    offset: int


def lines(stream: ByteStream, offset: int) -> Iterator[list[Line]]:
    """All lines of ``stream``, which stands at byte ``offset``, some hundred at a time; the last one may lack its end.

    Empty lines are passed over.  Line ends of Unix and Windows.
    """
    rest = b""
    while True:
        piece = stream.read(READ)
        text = rest + piece
        end = text.rfind(b"\n") + 1 if piece else len(text)
        if piece and not end and len(text) > LONGEST_LINE:
            yield [Line(text, offset)]  # no text; parsing it fails and says so
            return
        found = []
        for content in text[:end].splitlines(keepends=True):
            if content.strip():
                found.append(Line(content.rstrip(b"\r\n"), offset))
            offset += len(content)
        rest = text[end:]
        if found:
            yield found
        if not piece:
            return


def delimiter_of(line: bytes) -> str | None:
    """What stands between the numbers of a line: ``","``, ``";"`` or a tabulator; None for blanks of any number."""
    counts = {mark: line.count(mark.encode()) for mark in (",", ";", "\t")}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else None


def fields(line: bytes, delimiter: str | None) -> list[str]:
    """Fields of a line, quotes and blanks around them removed."""
    return [field.strip().strip("\"'").strip() for field in line.decode("utf-8", "replace").split(delimiter)]


def is_header(line: bytes, delimiter: str | None) -> bool:
    """Whether a line holds names: at least one field is no number."""
    return not all(_number(field) for field in fields(line, delimiter))


def rows(chosen: list[Line], delimiter: str | None, columns: int) -> tuple[Array, Array]:
    """Numbers of lines.

    Returns
    -------
    values
        float64 ``(n, columns)``; 0 in lines that are not good.
    good
        bool ``(n,)``: the line holds ``columns`` finite numbers.
    """
    try:
        values = np.loadtxt([line.content for line in chosen], delimiter=delimiter, comments=None, ndmin=2)
        if values.shape != (len(chosen), columns):
            raise ValueError(f"{values.shape[1]} numbers in a line")
    except (ValueError, UnicodeDecodeError):  # one of them is bad: look at each
        values = np.full((len(chosen), columns), np.nan)
        for number, line in enumerate(chosen):
            found = fields(line.content, delimiter)
            if len(found) == columns and all(map(_number, found)):
                values[number] = [float(field) for field in found]
    good = np.asarray(np.isfinite(values).all(axis=1))
    values[~good] = 0
    return values, good


def _number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
