"""GANIL MFM files: NEDA raw and compressed frames, alone or inside merge frames, among any other frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from psdbatch.acquisition.bytesource import ByteSource, ByteStream
from psdbatch.acquisition.format import (
    AcquisitionFormat,
    FormatOptions,
    Scan,
    SignalReader,
    SignalWriter,
    WriterSettings,
)
from psdbatch.acquisition.mfm_decode import decode, read_field
from psdbatch.acquisition.mfm_frames import (
    COMMON_HEADER,
    COMPRESSED,
    COMPRESSED_SIZE,
    FIELDS,
    LOCATIONS,
    RAW,
    Location,
    fields_of,
    frame_name,
    is_known,
)
from psdbatch.acquisition.mfm_walk import BAD, REASONS, UNDECIDED, frame_at, frame_type_at, judge, locate
from psdbatch.acquisition.records import LOCATED, RecordReader, Records, nearest_cut, survey
from psdbatch.acquisition.registry import HEAD_BYTES
from psdbatch.acquisition.signals import Signals
from psdbatch.acquisition.window import words_of
from psdbatch.errors import AcquisitionFileError
from psdbatch.wording import nearest

TIMESTAMP_UNIT = "10 ns"
SAMPLING_PERIOD_NS = 5.0
KINDS = {"all": RAW | COMPRESSED, "raw": RAW, "compressed": COMPRESSED}


class LocationOption(BaseModel):
    """``channel = LocationId & channel_mask``, ``board = (LocationId >> board_shift) & board_mask``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channel_mask: int = Field(ge=0, le=0xFFFF)
    board_shift: int = Field(ge=0, le=15)
    board_mask: int = Field(ge=0, le=0xFFFF)

    def split(self) -> Location:
        """As the kernels want it."""
        return Location(self.channel_mask, self.board_shift, self.board_mask)


class MFMOptions(FormatOptions):
    """Options of format ``mfm``."""

    frames: Literal["all", "raw", "compressed"] = Field(
        "all", description="which NEDA frames count as signals; compressed ones have no samples"
    )
    raw_location: str | LocationOption = Field(
        "neda",
        description="how raw frames write board and channel into LocationId: a convention's name, or its numbers",
    )
    compressed_location: str | LocationOption = Field("neda", description="the same for compressed frames")
    check_parity: bool = Field(True, description="a wrong parity bit of a sample marks the signal as damaged")
    check_end_word: bool = Field(True, description="a wrong word at the end of a raw frame marks the signal as damaged")

    @field_validator("raw_location", "compressed_location")
    @classmethod
    def _known(cls, value: str | LocationOption) -> str | LocationOption:
        if isinstance(value, str) and value not in LOCATIONS:
            raise ValueError(f"unknown convention{nearest(value, LOCATIONS)}; known: {', '.join(LOCATIONS)}")
        return value


def location_of(option: str | LocationOption) -> Location:
    """The convention an option names or spells out."""
    return LOCATIONS[option] if isinstance(option, str) else option.split()


class MFMRecords(Records):
    """NEDA frames of one stream."""

    reasons = REASONS
    smallest = COMPRESSED_SIZE

    def __init__(self, stream: ByteStream, options: MFMOptions, offset: int = 0, first: int = 0) -> None:
        super().__init__(stream, offset, first)
        self._options = options
        self._raw_location = location_of(options.raw_location)
        self._compressed_location = location_of(options.compressed_location)
        self.types = np.zeros(1 << 16, np.int64)

    def locate(self, state: NDArray[Any], located: NDArray[Any], gaps: NDArray[Any]) -> tuple[int, int, int]:
        window = self.window
        wanted, check_end = KINDS[self._options.frames], self._options.check_end_word
        return locate(window.data, window.filled, window.ended, state, located, gaps, wanted, check_end, self.types)

    def decode(self, located: NDArray[Any], out: Signals) -> None:
        data = self.window.data
        decode(
            data,
            *words_of(data),
            located,
            self._raw_location,
            self._compressed_location,
            self._options.check_parity,
            out.samples,
            out.length,
            out.timestamp,
            out.board,
            out.channel,
            out.flags,
        )
        for name, values in out.extra.items():
            if name in FIELDS:
                _, raw, compressed = FIELDS[name]
                read_field(data, located, raw, compressed, values)


class MFM(AcquisitionFormat):
    """GANIL MultiFrame Metaformat with NEDA frames (NUMEXO2 digitisers: 14 bits, 5 ns)."""

    name: ClassVar[str] = "mfm"
    Options: ClassVar[type[FormatOptions]] = MFMOptions

    @classmethod
    def recognises(cls, head: bytes, path: Path) -> bool:
        data = np.frombuffer(head, np.uint8)
        if len(data) < COMMON_HEADER:
            return False
        whole = len(data) < HEAD_BYTES
        kind, *_ = judge(data, 0, len(data), whole, False, True, np.empty(0, LOCATED))
        if kind == UNDECIDED:  # the first frame is larger than the head
            kind, *_ = frame_at(data, 0, len(data))
            return kind != BAD and is_known(frame_type_at(data, 0))
        return bool(kind != BAD)

    def scan(self, source: ByteSource) -> Scan:
        records = MFMRecords(source.open(), self.options)
        try:
            found = survey(records)
        finally:
            records.close()
        if not found.signals:
            raise AcquisitionFileError(f"{source.path}: {self._nothing(records.types)}")
        kinds = {kind for kind in (RAW, COMPRESSED) if found.kinds[kind]}
        return Scan(
            signals=found.signals,
            sample_dtype="int16",
            shortest=found.shortest,
            longest=found.longest,
            timestamp_unit=TIMESTAMP_UNIT,
            sampling_period_ns=SAMPLING_PERIOD_NS,
            columns=fields_of(kinds),
            cuts=tuple(found.cuts),
            damage=tuple(found.damage),
        )

    def reader(self, source: ByteSource, scan: Scan, first: int = 0) -> SignalReader:
        signal, offset = nearest_cut(scan, first)
        return RecordReader(source, MFMRecords(source.open(offset), self.options, offset, signal), scan, first)

    @classmethod
    def writer_options(cls) -> type[FormatOptions]:
        from psdbatch.acquisition.mfm_writer import MFMWriterOptions

        return MFMWriterOptions

    @classmethod
    def writer(cls, path: Path, settings: WriterSettings) -> SignalWriter:
        from psdbatch.acquisition.mfm_writer import NEDAWriter

        return NEDAWriter(path, settings)

    def _nothing(self, types: NDArray[np.int64]) -> str:
        """Why there is not one signal, and what there is instead."""
        found = [f"{frame_name(int(kind))} ({types[kind]:,})" for kind in np.flatnonzero(types)]
        if not found:
            return "holds not one MFM frame; it is in another format, or damaged from its first byte"
        wanted = {"all": "NEDA", "raw": "NEDA raw", "compressed": "NEDA compressed"}[self.options.frames]
        hint = "" if self.options.frames == "all" else f"; option frames = '{self.options.frames}' asks for these only"
        return f"holds not one {wanted} frame{hint}; found frame types: {', '.join(found)}"
