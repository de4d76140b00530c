"""Numbers with units as users write them: ``"30 ns"``, ``"16 GB"``, ``"2h"``.  Parsed here and nowhere else."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_NUMBER = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-zµ]*)\s*$")

TIME = {
    "ps": 1e-12,
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
BYTES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


def _parse(text: Any, units: dict[str, float] | dict[str, int], what: str, example: str) -> float:
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        raise ValueError(f"{what} needs a unit, for example '{example}'")
    match = _NUMBER.match(str(text))
    if not match or match[2] not in units:
        raise ValueError(f"'{text}' is not {what}; write for example '{example}' (units: {', '.join(units)})")
    return float(match[1]) * units[match[2]]


def seconds(text: Any) -> float:
    """``"30 min"`` → 1800.0.

    Raises
    ------
    ValueError
        Not a number with a unit of time.
    """
    return _parse(text, TIME, "a time", "30 min")


def nanoseconds(text: Any) -> float:
    """``"5 ns"`` → 5.0."""
    return _parse(text, TIME, "a time", "5 ns") * 1e9


def bytes_(text: Any) -> int:
    """``"16 GB"`` → 16000000000."""
    return round(_parse(text, BYTES, "an amount of memory", "16 GB"))


Seconds = Annotated[float, BeforeValidator(seconds), PlainSerializer(lambda value: f"{value!r} s")]
Nanoseconds = Annotated[float, BeforeValidator(nanoseconds), PlainSerializer(lambda value: f"{value!r} ns")]
Bytes = Annotated[int, BeforeValidator(bytes_), PlainSerializer(lambda value: f"{value} B")]
