"""A Parquet file: row groups of a million signals, Zstandard, units and provenance in the metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from psdbatch.results.table_file import Array, Table, Write, library

FEW = 2
"""Bytes of a number up to which a column has few distinct values, so that a dictionary of them pays."""


@contextmanager
def open_table(path: Path, table: Table) -> Iterator[Write]:
    """Write rows as long as the context lasts."""
    arrow, parquet = library("pyarrow"), library("pyarrow.parquet")
    schema = arrow_schema(table)
    small = [column.name for column in table.columns if np.dtype(column.dtype).itemsize <= FEW]
    with parquet.ParquetWriter(
        path, schema, compression="zstd", compression_level=1, use_dictionary=[*small, *table.words], version="2.6"
    ) as writer:

        def write(columns: Mapping[str, Array]) -> None:
            writer.write_table(arrow.Table.from_batches([record_batch(schema, table, columns)]))

        yield write


def arrow_schema(table: Table) -> Any:
    """Columns with ``long_name`` and ``units``; the whole description as JSON under the key ``psdbatch``."""
    arrow = library("pyarrow")
    fields = [
        arrow.field(
            column.name,
            arrow.dictionary(arrow.int32(), arrow.string())
            if column.name in table.words
            else arrow.from_numpy_dtype(np.dtype(column.dtype)),
            metadata={"long_name": column.meaning, "units": column.unit},
        )
        for column in table.columns
    ]
    return arrow.schema(fields, metadata={"psdbatch": json.dumps(table.description)})


def record_batch(schema: Any, table: Table, columns: Mapping[str, Array]) -> Any:
    """Rows, without a copy where the values lie one after another."""
    arrow = library("pyarrow")
    arrays = []
    for field in schema:
        words = table.words.get(field.name)
        if words is None:
            arrays.append(arrow.array(np.ascontiguousarray(columns[field.name]), field.type))
        else:
            places = columns[field.name].astype(np.int32)
            arrays.append(arrow.DictionaryArray.from_arrays(places, arrow.array(words, arrow.string())))
    return arrow.RecordBatch.from_arrays(arrays, schema=schema)
