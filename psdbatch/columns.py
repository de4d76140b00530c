"""Every column psdbatch stores, declared once: dtype, unit and meaning.

The Zarr store, the packet format, exports, documentation and plots read these declarations; nothing else says what a
column is.  Formats and models add their own columns with the same class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import IntFlag
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray


class Flag(IntFlag):
    """Bits of the ``flags`` column.  The refusing bits come with ``label`` 255 and ``probability`` NaN."""

    SATURATED = 1  # a sample lies at the end of the ADC range
    PILE_UP = 2  # a second rise inside the signal
    DAMAGED = 4  # the bytes of the signal are damaged in the acquisition file
    NO_SAMPLES = 8  # the signal was recorded without its waveform (compressed frames)
    TOO_SHORT = 16  # fewer samples than the window needs
    BAD_ANSWER = 32  # the model answered NaN or infinity


REFUSED = Flag.DAMAGED | Flag.NO_SAMPLES | Flag.TOO_SHORT | Flag.BAD_ANSWER
"""A signal with one of these bits keeps its place but has no answer."""

REASONS: dict[Flag, str] = {
    Flag.DAMAGED: "damaged in the acquisition file",
    Flag.NO_SAMPLES: "recorded without samples",
    Flag.TOO_SHORT: "fewer samples than the window needs",
    Flag.BAD_ANSWER: "the model answered NaN or infinity",
}


def refusal(flags: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The one bit that names why each signal is refused: its lowest refusing bit, 0 for signals with an answer.

    Parameters
    ----------
    flags
        uint16, any shape; the result has the same shape and dtype.
    """
    refusing = flags & np.uint16(REFUSED)
    return refusing & (~refusing + np.uint16(1))


def count_refused(flags: np.ndarray[Any, Any]) -> dict[str, int]:
    """Refused signals by reason, each signal counted once; reasons without a signal are left out."""
    bits, counts = np.unique(refusal(flags), return_counts=True)
    return {REASONS[Flag(int(bit))]: int(count) for bit, count in zip(bits, counts, strict=True) if bit}


def without_identity(flags: np.ndarray[Any, Any], timestamp: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which signals are so damaged that time, board and channel are lost too; readers leave 0 in all three.

    Parameters
    ----------
    flags, timestamp
        uint16 and uint64, of the same shape; the result is bool, of that shape.
    """
    return np.asarray((timestamp == 0) & ((flags & np.uint16(Flag.DAMAGED)) != 0))


def identified(columns: Mapping[str, np.ndarray[Any, Any]]) -> Mapping[str, np.ndarray[Any, Any]]:
    """The columns of the signals whose board and channel are known: counted as those of board 0 the others would accuse it."""
    lost = without_identity(columns["flags"], columns["timestamp"])
    return {name: values[~lost] for name, values in columns.items()} if lost.any() else columns


NO_LABEL = 255
"""Label of a signal without an answer."""


@dataclass(frozen=True)
class Column:
    """One quantity per signal.

    Parameters
    ----------
    name
        Name of the array in the store.
    dtype
        NumPy dtype name, for example ``"uint16"``.
    meaning
        One sentence for people.
    unit
        Unit of the values, ``""`` for pure numbers.
    shape
        Trailing shape of one signal's value: ``()`` for a scalar, ``(2,)`` for two class probabilities.
    dimensions
        Names of the trailing dimensions.
    """

    name: str
    dtype: str
    meaning: str
    unit: str = ""
    shape: tuple[int, ...] = ()
    dimensions: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def empty(self, signals: int) -> np.ndarray[Any, Any]:
        """Uninitialised array for this column, shape ``(signals, *shape)``."""
        return np.empty((signals, *self.shape), self.dtype)

    def fill_value(self) -> Any:
        """What an absent value reads as: NaN, 255 for labels, 0 otherwise."""
        if self.name == "label":
            return NO_LABEL
        return float("nan") if np.issubdtype(np.dtype(self.dtype), np.floating) else 0

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary for JSON; :meth:`from_json` is its inverse."""
        record = asdict(self)
        return {**record, "shape": list(self.shape), "dimensions": list(self.dimensions)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Column:
        """Column from what :meth:`to_json` made."""
        return cls(**{**record, "shape": tuple(record["shape"]), "dimensions": tuple(record["dimensions"])})


def scalar(name: str, dtype: DTypeLike, meaning: str, unit: str = "", **attributes: Any) -> Column:
    """Column with one number per signal."""
    return Column(name, np.dtype(dtype).name, meaning, unit, attributes=attributes)


TIMESTAMP = scalar("timestamp", "uint64", "time the acquisition gave the signal, in the format's own unit")
BOARD = scalar("board", "uint16", "acquisition board that digitised the signal")
CHANNEL = scalar("channel", "uint16", "channel of that board")
IDENTITY = (TIMESTAMP, BOARD, CHANNEL)
"""What identifies a hit; copied from the acquisition file bit by bit."""

AMPLITUDE = scalar("amplitude", "float32", "largest sample above the baseline", "ADC units")
CHARGE_LONG = scalar(
    "charge_long", "float32", "sum of the samples above the baseline in the long gate", "ADC units x samples"
)
CHARGE_SHORT = scalar(
    "charge_short",
    "float32",
    "sum of the samples above the baseline in the short gate",
    "ADC units x samples",
)
RESIDUAL = scalar(
    "residual",
    "float32",
    "root mean square of the quality monitor's reconstruction minus the prepared signal",
    "amplitudes",
)
FLAGS = scalar(
    "flags",
    "uint16",
    "what is to know about the signal, one bit each",
    flag_masks=[int(flag) for flag in Flag],
    flag_meanings=" ".join(str(flag.name).lower() for flag in Flag),
)
SHAPE = (AMPLITUDE, CHARGE_LONG, CHARGE_SHORT)
"""The classical quantities, so that every plot can be made without the raw data."""

CHARGE_RATIO = scalar("charge_ratio", "float64", "share of the charge behind the short gate: (long - short) / long")
"""Not stored: it follows from the charges."""


def charge_ratio(charge_long: ArrayLike, charge_short: ArrayLike) -> NDArray[Any]:
    """``(long - short) / long``: the share of the charge behind the short gate; NaN where the long charge is not positive."""
    long, short = np.asarray(charge_long, np.float64), np.asarray(charge_short, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(long > 0, (long - short) / long, np.nan))
