"""CoMPASS records built and decoded slowly, with struct alone, as the reference for the tests of format ``compass``."""

from __future__ import annotations

import struct
from typing import Any

ALL_FLAGS = range(16)


def record(flags: int, version: int, values: dict[str, Any], code: int = 1) -> bytes:
    """One record; ``values`` has board, channel, timestamp, energy, calibrated, short, daq_flags, samples."""
    made = struct.pack("<HHQ", values["board"], values["channel"], values["timestamp"])
    if flags & 1:
        made += struct.pack("<H", values["energy"])
    if flags & 2:
        made += struct.pack("<d", values["calibrated"])
    if flags & 4:
        made += struct.pack("<H", values["short"])
    made += struct.pack("<I", values["daq_flags"])
    if flags & 8:
        made += struct.pack("<B", code) if version == 2 else b""
        made += struct.pack(f"<I{len(values['samples'])}H", len(values["samples"]), *values["samples"])
    return made


def records_of(data: bytes, flags: int, version: int) -> list[dict[str, Any]]:
    """Decode undamaged records (no file header), field by field."""
    found, position = [], 0

    def take(form: str) -> Any:
        nonlocal position
        (value,) = struct.unpack_from("<" + form, data, position)
        position += struct.calcsize("<" + form)
        return value

    while position < len(data):
        one = {"board": take("H"), "channel": take("H"), "timestamp": take("Q")}
        if flags & 1:
            one["energy"] = take("H")
        if flags & 2:
            one["energy_calibrated"] = take("d")
        if flags & 4:
            one["energy_short"] = take("H")
        one["daq_flags"] = take("I")
        one["samples"] = []
        if flags & 8:
            if version == 2:
                assert take("B") == 1
            one["samples"] = [take("H") for _ in range(take("I"))]
        found.append(one)
    return found
