"""Writing MFM files: NEDA raw frames, NEDA compressed frames, merge frames around them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from psdbatch.acquisition.format import FormatOptions, SignalWriter, WriterSettings
from psdbatch.acquisition.mfm_encode import encode_compressed, encode_raw, put_field
from psdbatch.acquisition.mfm_frames import (
    ABSENT,
    COMPRESSED_SIZE,
    FIELDS,
    LARGEST_FRAME,
    LOCATIONS,
    RAW_HEADER,
    SAMPLE_MASK,
    FrameType,
    Location,
)
from psdbatch.acquisition.signals import Signals
from psdbatch.config import validated
from psdbatch.errors import ConfigurationError

ByteOrder = Literal["little", "big"]


@dataclass(frozen=True)
class FrameStyle:
    """How frames are written: byte order, bytes per block (a power of two), revision, LocationId convention."""

    byte_order: ByteOrder = "little"
    block: int = 2
    revision: int = 1
    location: Location = LOCATIONS["neda"]

    @property
    def shift(self) -> int:
        """log2 of the block size."""
        return self.block.bit_length() - 1

    def padded(self, size: Any) -> Any:
        """``size`` in bytes, rounded up to whole blocks."""
        return -(-size >> self.shift) << self.shift


class MFMWriterOptions(FormatOptions):
    """Options of an MFM file to be written."""

    frames: Literal["raw", "compressed"] = Field("raw", description="compressed frames hold no samples")
    byte_order: ByteOrder = Field("little", description="of the frames")
    block: Literal[1, 2, 4, 8, 16, 32, 64] = Field(2, description="unit of sizes, in bytes")
    revision: int = Field(1, ge=0, le=255, description="revision of the frames' format")
    location: str = Field("neda", description="convention for board and channel in LocationId")


def raw_frames(signals: Signals, style: FrameStyle | None = None) -> NDArray[np.uint8]:
    """NEDA raw frames of ``signals``, back to back, with parity bits, end words and the extra columns they have.

    Raises
    ------
    ConfigurationError
        A value does not fit its field.
    """
    style = style or FrameStyle()
    _check(signals, style, np.arange(signals.samples.shape[1]) < signals.length[:, None])
    sizes = style.padded(style.padded(RAW_HEADER) + 2 * signals.length.astype(np.int64) + 4)
    data, starts = _room(sizes, style)
    encode_raw(
        data,
        starts,
        signals.samples,
        signals.length,
        signals.timestamp,
        signals.board,
        signals.channel,
        style.location,
        style.revision,
        style.byte_order == "little",
        style.shift,
    )
    _put_extra(data, starts, signals, style, compressed=False)
    return data


def compressed_frames(signals: Signals, style: FrameStyle | None = None) -> NDArray[np.uint8]:
    """NEDA compressed frames of ``signals``, back to back; their samples are left out.

    Raises
    ------
    ConfigurationError
        A value does not fit its field.
    """
    style = style or FrameStyle()
    _check(signals, style, None)
    data, starts = _room(np.full(len(signals), style.padded(COMPRESSED_SIZE)), style)
    encode_compressed(
        data,
        starts,
        signals.timestamp,
        signals.board,
        signals.channel,
        style.location,
        style.revision,
        style.byte_order == "little",
        style.shift,
    )
    _put_extra(data, starts, signals, style, compressed=True)
    return data


def merge_frame(
    children: bytes, count: int, style: FrameStyle | None = None, by: Literal["time", "event"] = "time", key: int = 0
) -> bytes:
    """Merge frame around ``count`` complete frames; ``key`` is the event time (10 ns) or the event number."""
    style = style or FrameStyle()
    order = "<" if style.byte_order == "little" else ">"
    header = style.padded(26 if by == "time" else 20)
    size = style.padded(header + len(children))
    own = key.to_bytes(6 if by == "time" else 4, style.byte_order)
    frame_type = FrameType.MERGE_TS if by == "time" else FrameType.MERGE_EN
    head = b"".join(
        [
            bytes([(0x80 if order == "<" else 0) | style.shift]),
            (size >> style.shift).to_bytes(3, style.byte_order),
            struct.pack(f"{order}xHBHHI", frame_type, style.revision, header >> style.shift, 0, count),
            own,
        ]
    )
    return (head.ljust(header, b"\0") + children).ljust(size, b"\0")


class NEDAWriter(SignalWriter):
    """New MFM file of NEDA frames."""

    def __init__(self, path: Path, settings: WriterSettings) -> None:
        options = validated(MFMWriterOptions, settings.options, f"{path}: options of format 'mfm'")
        _check_settings(path, settings, options)
        self._frames = raw_frames if options.frames == "raw" else compressed_frames
        self._style = FrameStyle(options.byte_order, options.block, options.revision, LOCATIONS[options.location])
        self._path = path
        self._file = path.open("wb")

    def write(self, signals: Signals) -> None:
        """Append all of ``signals``."""
        try:
            self._file.write(self._frames(signals, self._style))  # type: ignore[arg-type]
        except ConfigurationError as error:
            raise ConfigurationError(f"{self._path}: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _check_settings(path: Path, settings: WriterSettings, options: MFMWriterOptions) -> None:
    kind = "raw" if options.frames == "raw" else "compressed"
    foreign = [
        column.name
        for column in settings.columns
        if column.name not in FIELDS or FIELDS[column.name][1 if kind == "raw" else 2] is ABSENT
    ]
    if options.location not in LOCATIONS:
        raise ConfigurationError(f"{path}: unknown location '{options.location}'; known: {', '.join(LOCATIONS)}")
    if settings.timestamp_unit != "10 ns":
        raise ConfigurationError(f"{path}: MFM counts time in units of 10 ns, not of {settings.timestamp_unit}")
    if settings.sampling_period_ns not in (None, 5.0):
        raise ConfigurationError(f"{path}: NEDA samples every 5 ns, not every {settings.sampling_period_ns} ns")
    if not np.issubdtype(settings.sample_dtype, np.integer):
        raise ConfigurationError(f"{path}: NEDA samples are integers of 14 bits, not {settings.sample_dtype}")
    if foreign:
        raise ConfigurationError(f"{path}: NEDA {kind} frames have no field for {', '.join(foreign)}; leave it out")


def _check(signals: Signals, style: FrameStyle, real: NDArray[np.bool_] | None) -> None:
    """Refuse what would not come back as it was given."""
    place = style.location
    boards = min(place.board_mask, 0xFFFF >> place.board_shift)
    channels = min(place.channel_mask, (1 << place.board_shift) - 1)
    limits = {"timestamp": (1 << 48) - 1, "board": boards, "channel": channels}
    for name, most in limits.items():
        values = getattr(signals, name)
        if len(values) and int(values.max()) > most:
            raise ConfigurationError(f"{name} {int(values.max()):,} does not fit a NEDA frame: {most:,} at most")
    if real is None or not real.any():
        return
    low, high = int(signals.samples.min(where=real, initial=0)), int(signals.samples.max(where=real, initial=0))
    if low < 0 or high > SAMPLE_MASK:
        raise ConfigurationError(f"samples from {low} to {high} do not fit 14 bits: 0 to {SAMPLE_MASK}")


def _room(sizes: NDArray[np.int64], style: FrameStyle) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    largest = min(LARGEST_FRAME, 0xFFFFFF << style.shift)
    if len(sizes) and int(sizes.max()) > largest:
        raise ConfigurationError(f"a frame of {int(sizes.max()):,} bytes is too large: {largest:,} at most")
    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    return np.zeros(int(starts[-1]), np.uint8), starts


def _put_extra(
    data: NDArray[np.uint8], starts: NDArray[np.int64], signals: Signals, style: FrameStyle, *, compressed: bool
) -> None:
    for name, values in signals.extra.items():
        if name not in FIELDS:
            continue
        _, in_raw, in_compressed = FIELDS[name]
        place = in_compressed if compressed else in_raw
        if place is ABSENT:
            continue
        bits = min(8 * place.width - place.shift, place.mask.bit_length())
        _check_range(name, values, bits)
        put_field(data, starts, place, style.revision, style.byte_order == "little", values)


def _check_range(name: str, values: NDArray[Any], bits: int) -> None:
    signed = np.issubdtype(FIELDS[name][0].dtype, np.signedinteger)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if len(values) and not (low <= int(values.min()) and int(values.max()) <= high):
        raise ConfigurationError(f"values of '{name}' do not fit {bits} bits: {low:,} to {high:,}")
