"""Acquisition files as a source, with the truth beside them where they are simulated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from psdbatch.acquisition.index import FileIndex, open_signals
from psdbatch.acquisition.signals import Signals
from psdbatch.campaign.plan import run_name
from psdbatch.campaign.prepare import find_files, index_files
from psdbatch.config.training_set import Source
from psdbatch.errors import AcquisitionFileError, ConfigurationError, ReadError, TrainingSetError
from psdbatch.simulation.files import load_truth, truth_path
from psdbatch.simulation.scintillator import CLASS_NAMES
from psdbatch.training_set.pieces import ENERGY, TRUE_LABEL
from psdbatch.training_set.sources import PieceReader, SignalSource, SourceFile

Array = NDArray[Any]

TRUTH_ENDING = truth_path(Path("file")).name.removeprefix("file")


def source_paths(settings: Source) -> list[Path]:
    """The acquisition files of a source.

    Raises
    ------
    ConfigurationError
        Nothing matches.
    """
    try:
        paths = find_files(settings.files or ())
    except ConfigurationError as error:
        raise ConfigurationError(str(error).replace("'input.files'", f"source '{settings.name}': 'files'")) from None
    # a truth lies beside its file under a name that a pattern like 'run_1/*' also matches
    return [path for path in paths if not path.name.endswith(TRUTH_ENDING)] or paths


class FileSource(SignalSource):
    """Acquisition files by pattern."""

    def __init__(self, settings: Source, run_pattern: str) -> None:
        super().__init__(settings)
        indexes = index_files(source_paths(settings), settings.format, dict(settings.options))
        self.files = tuple(source_file(index, run_name(run_pattern, index.path)) for index in indexes)

    @property
    def classes(self) -> tuple[str, ...]:
        return CLASS_NAMES if self.settings.label.truth else ()

    def open(self, file: SourceFile, rows: int) -> PieceReader:
        columns = {self.rule.column} if self.rule.column else set()
        return FileReader(file, rows, columns, self._truth(file))

    def question(self) -> dict[str, Any]:
        states = {file.path: dict(file.state) for file in self.files}
        if not self.settings.label.truth:
            return states
        truths = [truth_path(Path(file.path)) for file in self.files]
        there = {str(path): path.stat() for path in truths if path.exists()}
        return states | {
            path: {"bytes": status.st_size, "modified_ns": status.st_mtime_ns, "format": "truth"}
            for path, status in there.items()
        }

    def _truth(self, file: SourceFile) -> dict[str, Array]:
        if not self.settings.label.truth:
            return {}
        path = truth_path(Path(file.path))
        if not path.exists():
            raise TrainingSetError(
                f"{file.path}: source '{self.name}' takes its labels from the truth of a simulation, but {path.name} is not there; give another rule in 'label'"
            )
        truth = load_truth(path)
        if len(truth) != file.signals:
            raise TrainingSetError(f"{path}: knows {len(truth):,} signals, {file.path} holds {file.signals:,}")
        return {TRUE_LABEL: truth.label, ENERGY: truth.energy}


class FileReader(PieceReader):
    """Reads an indexed acquisition file.

    Parameters
    ----------
    columns
        Extra columns to decode.
    known
        What is known of every signal of the file, arrays of ``file.signals`` values.
    """

    def __init__(self, file: SourceFile, rows: int, columns: set[str], known: Mapping[str, Array]) -> None:
        if file.index is None:
            raise AssertionError(f"{file.path} is no acquisition file")
        self._file, self._known = file, known
        changed = file.index.changed()
        if changed:
            raise TrainingSetError(f"{file.path}: {changed} since the training set was begun; start again")
        wanted = [column for column in file.columns if column.name in columns]
        self._buffer = Signals.allocate(min(rows, file.signals), file.samples, file.sample_dtype, wanted)
        try:
            self._reader = open_signals(file.index)
        except OSError as error:
            raise ReadError(f"{file.path}: cannot be opened: {error.strerror or error}") from error

    def read(self, first: int, count: int) -> tuple[Signals, dict[str, Array]]:
        out = self._buffer[:count]
        try:
            if first > self._reader.position:
                self._reader.skip(first - self._reader.position)
            filled = self._reader.read(out)
        except OSError as error:
            raise ReadError(
                f"{self._file.path}: cannot be read from signal {first:,} on: {error.strerror or error}"
            ) from error
        if filled < count:
            raise AcquisitionFileError(
                f"{self._file.path}: ends at signal {first + filled:,}, its index says {self._file.signals:,}; the file changed"
            )
        self._reader.damage.clear()  # the flags say which signals are damaged
        return out, {name: values[first : first + count] for name, values in self._known.items()}

    def close(self) -> None:
        self._reader.close()


def source_file(index: FileIndex, run: str, first: int = 0) -> SourceFile:
    """File of a source from its index; the provenance gets what a campaign's store says about a file too."""
    scan = index.scan
    state = {
        "bytes": index.size,
        "modified_ns": index.modified_ns,
        "format": index.format,
        "damaged_regions": len(scan.damage),
    }
    return SourceFile(
        index.path,
        run,
        scan.signals,
        scan.longest,
        scan.sample_dtype,
        scan.sampling_period_ns,
        scan.timestamp_unit,
        scan.columns,
        state,
        index,
        first,
    )
