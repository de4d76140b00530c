"""Reprocess archives of detector pulses with a frozen TensorFlow model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psdbatch.results.reading import open_results

__version__ = "0.1.0"
__all__ = ["__version__", "open_results"]


def __getattr__(name: str) -> Any:  # so that `import psdbatch` loads neither zarr nor xarray
    if name == "open_results":
        from psdbatch.results.reading import open_results

        return open_results
    raise AttributeError(f"module 'psdbatch' has no attribute '{name}'")
