"""Where signals come from: what every kind of source offers, and which kind a configuration asks for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from numpy.typing import NDArray

from psdbatch.acquisition.index import FileIndex
from psdbatch.acquisition.signals import Signals
from psdbatch.columns import Column
from psdbatch.config.training_set import Source
from psdbatch.errors import ConfigurationError, TrainingSetError
from psdbatch.training_set.labels import ORIGINAL, Rule, make_rule
from psdbatch.wording import nearest

Array = NDArray[Any]


@dataclass(frozen=True)
class SourceFile:
    """A file of a source, or what stands for one.

    Attributes
    ----------
    path
        Absolute path; for simulated signals some words.
    run
        Name of its run.
    signals, samples, sample_dtype, sampling_period_ns, timestamp_unit, columns
        As in :class:`psdbatch.acquisition.format.Scan`; ``samples`` of the longest signal.
    state
        What the provenance says about it: size, time, format, damage.
    index
        Its index, where it is an acquisition file.
    first
        Position of its first signal in its run.
    """

    path: str
    run: str
    signals: int
    samples: int
    sample_dtype: str
    sampling_period_ns: float | None
    timestamp_unit: str
    columns: tuple[Column, ...] = ()
    state: Mapping[str, Any] = field(default_factory=dict)
    index: FileIndex | None = None
    first: int = 0


class PieceReader(ABC):
    """An open file of a source, read from its start to its end; stretches in between may be left out."""

    @abstractmethod
    def read(self, first: int, count: int) -> tuple[Signals, dict[str, Array]]:
        """Signals number ``first`` and following, and what is known of them besides.

        ``first`` never goes back.  What is returned is valid until the next call.

        Raises
        ------
        TrainingSetError, ReadError, AcquisitionFileError
            The file cannot be read, or is not what it was.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class SignalSource(ABC):
    """A source of labelled signals: its configuration, its files in order, and its rule, once :meth:`prepare` was called."""

    def __init__(self, settings: Source) -> None:
        self.settings = settings
        self.name = settings.name
        self.files: tuple[SourceFile, ...] = ()
        self.rule: Rule

    @property
    def signals(self) -> int:
        """Signals of all files, with or without a label."""
        return sum(file.signals for file in self.files)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the numbers that the source itself gives its signals, if it does."""
        return ()

    def prepare(self, classes: Sequence[str]) -> None:
        """Make the rule, and check that the files have what it needs.

        Raises
        ------
        ConfigurationError, TrainingSetError
            They have not, or the rule is wrong.
        """
        if self.settings.label.truth and not self.classes:
            raise ConfigurationError(f"source '{self.name}': 'label.truth': the source has no truth")
        self.rule = make_rule(self.name, self.settings.label, classes, self.classes)
        column = self.rule.column
        if column is None or column in ORIGINAL:
            return
        for file in self.files:
            known = {found.name: found for found in file.columns}
            if column not in known:
                names = [*known, *ORIGINAL]
                raise TrainingSetError(
                    f"{file.path}: has no column '{column}' for the labels of source '{self.name}'{nearest(column, names)}; it has {', '.join(names)}"
                )
            if known[column].shape:
                raise TrainingSetError(
                    f"{file.path}: column '{column}' has shape {known[column].shape} for each signal; a label needs one number"
                )

    @abstractmethod
    def open(self, file: SourceFile, rows: int) -> PieceReader:
        """Open ``file`` for reading at most ``rows`` signals at a time.

        Raises
        ------
        TrainingSetError, ReadError
            The file is not what it was, or cannot be opened.
        """

    @abstractmethod
    def question(self) -> dict[str, Any]:
        """What the set depends on besides the settings: states of files by path."""
