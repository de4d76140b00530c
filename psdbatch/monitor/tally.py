"""Physics of a block in a few kilobytes: what dashboard, report and drift alarms are drawn from, without the store.

A worker counts each block's columns once (:meth:`Tally.of`); the counts travel in the commit record's report and can be
added in any order (:meth:`Tally.add`).  So a page about a million blocks costs the coordinator one small sum per block.

The logarithmic axes have four bins per octave whose edges lie at 1, 1.25, 1.5, 1.75 times a power of two: exactly the
upper bits of a 32-bit float (IEEE 754), so that a bin number costs one shift instead of a logarithm.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import zstandard
from numpy.typing import NDArray

from psdbatch.columns import Flag

Array = NDArray[Any]

OCTAVES, PER_OCTAVE = 16, 4
AMPLITUDES = RESIDUALS = OCTAVES * PER_OCTAVE
"""Bins of amplitude from 1 to 65,536 ADC units, and of the residual from 2**-16 to 1."""

RATIOS = 100
"""Bins of the charge ratio from 0 to 1."""

FLAGGED = (Flag.SATURATED, Flag.PILE_UP)
"""Flags that are counted per channel, in this order."""

_FORM = 2  # of the encoded text

_MOST = np.iinfo(np.uint32).max  # which no count of a block exceeds; the sum over a campaign may


def amplitude_edges() -> Array:
    """Edges of the amplitude bins (ADC units), float64, shape ``(AMPLITUDES + 1,)``."""
    return _octave_edges(0)


def residual_edges() -> Array:
    """Edges of the residual bins, float64, shape ``(RESIDUALS + 1,)``."""
    return _octave_edges(-OCTAVES)


def ratio_edges() -> Array:
    """Edges of the charge ratio bins, float64, shape ``(RATIOS + 1,)``."""
    return np.linspace(0.0, 1.0, RATIOS + 1)


@dataclass
class Tally:
    """Counts of signals.  First and last bins also hold what lies outside the axes.

    Attributes
    ----------
    psd
        int64 ``(classes + 1, AMPLITUDES, RATIOS)``: signals with a charge ratio, by class (last: without an answer),
        amplitude and charge ratio (long - short) / long.
    channel
        uint32 ``(channels,)``, ascending: board * 65,536 + channel.
    answers
        int64 ``(channels, classes + 1)``: signals by class, last: without an answer.
    flagged
        int64 ``(channels, 2)``: saturated, and with a second pulse.
    ratio
        float64 ``(channels, 3)``: number, sum and sum of squares of the charge ratio, kept within 0 and 1, of signals that have one.
    amplitude
        float64 ``(channels, 3)``: the same of the amplitude (ADC units) of these signals.
    residual
        float64 ``(channels, 3)``: the same of the quality model's residual; zeros without such a model.
    residuals
        int64 ``(channels, RESIDUALS)``: signals by residual.
    """

    psd: Array
    channel: Array
    answers: Array
    flagged: Array
    ratio: Array
    amplitude: Array
    residual: Array
    residuals: Array

    @classmethod
    def empty(cls, classes: int) -> Self:
        """Of no signals; ``classes`` is 0 for a model that does not classify."""
        return cls(
            psd=np.zeros((classes + 1, AMPLITUDES, RATIOS), np.int64),
            channel=np.zeros(0, np.uint32),
            answers=np.zeros((0, classes + 1), np.int64),
            flagged=np.zeros((0, len(FLAGGED)), np.int64),
            ratio=np.zeros((0, 3)),
            amplitude=np.zeros((0, 3)),
            residual=np.zeros((0, 3)),
            residuals=np.zeros((0, RESIDUALS), np.int64),
        )

    @classmethod
    def of(cls, columns: Mapping[str, Array], classes: int) -> Self:
        """Count the signals of a block.

        Parameters
        ----------
        columns
            The block's columns, each with one value per signal: ``board``, ``channel``, ``flags``, ``amplitude``,
            ``charge_long``, ``charge_short``; ``label`` and ``residual`` where there are such.
        classes
            Number of classes.
        """
        from psdbatch.monitor import tally_kernels as kernels  # they load a compiler, which readers of tallies need not

        channel, row = kernels.rows_of_channels(columns["board"], columns["channel"])
        tally = cls.empty(classes)
        tally._widen(channel)
        label = columns.get("label", np.zeros(len(row), np.uint8))
        flagged = np.array(FLAGGED, np.uint16)
        kernels.count_answers(row, label, columns["flags"], flagged, tally.answers, tally.flagged)
        amplitude, bits = _with_bits(columns["amplitude"])
        charges = columns["charge_long"], columns["charge_short"]
        kernels.count_shapes(row, label, amplitude, bits, *charges, tally.psd, tally.ratio, tally.amplitude)
        if "residual" in columns:
            kernels.count_residuals(row, *_with_bits(columns["residual"]), -OCTAVES, tally.residual, tally.residuals)
        return tally

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.psd) - 1

    @property
    def signals(self) -> int:
        """Signals counted."""
        return int(self.answers.sum())

    @property
    def boards(self) -> Array:
        """Board of each channel, uint32 ``(channels,)``."""
        return self.channel >> 16

    @property
    def channels(self) -> Array:
        """Each channel's number on its board, uint32 ``(channels,)``."""
        return self.channel & 0xFFFF

    def add(self, other: Tally) -> None:
        """Add the signals of another tally of the same classes."""
        self.psd += other.psd
        self._widen(other.channel)
        rows = np.searchsorted(self.channel, other.channel)
        for name in _PER_CHANNEL:
            getattr(self, name)[rows] += getattr(other, name)

    def encode(self) -> str:
        """Text for a commit record; :meth:`decode` is its inverse."""
        head = {"form": _FORM, "classes": self.classes, "channels": len(self.channel)}
        arrays = [getattr(self, entry.name) for entry in fields(self)]
        if any(array.max(initial=0) > _MOST for array in arrays if array.dtype in _NARROW):
            head["wide"] = True
        else:
            arrays = [array.astype(_NARROW.get(array.dtype, array.dtype)) for array in arrays]
        packed = zstandard.compress(b"".join(_shuffled(array) for array in arrays), 3)
        return json.dumps(head, separators=(",", ":")) + base64.b64encode(packed).decode()

    @classmethod
    def decode(cls, text: str) -> Self:
        """Tally from what :meth:`encode` made.

        Raises
        ------
        ValueError
            The text is not such a tally.
        """
        end = text.index("}") + 1
        head = json.loads(text[:end])
        if head.get("form") != _FORM:
            raise ValueError(f"a tally of form {head.get('form')}; known: {_FORM}")
        tally = cls.empty(int(head["classes"]))
        tally._widen(np.zeros(0, np.uint32), int(head["channels"]))
        try:
            raw = zstandard.decompress(base64.b64decode(text[end:]))
        except zstandard.ZstdError as error:
            raise ValueError(f"damaged: {error}") from error
        start = 0
        for entry in fields(tally):
            array = getattr(tally, entry.name)
            narrow = array.dtype if head.get("wide") else np.dtype(_NARROW.get(array.dtype, array.dtype))
            size = array.size * narrow.itemsize
            array[...] = _unshuffled(raw[start : start + size], narrow).reshape(array.shape)
            start += size
        return tally

    def _widen(self, channel: Array, rows: int | None = None) -> None:
        """Make room for more channels."""
        if rows is None and np.array_equal(channel, self.channel):
            return
        wide = np.union1d(self.channel, channel).astype(np.uint32) if rows is None else np.zeros(rows, np.uint32)
        places = np.searchsorted(wide, self.channel)
        for name in _PER_CHANNEL:
            old = getattr(self, name)
            new = np.zeros((len(wide), *old.shape[1:]), old.dtype)
            new[places] = old
            setattr(self, name, new)
        self.channel = wide


_PER_CHANNEL = tuple(entry.name for entry in fields(Tally) if entry.name not in ("psd", "channel"))
_NARROW = {np.dtype(np.int64): np.uint32}


def _with_bits(values: Array) -> tuple[Array, Array]:
    """float32 values, and the same memory as integers."""
    values = np.ascontiguousarray(values, np.float32)
    return values, values.view(np.int32)


def _octave_edges(lowest: int) -> Array:
    steps = np.arange(OCTAVES * PER_OCTAVE + 1)
    return np.exp2(lowest + steps // PER_OCTAVE) * (1 + steps % PER_OCTAVE / PER_OCTAVE)


def _shuffled(array: Array) -> bytes:
    """Bytes of equal weight side by side, as Blosc does it: most of the upper ones are zero."""
    return array.view(np.uint8).reshape(-1, array.itemsize).T.tobytes() if array.size else b""


def _unshuffled(raw: bytes, dtype: np.dtype[Any]) -> Array:
    if len(raw) % dtype.itemsize:
        raise ValueError("damaged: it ends too early")
    return np.ascontiguousarray(np.frombuffer(raw, np.uint8).reshape(dtype.itemsize, -1).T).view(dtype).reshape(-1)
