"""Writing CoMPASS files, with any combination of fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from psdbatch.acquisition.compass_kernels import MOST_BOARDS, MOST_CHANNELS, encode_heads, encode_samples
from psdbatch.acquisition.compass_layout import (
    CALIBRATED,
    DAQ_FLAGS,
    ENERGY,
    HAS_CALIBRATED,
    HAS_ENERGY,
    HAS_SHORT,
    HAS_WAVEFORM,
    MAGIC,
    SHORT,
    Layout,
    layout_of,
)
from psdbatch.acquisition.format import FormatOptions, SignalWriter, WriterSettings
from psdbatch.acquisition.signals import Signals
from psdbatch.acquisition.window import words_of
from psdbatch.config import validated
from psdbatch.errors import ConfigurationError

BITS = {ENERGY.name: HAS_ENERGY, CALIBRATED.name: HAS_CALIBRATED, SHORT.name: HAS_SHORT}


class CoMPASSWriterOptions(FormatOptions):
    """Options of a CoMPASS file to be written."""

    version: Literal[1, 2] = Field(2, description="version of CoMPASS")
    waveforms: bool = Field(True, description="false: energies and times only")
    file_header: bool = Field(True, description="false: as a file that continues a run (version 2)")
    header: int | None = Field(
        None,
        ge=MAGIC,
        le=MAGIC | 0xF,
        description="fields of the records (0xCAED, ...); default: those of the columns given",
    )


def encoded(signals: Signals, layout: Layout, code: int = 1) -> NDArray[np.uint8]:
    """Records of ``signals``, back to back; columns that they do not have are 0.

    Raises
    ------
    ConfigurationError
        A value does not fit its field.
    """
    _check(signals)
    heads = np.zeros((len(signals), layout.head), np.uint8)

    def put(place: int, dtype: str, values: Any) -> None:
        if place >= 0:
            width = np.dtype(dtype).itemsize
            heads[:, place : place + width] = np.asarray(values).astype(dtype).reshape(-1, 1).view(np.uint8)

    nothing = np.zeros(len(signals))
    put(0, "<u2", signals.board)
    put(2, "<u2", signals.channel)
    put(4, "<u8", signals.timestamp)
    put(layout.energy, "<u2", signals.extra.get(ENERGY.name, nothing))
    put(layout.calibrated, "<f8", signals.extra.get(CALIBRATED.name, nothing))
    put(layout.short, "<u2", signals.extra.get(SHORT.name, nothing))
    put(layout.daq_flags, "<u4", signals.extra.get(DAQ_FLAGS.name, nothing))
    put(layout.code, "u1", np.full(len(signals), code))
    put(layout.samples, "<u4", signals.length)
    return heads.reshape(-1) if layout.samples < 0 else _with_samples(heads, signals)


class CoMPASSWriter(SignalWriter):
    """New CoMPASS file."""

    def __init__(self, path: Path, settings: WriterSettings) -> None:
        options = validated(CoMPASSWriterOptions, settings.options, f"{path}: options of format 'compass'")
        flags = _flags(path, settings, options)
        self._layout = layout_of(flags, options.version)
        self._path = path
        self._file = path.open("wb")
        if options.version == 2 and options.file_header:
            self._file.write((MAGIC | flags).to_bytes(2, "little"))

    def write(self, signals: Signals) -> None:
        """Append all of ``signals``."""
        try:
            self._file.write(encoded(signals, self._layout))  # type: ignore[arg-type]
        except ConfigurationError as error:
            raise ConfigurationError(f"{self._path}: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _flags(path: Path, settings: WriterSettings, options: CoMPASSWriterOptions) -> int:
    """Lowest four bits of the file header, for what will be written."""
    names = {column.name for column in settings.columns}
    foreign = sorted(names - BITS.keys() - {DAQ_FLAGS.name})
    given = sum(bit for name, bit in BITS.items() if name in names)
    flags = given | (HAS_WAVEFORM if options.waveforms else 0)
    if options.version == 1 and options.header is None:
        flags |= HAS_ENERGY
    if options.header is not None:
        flags = options.header & 0xF
    if foreign or given & ~flags:
        missing = foreign or sorted(name for name, bit in BITS.items() if given & ~flags & bit)
        raise ConfigurationError(f"{path}: CoMPASS records have no field for {', '.join(missing)}; leave it out")
    if options.version == 1 and flags not in (HAS_WAVEFORM | HAS_ENERGY, HAS_WAVEFORM | HAS_ENERGY | HAS_SHORT):
        raise ConfigurationError(f"{path}: version 1 holds waveforms, energy and perhaps energy_short, nothing else")
    if settings.timestamp_unit != "1 ps":
        raise ConfigurationError(f"{path}: CoMPASS counts time in units of 1 ps, not of {settings.timestamp_unit}")
    if not np.issubdtype(settings.sample_dtype, np.integer):
        raise ConfigurationError(f"{path}: CoMPASS samples are integers of 16 bits, not {settings.sample_dtype}")
    return flags


def _check(signals: Signals) -> None:
    """Refuse what would not come back as it was given."""
    limits: list[tuple[str, NDArray[Any] | None, int]] = [
        ("board", signals.board, MOST_BOARDS - 1),
        ("channel", signals.channel, MOST_CHANNELS - 1),
    ]
    limits += [(column.name, signals.extra.get(column.name), 0xFFFF) for column in (ENERGY, SHORT)]
    limits += [
        (DAQ_FLAGS.name, signals.extra.get(DAQ_FLAGS.name), (1 << 20) - 1),
        ("timestamp", signals.timestamp, (1 << 60) - 1),
    ]
    if signals.samples.dtype != np.uint16:
        real = np.arange(signals.samples.shape[1]) < signals.length[:, None]
        limits += [("sample", signals.samples[real], 0xFFFF)]
    for name, values, most in limits:
        if values is not None and values.size and not (int(values.min()) >= 0 and int(values.max()) <= most):
            raise ConfigurationError(f"{name} {int(values.max()):,} does not fit a CoMPASS record: 0 to {most:,}")


def _with_samples(heads: NDArray[np.uint8], signals: Signals) -> NDArray[np.uint8]:
    starts = np.zeros(len(heads) + 1, np.int64)
    np.cumsum(heads.shape[1] + 2 * signals.length.astype(np.int64), out=starts[1:])
    data = np.empty(int(starts[-1]), np.uint8)
    encode_heads(data, starts, heads)
    even, odd = words_of(data)
    encode_samples(even, odd, starts[:-1] + heads.shape[1], signals.length, signals.samples)
    return data
