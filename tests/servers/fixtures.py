"""Fixtures of the real servers: started when the first test asks, stopped after the last.

`slurm` and `sge` give the running server and set what clients need in the environment of that test alone; the next test
finds an empty queue. Where a server is not installed the test is skipped with the reason, but fails in continuous
integration (environment variable CI=true), which installs them first.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.slurm import Slurm


def require(reason: str | None) -> None:
    """Skip, or fail in continuous integration, if there is a reason to."""
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    if reason:
        pytest.skip(reason)


def new_directory(name: str) -> Path:
    """A directory for a server: directly below the temporary one, so that paths are short and other users get there."""
    directory = Path(tempfile.mkdtemp(prefix=f"psdbatch-{name}-"))
    directory.chmod(0o755)
    return directory


@pytest.fixture(scope="session")
def slurm_server() -> Iterator[Slurm]:
    """A SLURM cluster with K80 and V100 nodes; tests find it through its `environment` only."""
    require(Slurm.unavailable())
    server = Slurm(new_directory("slurm"))
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def slurm(slurm_server: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """A SLURM cluster with empty queues that sbatch, and so dask-jobqueue, finds in this test."""
    for name, value in slurm_server.environment.items():
        monkeypatch.setenv(name, value)
    yield slurm_server
    slurm_server.reset()
