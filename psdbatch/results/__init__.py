"""The Zarr layout of results: create, write, open, verify."""
