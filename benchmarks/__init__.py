"""Benchmarks: ``python -m benchmarks`` prints them as tables.  None of them is a test; figures are ratios of one run."""
