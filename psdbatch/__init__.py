"""Reprocess archives of detector pulses with a frozen TensorFlow model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psdbatch.coordination.overview import open_campaign
    from psdbatch.results.reading import open_results
    from psdbatch.results.streaming import iterate
    from psdbatch.results.table import read_table

__version__ = "0.1.0"
__all__ = ["__version__", "iterate", "open_campaign", "open_results", "read_table"]

_WHERE = {
    "iterate": "psdbatch.results.streaming",
    "open_campaign": "psdbatch.coordination.overview",
    "open_results": "psdbatch.results.reading",
    "read_table": "psdbatch.results.table",
}


def __getattr__(name: str) -> Any:  # so that `import psdbatch` loads neither zarr nor xarray
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'psdbatch' has no attribute '{name}'")
