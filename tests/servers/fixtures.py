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

from tests.servers import container
from tests.servers.browser import Browser
from tests.servers.server import Server
from tests.servers.sge import GridEngine
from tests.servers.slurm import Slurm
from tests.servers.ssh import SshServer


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


def session_of(server: Server) -> Iterator[Server]:
    """Start a server, and remove it after the last test."""
    try:
        server.start()
        yield server
    finally:
        server.remove()


def visible(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands of one test find a server."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def slurm_server() -> Iterator[Server]:
    """A SLURM cluster with K80 and V100 nodes; commands find it through its `environment` only."""
    require(Slurm.unavailable())
    yield from session_of(Slurm(new_directory("slurm")))


@pytest.fixture
def slurm(slurm_server: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """A SLURM cluster with empty queues that sbatch, and so dask-jobqueue, finds in this test."""
    visible(slurm_server, monkeypatch)
    yield slurm_server
    slurm_server.reset()


@pytest.fixture(scope="session")
def sge_server() -> Iterator[Server]:
    """A Grid Engine with queues of K80s and V100s; commands find it through its `environment` only."""
    require(GridEngine.unavailable())
    yield from session_of(GridEngine(new_directory("sge")))


@pytest.fixture
def sge(sge_server: GridEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[GridEngine]:
    """A Grid Engine with empty queues that qsub, and so dask-jobqueue, finds in this test."""
    visible(sge_server, monkeypatch)
    yield sge_server
    sge_server.reset()


@pytest.fixture(scope="session")
def apptainer() -> Path:
    """The program apptainer, or singularity."""
    require(container.unavailable())
    program = container.runtime()
    assert program is not None
    return program


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    require(Browser.unavailable())
    window = Browser()
    yield window
    window.close()


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[SshServer]:
    """An SSH server on the loopback interface."""
    require(SshServer.unavailable())
    server = SshServer(tmp_path)
    try:
        server.start()
        yield server
    finally:
        server.stop()
