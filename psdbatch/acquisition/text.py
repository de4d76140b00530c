"""Signals in text files, one per line: comma-separated tables and matrices of numbers, as published data sets have them.

Text is slow to read and large: convert such files once, ``psdbatch convert FILE.csv FILE.npz --format numpy``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from psdbatch.acquisition.array_columns import NUMBERED, OWN_DTYPES, assign, fill_absent
from psdbatch.acquisition.bytesource import ByteSource
from psdbatch.acquisition.format import AcquisitionFormat, Damage, FormatOptions, Scan, SignalReader
from psdbatch.acquisition.signals import Signals
from psdbatch.acquisition.text_lines import Line, delimiter_of, fields, is_header, lines, rows
from psdbatch.columns import Column, Flag, scalar
from psdbatch.errors import AcquisitionFileError
from psdbatch.units import Nanoseconds

Array = NDArray[Any]

FEWEST = 16
"""A line of fewer numbers is not taken for a signal when a file is to be recognised."""

CUT_EVERY = 4096
"""Signals between two places at which reading may start."""


class TextOptions(FormatOptions):
    """Options of format ``text``."""

    samples: int | None = Field(
        None, gt=0, description="numbers of a line that are samples, counted from 'first'; default: all"
    )
    first: int = Field(0, ge=0, description="numbers of a line before the first sample")
    columns: tuple[str, ...] | None = Field(
        None, description="names of the other numbers, in their order; default: those of the header line"
    )
    scale: float = Field(
        1.0, gt=0, description="samples are multiplied by this: with 'dtype' an integer, volts become ADC units"
    )
    dtype: Literal["auto", "int16", "uint16", "int32", "float32"] = Field(
        "auto",
        description="of the samples, rounded to it; 'auto': int16, uint16 or int32 if all are whole, else float32",
    )
    sampling_period: Nanoseconds | None = Field(None, description="time between two samples, for example '2 ns'")


@dataclass(frozen=True)
class Layout:
    """How the lines of a file are read: ``width`` numbers each, samples at ``samples``, others by name and place."""

    delimiter: str | None
    offset: int
    width: int
    samples: slice
    others: dict[str, int]


class Text(AcquisitionFormat):
    """Text files with one signal per line; a header line with names may come first.  May be compressed."""

    name: ClassVar[str] = "text"
    Options: ClassVar[type[FormatOptions]] = TextOptions

    @classmethod
    def recognises(cls, head: bytes, path: Path) -> bool:
        if path.is_dir() or not head or not _is_text(head):
            return False
        found = head.split(b"\n", 3)[:2]
        if not found[-1].strip():
            found = found[:1]
        data = found[-1].rstrip(b"\r")
        delimiter = delimiter_of(data)
        whole = b"\n" in head or len(head) < 65_536
        numbers = fields(data, delimiter) if whole else fields(data, delimiter)[:-1]  # the last one may be cut
        return len(numbers) >= FEWEST and not is_header((delimiter or " ").join(numbers).encode(), delimiter)

    def scan(self, source: ByteSource) -> Scan:
        """Every line, so that all of them are known to be signals, and what kind of numbers they hold."""
        layout = self._layout(source)
        signals, damage, cuts = 0, [], [(0, layout.offset)]
        kind = _Kind(self.options)
        for chosen in self._lines(source, layout.offset):
            values, good = rows(chosen, layout.delimiter, layout.width)
            kind.look_at(values[good][:, layout.samples])
            for number in np.flatnonzero(~good):
                line, place = chosen[number], signals + int(number)
                reason = f"line is not {layout.width} numbers"
                damage.append(Damage(line.offset, len(line.content), place, 1, reason))
            if signals >= cuts[-1][0] + CUT_EVERY:
                cuts.append((signals, chosen[0].offset))
            signals += len(chosen)
        if signals == len(damage):
            raise AcquisitionFileError(
                f"{source.path}: none of its {signals:,} lines holds {layout.width} numbers; see the options of format 'text'"
            )
        count = layout.samples.stop - layout.samples.start
        columns = tuple(_column(name) for name in layout.others if name not in OWN_DTYPES)
        unit = "unknown" if "timestamp" in layout.others else NUMBERED
        period = self.options.sampling_period
        return Scan(signals, kind.dtype(source.path), count, count, unit, period, columns, tuple(cuts), tuple(damage))

    def reader(self, source: ByteSource, scan: Scan, first: int = 0) -> SignalReader:
        layout = self._layout(source)
        signal, offset = max((cut for cut in scan.cuts if cut[0] <= first), default=(0, layout.offset))
        reader = TextReader(self._lines(source, offset), layout, scan, signal, self.options.scale)
        reader.skip(first - signal)
        return reader

    def _lines(self, source: ByteSource, offset: int) -> Iterator[list[Line]]:
        with source.open(offset) as stream:
            yield from lines(stream, offset)

    def _layout(self, source: ByteSource) -> Layout:
        begin = next(self._lines(source, 0), [])
        if not begin:
            raise AcquisitionFileError(f"{source.path}: holds no line")
        delimiter = delimiter_of(begin[-1].content)
        names, data = None, begin[0]
        if is_header(data.content, delimiter):
            if len(begin) == 1:
                raise AcquisitionFileError(f"{source.path}: holds a header line and no signal")
            names, data = fields(data.content, delimiter), begin[1]
        width = len(fields(data.content, delimiter))
        first, count = self.options.first, self.options.samples or width - self.options.first
        if count < 1 or first + count > width:
            raise AcquisitionFileError(
                f"{source.path}: its lines have {width} numbers, too few for {count} samples from number {first} on; see the options 'samples' and 'first'"
            )
        places = [place for place in range(width) if not first <= place < first + count]
        return Layout(delimiter, data.offset, width, slice(first, first + count), self._others(source, names, places))

    def _others(self, source: ByteSource, names: list[str] | None, places: list[int]) -> dict[str, int]:
        given = self.options.columns
        if given is not None and len(given) != len(places):
            raise AcquisitionFileError(
                f"{source.path}: its lines have {len(places)} numbers besides the samples, the option 'columns' names {len(given)}"
            )
        found: dict[str, int] = {}
        for number, place in enumerate(places):
            name = given[number] if given else names[place] if names and place < len(names) else ""
            plain = re.sub(r"\W+", "_", name).strip("_").lower() or f"column_{place}"
            found[plain if plain not in found and plain != "samples" else f"column_{place}"] = place
        return found


class TextReader(SignalReader):
    """Reads lines in order."""

    def __init__(self, pieces: Iterator[list[Line]], layout: Layout, scan: Scan, position: int, scale: float) -> None:
        super().__init__(position)
        self._pieces, self._layout, self._scan, self._scale = pieces, layout, scan, scale
        self._waiting: list[Line] = []

    def read(self, out: Signals) -> int:
        count = min(len(out), self._scan.signals - self.position)
        done = 0
        while done < count:
            chosen = self._next(count - done)
            self._fill(chosen, out[done : done + len(chosen)])
            done += len(chosen)
            self.position += len(chosen)
        return count

    def skip(self, count: int) -> None:
        """Pass over ``count`` signals, whose lines are read but not understood."""
        left = min(count, self._scan.signals - self.position)
        while left:
            chosen = self._next(left)
            left -= len(chosen)
            self.position += len(chosen)

    def close(self) -> None:
        self._pieces = iter(())

    def _next(self, count: int) -> list[Line]:
        if not self._waiting:
            self._waiting = next(self._pieces, [])
        if not self._waiting:
            raise AcquisitionFileError(
                f"the text file ends before signal {self.position:,} of {self._scan.signals:,}; it changed: run 'psdbatch index' again"
            )
        chosen, self._waiting = self._waiting[:count], self._waiting[count:]
        return chosen

    def _fill(self, chosen: list[Line], out: Signals) -> None:
        values, good = rows(chosen, self._layout.delimiter, self._layout.width)
        fill_absent(out, set(self._layout.others), self.position)
        out.length[:] = self._scan.longest
        samples = values[:, self._layout.samples] * self._scale
        kind = np.dtype(self._scan.sample_dtype)
        if kind.kind in "iu":
            samples = np.clip(np.rint(samples), np.iinfo(kind).min, np.iinfo(kind).max)
        assign(samples.astype(kind), out.samples)
        for name, place in self._layout.others.items():
            target = out.extra.get(name) if name not in OWN_DTYPES else getattr(out, name)
            if target is not None:
                target[:] = values[:, place]
        out.flags[~good] |= int(Flag.DAMAGED)
        out.samples[~good] = 0
        out.length[~good] = self._scan.longest
        for number in np.flatnonzero(~good):
            line, place = chosen[number], self.position + int(number)
            self.damage.append(
                Damage(line.offset, len(line.content), place, 1, f"line is not {self._layout.width} numbers")
            )


class _Kind:
    """Which dtype holds all samples seen."""

    def __init__(self, options: TextOptions) -> None:
        self._given, self._scale = options.dtype, options.scale
        self._whole, self._low, self._high = True, 0.0, 0.0

    def look_at(self, samples: Array) -> None:
        """Remember the range of some samples, and whether all are whole numbers."""
        if samples.size:
            scaled = samples * self._scale
            self._whole = self._whole and bool((scaled == np.rint(scaled)).all())
            self._low, self._high = min(self._low, float(scaled.min())), max(self._high, float(scaled.max()))

    def dtype(self, path: Path) -> str:
        """The dtype.

        Raises
        ------
        AcquisitionFileError
            The one asked for is too narrow.
        """
        if self._given == "auto":
            fitting = [name for name in ("int16", "uint16", "int32") if self._fits(name)]
            return fitting[0] if fitting and self._whole else "float32"
        if self._given != "float32" and not self._fits(self._given):
            raise AcquisitionFileError(
                f"{path}: samples from {self._low:g} to {self._high:g} do not fit into {self._given}; choose another 'dtype' or 'scale'"
            )
        return str(self._given)

    def _fits(self, name: str) -> bool:
        limits = np.iinfo(name)
        return bool(limits.min <= np.rint(self._low) and np.rint(self._high) <= limits.max)


def _column(name: str) -> Column:
    return scalar(name, "float64", f"number '{name}' of each line of the text file")


def _is_text(head: bytes) -> bool:
    """No control characters but those of text; UTF-8 for a header with Greek letters, one of which may be cut at the end."""
    if head.translate(None, b"\t\r\n\f") != head.translate(None, bytes(range(32))):
        return False
    try:
        head[:-4].decode()
    except UnicodeDecodeError:
        return False
    return True
