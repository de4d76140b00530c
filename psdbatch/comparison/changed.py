"""The signals that changed class, written as a table while they are found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from psdbatch.columns import AMPLITUDE, BOARD, CHANNEL, CHARGE_LONG, CHARGE_SHORT, TIMESTAMP, Column, scalar
from psdbatch.comparison.agreement import Agreement
from psdbatch.comparison.errors import ComparisonError
from psdbatch.comparison.rows import NUMBER, Array, Pairs
from psdbatch.comparison.side import PROBABILITY
from psdbatch.results.export import library

SUFFIXES = (".parquet", ".csv")

TOGETHER = 65_536
"""Changed signals that are gathered before they are written."""

_COLUMNS = (TIMESTAMP, BOARD, CHANNEL, AMPLITUDE, CHARGE_LONG, CHARGE_SHORT)


class ChangedTable:
    """Parquet or CSV file of signals whose class differs; it appears under its name when it is complete.

    One row per signal: run, number in the run of A, time, board, channel, amplitude, charges, class in A and in B by name, and
    the probability of every class on each side that has it.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix not in SUFFIXES:
            raise ComparisonError(
                f"{path}: changed signals are written as .parquet or .csv; choose one of these endings"
            )
        if not path.parent.is_dir():
            raise ComparisonError(f"{path}: directory {path.parent} does not exist")
        self.path = path
        self.rows = 0
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._writer: Any = None
        self._waiting: list[Any] = []
        self._held = 0

    def open(self, agreement: Agreement, classes: tuple[Sequence[str], Sequence[str]]) -> None:
        """Fix the columns, before the first signal; ``classes`` in the order of each side's probabilities."""
        pyarrow = library("pyarrow")
        self._agreement = agreement
        self._probabilities = [
            (side, k, scalar(f"probability_{side}_{name}", "float32", f"probability of {name} in {side.upper()}"))
            for side, names in zip("ab", classes, strict=True)
            for k, name in enumerate(names)
        ]
        plain: list[Column] = [*_COLUMNS, *(column for _, _, column in self._probabilities)]
        fields = {column.name: pyarrow.from_numpy_dtype(column.dtype) for column in plain}
        word = (
            pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
            if self.path.suffix == ".parquet"
            else pyarrow.string()
        )
        identity = {name: fields.pop(name) for name in (TIMESTAMP.name, BOARD.name, CHANNEL.name)}
        shape = {name: fields.pop(name) for name in (AMPLITUDE.name, CHARGE_LONG.name, CHARGE_SHORT.name)}
        self._schema = pyarrow.schema(
            {"run": word, "signal": pyarrow.int64(), **identity, **shape, "label_a": word, "label_b": word, **fields}
        )
        self._writer = self._open_writer()

    def _open_writer(self) -> Any:
        if self.path.suffix == ".parquet":
            return library("pyarrow.parquet").ParquetWriter(self._partial, self._schema, compression="zstd")
        return library("pyarrow.csv").CSVWriter(self._partial, self._schema)

    def write(self, pairs: Pairs) -> None:
        """Append signals with an answer in both."""
        if not len(pairs.a):
            return
        pyarrow = library("pyarrow")
        words = self._agreement.classes
        label_a, label_b = self._agreement.classes_of(pairs)
        columns: dict[str, Any] = {"run": _words(pyarrow, [pairs.run], label_a * 0), "signal": pairs.a[NUMBER]}
        columns |= {column.name: pairs.a.get(column.name) for column in _COLUMNS}
        columns |= {"label_a": _words(pyarrow, words, label_a), "label_b": _words(pyarrow, words, label_b)}
        for side, k, column in self._probabilities:
            rows = pairs.a if side == "a" else pairs.b
            columns[column.name] = rows[PROBABILITY][:, k] if PROBABILITY in rows else None
        arrays = [
            pyarrow.nulls(len(pairs.a), kind.type)
            if columns[kind.name] is None
            else pyarrow.array(columns[kind.name]).cast(kind.type)
            for kind in self._schema
        ]
        self._waiting.append(pyarrow.table(arrays, schema=self._schema))
        self._held += len(pairs.a)
        self.rows += len(pairs.a)
        if self._held >= TOGETHER:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(library("pyarrow").concat_tables(self._waiting).unify_dictionaries())
        self._waiting, self._held = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if self._writer is None:
            return
        if kind is None:
            self._flush()
        self._writer.close()
        if kind is None:
            self._partial.replace(self.path)
        else:
            with suppress(OSError):
                self._partial.unlink()


def _words(pyarrow: Any, words: Sequence[str], numbers: Array) -> Any:
    return pyarrow.DictionaryArray.from_arrays(pyarrow.array(numbers.astype("int32")), pyarrow.array([*words]))
