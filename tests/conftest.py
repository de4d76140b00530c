"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.servers.fixtures import apptainer, browser, sge, sge_server, slurm, slurm_server, ssh  # noqa: F401 - pytest finds fixtures by name

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


# Whoever starts pytest in the background has it ignore Ctrl-C, and what it starts would too.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what takes long and repeats, on other grounds, what a shorter test shows."""
    if os.environ.get("PSDBATCH_TEST_LONG"):
        return
    skip = pytest.mark.skip(reason="long: set PSDBATCH_TEST_LONG=1")
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real measured files, which may not enter the repository."""
    given = os.environ.get("PSDBATCH_SHARED_DATA")
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real data here: set PSDBATCH_SHARED_DATA to the folder that holds them")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests away from the user's cache of indexes and batch sizes."""
    monkeypatch.setenv("PSDBATCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
