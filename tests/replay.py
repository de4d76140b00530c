"""Batch systems' commands that say again what real ones have said."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

Replay = Callable[..., Path]


@pytest.fixture
def replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replay:
    """Make a command on the PATH that prints what was captured; what it was called with comes back in a file.

    Captured from SLURM 22.05.8 and Grid Engine 8.1.9 unless a test says otherwise.
    """
    folder = tmp_path / "commands"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def make(command: str, output: str = "", complaint: str = "", code: int = 0) -> Path:
        asked = folder / f"{command}.asked"
        script = folder / command
        script.write_text(
            f'#!/bin/sh\n{{ echo "$@"; env; }} > {shlex.quote(str(asked))}\n'
            f"printf %s {shlex.quote(output)}\nprintf %s {shlex.quote(complaint)} >&2\nexit {code}\n"
        )
        script.chmod(0o755)
        return asked

    return make
