"""Layout of CAEN CoMPASS binary files.

Source: CAEN CoMPASS user manual and the public readers legend-daq2lh5 (version 2) and sesps Navigator (version 1); checked
on a measured file.  Little endian, packed.  Version 2 begins with ``0xCAEx``, whose lowest four bits say what a record
holds; files that continue a size-limited run may lack it.  Version 1 has no header and no waveform code.
"""

from __future__ import annotations

from typing import NamedTuple

from psdbatch.columns import Column, scalar

MAGIC, MAGIC_MASK = 0xCAE0, 0xFFF0
HAS_ENERGY, HAS_CALIBRATED, HAS_SHORT, HAS_WAVEFORM = 1, 2, 4, 8
HEADER_BYTES = 2

ENERGY = scalar("energy", "uint16", "energy (long charge integral with DPP-PSD firmware) computed online", "channels")
CALIBRATED = scalar("energy_calibrated", "float64", "energy with the calibration of the acquisition", "as calibrated")
SHORT = scalar("energy_short", "uint16", "short charge integral computed online (DPP-PSD firmware)", "channels")
DAQ_FLAGS = scalar(
    "daq_flags",
    "uint32",
    "flags of the acquisition",
    flag_masks=[0x1, 0x2, 0x4, 0x8, 0x10, 0x20, 0x40, 0x80, 0x100, 0x400, 0x800, 0x4000, 0x8000],
    flag_meanings="dead_time timestamp_rollover timestamp_reset fake_event memory_full trigger_lost n_triggers_lost "
    "saturated_in_gate 1024_triggers input_saturating n_triggers_counted fine_timestamp pile_up",
)


class Layout(NamedTuple):
    """Where the fields of a record lie, in bytes from its start; -1: the record does not have it."""

    energy: int
    calibrated: int
    short: int
    daq_flags: int
    code: int
    samples: int
    head: int

    @property
    def columns(self) -> tuple[Column, ...]:
        """Extra columns of such records."""
        present = (
            (self.energy, ENERGY),
            (self.calibrated, CALIBRATED),
            (self.short, SHORT),
            (self.daq_flags, DAQ_FLAGS),
        )
        return tuple(column for place, column in present if place >= 0)


def layout_of(flags: int, version: int) -> Layout:
    """Record layout for the lowest four bits of the file header."""
    position = 12  # board u16, channel u16, timestamp u64
    places = []
    for bit, width in ((HAS_ENERGY, 2), (HAS_CALIBRATED, 8), (HAS_SHORT, 2)):
        places.append(position if flags & bit else -1)
        position += width if flags & bit else 0
    energy, calibrated, short = places
    daq_flags, position = position, position + 4
    code = count = -1
    if flags & HAS_WAVEFORM:
        if version == 2:
            code, position = position, position + 1
        count, position = position, position + 4
    return Layout(energy, calibrated, short, daq_flags, code, count, position)
