"""The page ``/psdbatch`` of the Dask dashboard, and the same numbers for Prometheus."""
