"""Versions that must agree between coordinator and workers, and those that are only told."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from psdbatch import __version__

REQUIRED = ("psdbatch", "dask", "distributed")
"""What coordinator and workers talk through: other versions may not understand one another."""

TOLD = ("numpy", "zarr", "numcodecs", "zstandard", "numba", "tensorflow", "tensorflow-cpu", "keras")
"""What may differ as long as the golden batch agrees: an image for an old GPU has an old TensorFlow."""


def software() -> dict[str, str]:
    """Versions of Python and of the packages that are installed here."""
    found = {"python": platform.python_version(), "psdbatch": __version__}
    for package in (*REQUIRED[1:], *TOLD):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def conflicts(here: Mapping[str, str], coordinator: Mapping[str, str]) -> list[str]:
    """What may not differ and does, for people: ``"dask 2026.8.0 here, 2026.9.1 at the coordinator"``."""
    pairs = [("Python", _minor(here.get("python")), _minor(coordinator.get("python")))]
    pairs += [(name, here.get(name, "none"), coordinator.get(name, "none")) for name in REQUIRED]
    return [f"{name} {mine} here, {other} at the coordinator" for name, mine, other in pairs if mine != other]


def differences(here: Mapping[str, str], coordinator: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """All versions that differ: here, and at the coordinator."""
    names = sorted({*here, *coordinator})
    return {name: (here.get(name), coordinator.get(name)) for name in names if here.get(name) != coordinator.get(name)}


def _minor(python: str | None) -> str:
    return ".".join((python or "none").split(".")[:2])
