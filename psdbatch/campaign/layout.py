"""How the configuration cuts the store into shards and chunks."""

from __future__ import annotations

from psdbatch.config import Processing, Results
from psdbatch.errors import ConfigurationError
from psdbatch.results.store import Layout


def store_layout(processing: Processing, results: Results) -> Layout:
    """How the store is cut.

    Raises
    ------
    ConfigurationError
        A block is not a whole number of chunks.
    """
    chunk = min(results.chunk, processing.block)
    if processing.block % chunk:
        raise ConfigurationError(
            f"'processing.block' ({processing.block:,}) must be a multiple of 'results.chunk' ({results.chunk:,})"
        )
    return Layout(processing.block, chunk, results.compression_level)
