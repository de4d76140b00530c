"""The page ``/psdbatch`` of the Dask dashboard, and the same numbers for Prometheus."""

PAGE = "psdbatch"
"""Name of the page, in its address and in the menu."""
