"""CAEN CoMPASS binary files (``.BIN``), versions 1 and 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from psdbatch.acquisition.bytesource import ByteSource, ByteStream
from psdbatch.acquisition.compass_kernels import REASONS, decode, locate, plausible, read_bits, read_integers
from psdbatch.acquisition.compass_layout import HAS_WAVEFORM, MAGIC, Layout
from psdbatch.acquisition.compass_recognition import Beginning, beginnings, own_header
from psdbatch.acquisition.compass_settings import sampling_period_ns
from psdbatch.acquisition.format import (
    AcquisitionFormat,
    FormatOptions,
    Scan,
    SignalReader,
    SignalWriter,
    WriterSettings,
)
from psdbatch.acquisition.records import RecordReader, Records, nearest_cut, survey
from psdbatch.acquisition.registry import HEAD_BYTES
from psdbatch.acquisition.signals import Signals
from psdbatch.acquisition.window import words_of
from psdbatch.errors import AcquisitionFileError

TIMESTAMP_UNIT = "1 ps"
INPUT_TRACE = 1
TRIAL_BYTES = 16 * HEAD_BYTES
"""How much of a file without header is read to find out its layout."""


class CoMPASSOptions(FormatOptions):
    """Options of format ``compass``."""

    header: int | None = Field(
        None,
        ge=MAGIC,
        le=MAGIC | 0xF,
        description="header (0xCAE0 to 0xCAEF) to assume for files without one, such as those that continue a run",
    )
    version: Literal["auto", 1, 2] = Field("auto", description="version of CoMPASS for files without header")
    waveform_code: int = Field(INPUT_TRACE, ge=0, le=255, description="which trace was recorded; 1: the input")
    settings: str | None = Field(
        None, description="settings file of CoMPASS, relative to the acquisition file; default: looked for beside it"
    )


class CoMPASSRecords(Records):
    """CoMPASS records of one stream."""

    reasons = REASONS

    def __init__(self, stream: ByteStream, layout: Layout, code: int, offset: int, first: int = 0) -> None:
        self.smallest = layout.head
        self._layout = layout
        self._code = code
        super().__init__(stream, offset, first)

    def locate(self, state: NDArray[Any], located: NDArray[Any], gaps: NDArray[Any]) -> tuple[int, int, int]:
        window = self.window
        return locate(window.data, window.filled, window.ended, state, located, gaps, self._layout, self._code)

    def decode(self, located: NDArray[Any], out: Signals) -> None:
        data, layout = self.window.data, self._layout
        decode(
            data,
            *words_of(data),
            located,
            layout,
            out.samples,
            out.length,
            out.timestamp,
            out.board,
            out.channel,
            out.flags,
        )
        for name, place, width in (
            ("energy", layout.energy, 2),
            ("energy_short", layout.short, 2),
            ("daq_flags", layout.daq_flags, 4),
        ):
            if name in out.extra and place >= 0:
                read_integers(data, located, place, width, out.extra[name])
        if "energy_calibrated" in out.extra and layout.calibrated >= 0:
            read_bits(data, located, layout.calibrated, out.extra["energy_calibrated"].view(np.uint64))


class CoMPASS(AcquisitionFormat):
    """Binary files of CAEN CoMPASS: events with energies and waveforms of any length."""

    name: ClassVar[str] = "compass"
    Options: ClassVar[type[FormatOptions]] = CoMPASSOptions

    @classmethod
    def recognises(cls, head: bytes, path: Path) -> bool:
        whole = len(head) < HEAD_BYTES
        found = beginnings(head, whole, None, None, INPUT_TRACE)
        if own_header(head) is None:
            return len(found) == 1
        first = head[found[0].offset :]
        return len(first) == 0 or any(_begins_with_record(first, found[0], code) for code in range(1, 16))

    def scan(self, source: ByteSource) -> Scan:
        beginning = self._beginning(source)
        with source.open(beginning.offset) as stream:
            found = survey(CoMPASSRecords(stream, beginning.layout, self.options.waveform_code, beginning.offset))
        if not found.signals:
            raise AcquisitionFileError(f"{source.path}: {self._nothing(source, beginning)}")
        return Scan(
            signals=found.signals,
            sample_dtype="uint16",
            shortest=found.shortest,
            longest=found.longest,
            timestamp_unit=TIMESTAMP_UNIT,
            sampling_period_ns=sampling_period_ns(source.path, self.options.settings),
            columns=beginning.layout.columns,
            cuts=tuple(found.cuts),
            damage=tuple(found.damage),
        )

    def reader(self, source: ByteSource, scan: Scan, first: int = 0) -> SignalReader:
        layout = self._beginning(source).layout
        signal, offset = nearest_cut(scan, first)
        records = CoMPASSRecords(source.open(offset), layout, self.options.waveform_code, offset, signal)
        return RecordReader(source, records, scan, first)

    @classmethod
    def writer_options(cls) -> type[FormatOptions]:
        from psdbatch.acquisition.compass_writer import CoMPASSWriterOptions

        return CoMPASSWriterOptions

    @classmethod
    def writer(cls, path: Path, settings: WriterSettings) -> SignalWriter:
        from psdbatch.acquisition.compass_writer import CoMPASSWriter

        return CoMPASSWriter(path, settings)

    def _beginning(self, source: ByteSource) -> Beginning:
        with source.open() as stream:
            head = stream.read(TRIAL_BYTES)
        version = None if self.options.version == "auto" else self.options.version
        found = beginnings(head, len(head) < TRIAL_BYTES, self.options.header, version, self.options.waveform_code)
        if len(found) == 1:
            return found[0]
        if not found:
            raise AcquisitionFileError(
                f"{source.path}: has no CoMPASS header, and its records are in no known layout; name it with the options "
                "'header' (0xCAED, ...) and 'version' if it is a CoMPASS file"
            )
        layouts = ", ".join(f"header = 0x{MAGIC | one.flags:X}, version = {one.version}" for one in found)
        raise AcquisitionFileError(
            f"{source.path}: has no CoMPASS header, and its records fit several layouts ({layouts}); choose with the options"
        )

    def _nothing(self, source: ByteSource, beginning: Beginning) -> str:
        """Why there is not one signal."""
        layout = beginning.layout
        with source.open(beginning.offset) as stream:
            head = stream.read(TRIAL_BYTES)
        if not head:
            return "holds the header of a CoMPASS file and not one record"
        if layout.code >= 0 and len(head) > layout.code and head[layout.code] != self.options.waveform_code:
            return (
                f"its first record holds trace {head[layout.code]}, not {self.options.waveform_code}; if you want that "
                "trace, set the option 'waveform_code'"
            )
        return f"holds not one whole CoMPASS record (header 0x{MAGIC | beginning.flags:X}); it is damaged or cut at its start"


def _begins_with_record(data: bytes, beginning: Beginning, code: int) -> bool:
    """Whether the head of a record lies at the start of ``data``; a record cut by the end of ``data`` counts."""
    layout = beginning.layout
    if beginning.flags & HAS_WAVEFORM and len(data) > layout.code and data[layout.code] != code:
        return False
    first = np.frombuffer(data[: layout.head].ljust(layout.head, b"\0"), np.uint8)
    return bool(plausible(first, 0, layout.head, layout, code))
