"""What an acquisition format provides: recognise, scan, read, and where it can, write.

A format is a class derived from :class:`AcquisitionFormat`, found through the entry-point group ``psdbatch.formats``,
so that a laboratory adds its own without touching this package.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from psdbatch.acquisition.bytesource import ByteSource
from psdbatch.acquisition.signals import Signals
from psdbatch.columns import Column


class FormatOptions(BaseModel):
    """Base of a format's options, the ``[input.options]`` table; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Damage:
    """A region of an acquisition file that cannot be trusted.

    Attributes
    ----------
    offset, bytes
        Where in the (decompressed) file, and how much of it.
    first, signals
        Number of the first signal concerned and how many places are kept for it; ``signals`` is 0 where the bytes
        do not say how many signals were lost (a truncated tail, garbage between frames).
    reason
        One clause for people.
    """

    offset: int
    bytes: int
    first: int
    signals: int
    reason: str


@dataclass(frozen=True)
class Scan:
    """What one pass over the headers of a file found.

    Attributes
    ----------
    signals
        Exact number of signals that :class:`SignalReader` will deliver, damaged ones with a place included.
    sample_dtype
        dtype of the samples delivered.
    shortest, longest
        Fewest and most samples of a signal.
    timestamp_unit
        For example ``"10 ns"``.
    sampling_period_ns
        Time between two samples in nanoseconds where the file says so, else None.
    columns
        Extra columns the file holds.
    cuts
        ``(signal, offset)`` pairs, ascending, the first one ``(0, offset of the first signal)``: reading may start at
        byte ``offset`` of the decompressed file, where signal number ``signal`` is the next one.
    damage
        Regions found damaged, in order.
    """

    signals: int
    sample_dtype: str
    shortest: int
    longest: int
    timestamp_unit: str
    sampling_period_ns: float | None = None
    columns: tuple[Column, ...] = ()
    cuts: tuple[tuple[int, int], ...] = ((0, 0),)
    damage: tuple[Damage, ...] = ()


class SignalReader(ABC):
    """An open acquisition file, positioned at a signal.

    ``position`` is the number of the next signal.  ``damage`` collects what was found damaged while reading, with the
    numbers of the signals concerned; whoever reads takes the entries out.
    """

    def __init__(self, position: int) -> None:
        self.position = position
        self.damage: list[Damage] = []

    @abstractmethod
    def read(self, out: Signals) -> int:
        """Fill ``out[:n]`` with the next ``n = min(len(out), signals left)`` signals and return ``n``.

        Samples beyond ``out.samples.shape[1]`` are dropped; shorter signals are padded with their last sample.  A damaged signal
        keeps its place: samples 0, ``Flag.DAMAGED`` set.  ``flags`` and all columns of the filled part are written
        completely, so ``out`` may be reused.  Extra columns absent from ``out.extra`` are not decoded.

        Raises
        ------
        AcquisitionFileError
            The file no longer holds what its index promises.
        OSError
            The file system failed; reading may be tried again.
        """

    @abstractmethod
    def skip(self, count: int) -> None:
        """Pass over ``count`` signals (cheaper than reading them where the format allows it)."""

    @abstractmethod
    def close(self) -> None:
        """Release the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class SignalWriter(ABC):
    """A new acquisition file; signals are appended in order.  Closing makes it complete."""

    @abstractmethod
    def write(self, signals: Signals) -> None:
        """Append all of ``signals``."""

    @abstractmethod
    def close(self) -> None:
        """Write what is buffered and close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass(frozen=True)
class WriterSettings:
    """What a writer must know before the first signal.

    ``samples`` per signal at most, their ``dtype``, the unit of ``timestamp``, the sampling period, the extra columns
    that will be given, and the format's own options.
    """

    samples: int
    sample_dtype: str
    timestamp_unit: str
    sampling_period_ns: float | None = None
    columns: tuple[Column, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


class AcquisitionFormat(ABC):
    """One file format.  Instances hold the options only; they are cheap and carry no open file.

    ``stores_flags`` says whether files written in this format keep the ``flags`` column.
    """

    name: ClassVar[str]
    stores_flags: ClassVar[bool] = False
    Options: ClassVar[type[FormatOptions]] = FormatOptions

    def __init__(self, options: FormatOptions | None = None) -> None:
        self.options: Any = options or self.Options()

    @classmethod
    @abstractmethod
    def recognises(cls, head: bytes, path: Path) -> bool:
        """Whether ``head``, the first 64 kB of the decompressed file (empty for a directory), is in this format."""

    @abstractmethod
    def scan(self, source: ByteSource) -> Scan:
        """One pass over the headers.  Damage is reported in the result, never raised.

        Raises
        ------
        AcquisitionFileError
            Not one signal can be found, or the file is not in this format at all.
        """

    @abstractmethod
    def reader(self, source: ByteSource, scan: Scan, first: int = 0) -> SignalReader:
        """Open the file so that signal number ``first`` is the next one."""

    @classmethod
    def writer_options(cls) -> type[FormatOptions] | None:
        """Options that :meth:`writer` finds in its settings; None where the format is only read."""
        return None

    @classmethod
    def writer(cls, path: Path, settings: WriterSettings) -> SignalWriter:
        """New file in this format.

        Raises
        ------
        ConfigurationError
            The format cannot be written, or not with these settings.
        """
        from psdbatch.errors import ConfigurationError

        raise ConfigurationError(f"{path}: format '{cls.name}' can be read but not written; choose another --format")
