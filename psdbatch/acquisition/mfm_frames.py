"""Layout of GANIL MFM frames: common header, NEDA raw and compressed frames, merge frames.

Source: the layouts of GANIL's MFMlib (``MFMCommonFrame``, ``MFMNedaFrame``, ``MFMNedaCompFrame``, ``MFMMergeFrame``).
Every frame begins with ``metaType`` (u8: bit 7 little endian, bit 6 blob, bits 0-3 log2 of the block size),
``frameSize`` (u24, in blocks), ``dataSource`` (u8), ``frameType`` (u16) and ``revision`` (u8); frames with items go on
with ``headerSize`` (u16, in blocks), ``itemSize`` (u16) and ``nItems`` (u32).
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from psdbatch.columns import Column, scalar


class FrameType(IntEnum):
    """Frame types with a name in MFMlib."""

    COBO = 0x01
    COBO_FULL = 0x02
    EXO2 = 0x10
    OSCI = 0x11
    NEDA = 0x12
    NEDA_COMPRESSED = 0x13
    VAMOS_IC = 0x14
    DIAMANT = 0x16
    REA_GENERIC = 0x1C
    EBYEDAT_EN = 0x20
    EBYEDAT_TS = 0x21
    EBYEDAT_EN_TS = 0x22
    SCALER = 0x24
    RIBF = 0x30
    FAZIA = 0x40
    CHIMERA = 0x60
    SIRIUS = 0x70
    REA_TRACE = 0x71
    PARIS = 0x90
    FASTER = 0xA0
    MESYTEC = 0x4ADF
    HELLO = 0xFF00
    MERGE_EN = 0xFF01
    MERGE_TS = 0xFF02
    XML_DATA = 0xFF10
    XML_FILE = 0xFF11


RAW, COMPRESSED = 1, 2
"""Kinds of located signals."""

COMMON_HEADER = 8
ITEM_HEADER = 16
RAW_HEADER = 44
COMPRESSED_SIZE = 42
END_WORD = 0xF0F0F0F0
PARITY_BIT = 0x4000
SAMPLE_MASK = 0x3FFF
LARGEST_FRAME = 1 << 26
"""Frames above 64 MiB are taken for damage (MFMlib: above 1 GB); the largest known ones, of CoBo, have 2 MB."""


class Field(NamedTuple):
    """Where a number lies in a frame: ``(bytes at offset, as an integer, >> shift) & mask``."""

    offset: int
    width: int
    shift: int = 0
    mask: int = 0xFFFFFFFF
    order: int = 0  # FRAME_ORDER, REVISION_ORDER or LITTLE_ORDER


FRAME_ORDER = 0  # as the frame's header says
REVISION_ORDER = 1  # as the header says, but always little endian in frames of revision 0
LITTLE_ORDER = 2  # never swapped by MFMlib
ABSENT = Field(-1, 0)

FIELDS: dict[str, tuple[Column, Field, Field]] = {
    column.name: (column, raw, compressed)
    for column, raw, compressed in [
        (
            scalar("event_index", "uint32", "number the front-end electronics gave the event"),
            Field(18, 4, order=REVISION_ORDER),
            Field(8, 4),
        ),
        (
            scalar("slow_integral", "uint32", "integral over the slow gate, computed online", "ADC units x samples"),
            Field(34, 2, order=REVISION_ORDER),
            Field(26, 4),
        ),
        (
            scalar("fast_integral", "uint32", "integral over the fast gate, computed online", "ADC units x samples"),
            Field(38, 2, order=REVISION_ORDER),
            Field(30, 4),
        ),
        (scalar("le_interval", "uint8", "leading-edge interval (LeInterval)"), Field(28, 1), ABSENT),
        (scalar("zco_interval", "uint8", "zero-crossing interval (ZcoInterval)"), Field(29, 1), ABSENT),
        (
            scalar("tdc", "uint16", "value of the time-to-digital converter (TdcValue)"),
            Field(30, 2, order=REVISION_ORDER),
            ABSENT,
        ),
        (
            scalar("neutron_trigger", "uint8", "1: the trigger took the signal for a neutron"),
            Field(40, 1, 7, 1),
            ABSENT,
        ),
        (
            scalar("cfd_parity", "uint8", "parity bit of the constant-fraction discriminator"),
            Field(40, 1, 6, 1),
            ABSENT,
        ),
        (scalar("cfd_valid", "uint8", "1: the constant-fraction discriminator fired"), Field(40, 1, 5, 1), ABSENT),
        (scalar("abs_max", "uint8", "absolute maximum, as the electronics saw it (AbsMax)"), Field(41, 1), ABSENT),
        (scalar("cfd_interpolation", "uint8", "interpolated zero crossing (InterpolCFD)"), Field(42, 1), ABSENT),
        (scalar("energy", "uint16", "energy computed online"), ABSENT, Field(20, 2)),
        (
            scalar("frame_time", "uint16", "field Time of the compressed frame, read little endian as MFMlib does"),
            ABSENT,
            Field(22, 2, order=LITTLE_ORDER),
        ),
        (scalar("tdc_corrected", "uint16", "corrected value of the time-to-digital converter"), ABSENT, Field(24, 2)),
        (scalar("rise_time", "int32", "integral rise time, computed online (IntRaiseTime)"), ABSENT, Field(34, 4)),
        (
            scalar("online_network", "uint16", "answer of the online neural network (NeuralNetWork)"),
            ABSENT,
            Field(38, 2),
        ),
        (scalar("zero_crossings", "uint8", "number of zero crossings (NbZero)"), ABSENT, Field(40, 1)),
        (scalar("online_neutron", "uint8", "neutron flag, decided online (NeutronFlag)"), ABSENT, Field(41, 1)),
    ]
}
"""Extra columns by name, with their places in raw and in compressed frames; a column absent from a frame reads 0."""


class Location(NamedTuple):
    """How a LocationId is split: ``channel = v & channel_mask``, ``board = (v >> board_shift) & board_mask``."""

    channel_mask: int
    board_shift: int
    board_mask: int


LOCATIONS = {
    "neda": Location(0x0F, 5, 0xFFF),  # NEDA's own frame class
    "generic": Location(0x1F, 5, 0x7FF),  # MFMlib's generic code
    "older": Location(0x0F, 4, 0xFFF),  # compressed frames in older versions of MFMlib
}
"""Conventions met in MFMlib, by name."""


def is_known(frame_type: int) -> bool:
    """Whether MFMlib has a name for the type."""
    return frame_type in FrameType._value2member_map_


def frame_name(frame_type: int) -> str:
    """``"0x01 COBO"``, or the number alone for a type without a name."""
    return f"0x{frame_type:02X}" + (f" {FrameType(frame_type).name}" if is_known(frame_type) else "")


def fields_of(kinds: set[int]) -> tuple[Column, ...]:
    """Extra columns that frames of these kinds (``RAW``, ``COMPRESSED``) hold."""
    return tuple(
        column
        for column, raw, compressed in FIELDS.values()
        if (RAW in kinds and raw is not ABSENT) or (COMPRESSED in kinds and compressed is not ABSENT)
    )
