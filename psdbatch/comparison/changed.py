"""The signals that changed class, written as a table while they are found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from psdbatch import __version__
from psdbatch.columns import IDENTITY, SHAPE, Column, scalar
from psdbatch.comparison.agreement import Agreement
from psdbatch.comparison.rows import NUMBER, Array, Pairs, Rows
from psdbatch.comparison.side import PROBABILITY, CampaignAnswers, Side
from psdbatch.results.contents import NUMBER as SIGNAL
from psdbatch.results.contents import RUN, RUN_COLUMN, Quantity
from psdbatch.results.table_file import Table, Write, table_file

TOGETHER = 262_144
"""Changed signals that are gathered before they are written."""

SIGNAL_A = replace(SIGNAL, meaning="number of the signal in the run of A, from 0")
SIGNAL_B = replace(SIGNAL, name="signal_b", meaning="number of the signal in the run of B, from 0")
LABEL_A, LABEL_B = (scalar(f"label_{side.lower()}", "uint16", f"class in {side}") for side in "AB")

WriteChanged = Callable[[Pairs], None]


@contextmanager
def open_changed(
    path: Path, agreement: Agreement, a: Side, b: Side, facts: Mapping[str, object]
) -> Iterator[WriteChanged]:
    """A file, in any format of ``psdbatch export``, that takes signals with another class; it appears when it is complete.

    One row per signal: run, numbers in the runs of A and B, time, board, channel, amplitude, charges, classes by name, and
    the probability of every class on each side that has it.  ``facts`` go into its description.

    Raises
    ------
    ConfigurationError, StorageError
        As :func:`psdbatch.results.table_file.table_file` and what that gives; before anything is compared, if possible.
    """
    file = table_file(path, a.contents.store, b.contents.store)
    columns = _Columns(agreement, a, b)
    words = {RUN: columns.runs, LABEL_A.name: agreement.classes, LABEL_B.name: agreement.classes}
    provenance = {
        "creator": f"psdbatch {__version__}",
        **facts,
        "a": a.contents.attributes,
        "b": b.contents.attributes,
        "runs": list(columns.runs),
    }
    with file.open(Table(columns.declared, provenance, words)) as write:
        gathered = _Gathered(write)

        def write_changed(pairs: Pairs) -> None:
            if len(pairs.a):
                gathered.add(columns.of(pairs))

        yield write_changed
        gathered.flush()


class _Columns:
    """The columns of the table, from rows of both sides."""

    def __init__(self, agreement: Agreement, a: Side, b: Side) -> None:
        self._agreement = agreement
        self.runs = tuple(run.name for run in a.contents.runs)
        known = a.contents.columns
        self._stored = [known[column.name] for column in (*IDENTITY, *SHAPE) if column.name in known]
        self._probabilities = [_probabilities(side, letter) for side, letter in ((a, "a"), (b, "b"))]
        probabilities = [column for side in self._probabilities for column, _ in side]
        self.declared = (RUN_COLUMN, SIGNAL_A, SIGNAL_B, *self._stored, LABEL_A, LABEL_B, *probabilities)

    def of(self, pairs: Pairs) -> dict[str, Array]:
        """By name, as declared."""
        a, b = pairs.a, pairs.b
        label_a, label_b = self._agreement.classes_of(pairs)
        found = {
            RUN: np.full(len(a), self.runs.index(pairs.run)),
            SIGNAL_A.name: a[NUMBER],
            SIGNAL_B.name: b[NUMBER],
            LABEL_A.name: label_a,
            LABEL_B.name: label_b,
        }
        found |= {column.name: _stored(a, column) for column in self._stored}
        for rows, side in zip((a, b), self._probabilities, strict=True):
            for column, quantity in side:
                known = {PROBABILITY: rows[PROBABILITY]} if PROBABILITY in rows else None
                found[column.name] = quantity.compute(known) if known else _absent(column, len(rows))
        return {column.name: found[column.name].astype(column.dtype, copy=False) for column in self.declared}


class _Gathered:
    """Rows that wait until there are enough to be written."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._parts: list[dict[str, Array]] = []
        self._rows = 0

    def add(self, columns: dict[str, Array]) -> None:
        self._parts.append(columns)
        self._rows += len(columns[RUN])
        if self._rows >= TOGETHER:
            self.flush()

    def flush(self) -> None:
        if self._parts:
            self._write({name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]})
        self._parts, self._rows = [], 0


def _probabilities(side: Side, letter: str) -> list[tuple[Column, Quantity]]:
    """Probability of each class of a campaign's own model, named as exports do, with the letter of the side."""
    if not isinstance(side.answers, CampaignAnswers) or PROBABILITY not in side.contents.columns:
        return []
    return [
        (
            replace(
                found.column,
                name=found.name.replace(PROBABILITY, f"{PROBABILITY}_{letter}", 1),
                meaning=f"{found.column.meaning}, in {letter.upper()}",
            ),
            found,
        )
        for found in side.contents.numbers(PROBABILITY)
    ]


def _stored(rows: Rows, column: Column) -> Array:
    values = rows.get(column.name)
    return _absent(column, len(rows)) if values is None else values


def _absent(column: Column, rows: int) -> Array:
    return np.full(rows, column.fill_value(), column.dtype)
