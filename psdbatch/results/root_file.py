"""A ROOT file with the TTree ``signals``, a branch per column; what columns mean lies beside it as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from psdbatch.results.table_file import Array, Table, Write, library

TREE = "signals"
DESCRIPTION = "description"
"""Name of a TObjString: JSON with provenance, runs, meanings and units."""


@contextmanager
def open_table(path: Path, table: Table) -> Iterator[Write]:
    """Write rows as long as the context lasts."""
    uproot = library("uproot")
    types = {column.name: _branch_type(column.dtype) for column in table.columns}
    with path.open("w+b") as file, uproot.recreate(file, compression=uproot.ZSTD(1)) as root:
        root[DESCRIPTION] = json.dumps(table.description)
        tree = root.mktree(TREE, types, title="signals of a psdbatch campaign")

        def write(columns: Mapping[str, Array]) -> None:
            tree.extend({name: np.ascontiguousarray(columns[name], kind) for name, kind in types.items()})

        yield write


def _branch_type(dtype: str) -> np.dtype[np.generic]:
    """ROOT knows no half precision."""
    kind = np.dtype(dtype)
    return np.dtype(np.float32) if kind == np.float16 else kind
