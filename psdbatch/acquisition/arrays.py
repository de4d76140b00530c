"""Arrays of signals from anywhere: NumPy files and Zarr stores."""

from psdbatch.acquisition.numpy_arrays import NumPyArrays
from psdbatch.acquisition.zarr_arrays import ZarrArrays

__all__ = ["NumPyArrays", "ZarrArrays"]
