"""Comma-separated text with a line of names; for small tables and spreadsheets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from psdbatch.results.parquet_file import arrow_schema, record_batch
from psdbatch.results.table_file import Array, Table, Write, library


@contextmanager
def open_table(path: Path, table: Table) -> Iterator[Write]:
    """Write rows as long as the context lasts."""
    arrow, csv = library("pyarrow"), library("pyarrow.csv")
    schema = arrow_schema(table)
    plain = arrow.schema([arrow.field(field.name, _text(field.type)) for field in schema])
    options = csv.WriteOptions(quoting_style="needed", batch_size=65_536)
    with csv.CSVWriter(path, plain, write_options=options) as writer:

        def write(columns: Mapping[str, Array]) -> None:
            writer.write_table(arrow.Table.from_batches([record_batch(schema, table, columns)]).cast(plain))

        yield write


def _text(kind: object) -> object:
    """The type to write: pyarrow writes neither dictionaries nor half precision as text."""
    arrow = library("pyarrow")
    if arrow.types.is_dictionary(kind):
        return arrow.string()
    return arrow.float32() if arrow.types.is_float16(kind) else kind
