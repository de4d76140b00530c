"""A Parquet file: row groups of a million signals, Zstandard, units and provenance in the metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from psdbatch.columns import Column
from psdbatch.results.export import Array, Table, Write, library

FEW = 2
"""Bytes of a number up to which a column has few distinct values, so that a dictionary of them pays."""


@contextmanager
def open_table(path: Path, table: Table) -> Iterator[Write]:
    """Write rows as long as the context lasts."""
    arrow, parquet = library("pyarrow"), library("pyarrow.parquet")
    schema = arrow_schema(table)
    small = [column.name for column in table.columns if np.dtype(column.dtype).itemsize <= FEW]
    with parquet.ParquetWriter(
        path, schema, compression="zstd", compression_level=1, use_dictionary=[*small, "run"], version="2.6"
    ) as writer:

        def write(run: str, columns: Mapping[str, Array]) -> None:
            writer.write_table(arrow.Table.from_batches([record_batch(schema, run, columns)]))

        yield write


def arrow_schema(table: Table) -> Any:
    """Columns with ``long_name`` and ``units``; the whole description as JSON under the key ``psdbatch``."""
    arrow = library("pyarrow")
    fields = [
        arrow.field(
            column.name,
            arrow.from_numpy_dtype(_real(column)),
            metadata={"long_name": column.meaning, "units": column.unit},
        )
        for column in table.columns
    ]
    if len(table.runs) > 1:
        fields.insert(0, arrow.field("run", arrow.dictionary(arrow.int32(), arrow.string())))
    return arrow.schema(fields, metadata={"psdbatch": json.dumps(table.description)})


def record_batch(schema: Any, run: str, columns: Mapping[str, Array]) -> Any:
    """Rows of one run, without a copy where the values lie one after another."""
    arrow = library("pyarrow")
    arrays = []
    for field in schema:
        if field.name == "run" and field.name not in columns:
            rows = len(next(iter(columns.values())))
            arrays.append(arrow.DictionaryArray.from_arrays(np.zeros(rows, np.int32), [run]))
        else:
            arrays.append(arrow.array(np.ascontiguousarray(columns[field.name]), field.type))
    return arrow.RecordBatch.from_arrays(arrays, schema=schema)


def _real(column: Column) -> Any:
    return np.dtype(column.dtype)
