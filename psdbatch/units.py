"""Numbers with units as users write them: ``"30 ns"``, ``"16 GB"``, ``"2h"``.  Parsed here and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

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


def say_seconds(value: float) -> str:
    """1800.0 → ``"30 min"``: what :func:`seconds` reads as the same number, in the largest unit that says it shortly."""
    return _say(value, TIME, "s")


def say_nanoseconds(value: float) -> str:
    """5.0 → ``"5 ns"``."""
    return f"{value:.15g} ns"


def say_bytes(value: int) -> str:
    """16000000000 → ``"16 GB"``."""
    return _say(value, BYTES, "B")


def _say(value: float, units: Mapping[str, float], least: str) -> str:
    for unit, size in sorted(units.items(), key=lambda entry: -entry[1]):
        if value >= size and value % size == 0:
            return f"{value / size:.0f} {unit}"
    return f"{value!r} {least}"


def _as_text(unit: str, units: Mapping[str, float], example: str) -> WithJsonSchema:
    """For editors: text with one of the units; ``x-unit`` is the one that psdbatch counts in."""
    pattern = rf"^\s*[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?\s*({'|'.join(units)})\s*$"
    return WithJsonSchema({"type": "string", "pattern": pattern, "x-unit": unit, "examples": [example]}, "validation")


Seconds = Annotated[
    float, BeforeValidator(seconds), PlainSerializer(lambda value: f"{value!r} s"), _as_text("s", TIME, "30 min")
]
Nanoseconds = Annotated[
    float, BeforeValidator(nanoseconds), PlainSerializer(lambda value: f"{value!r} ns"), _as_text("ns", TIME, "5 ns")
]
Bytes = Annotated[
    int, BeforeValidator(bytes_), PlainSerializer(lambda value: f"{value} B"), _as_text("B", BYTES, "16 GB")
]
