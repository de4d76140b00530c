"""The progress line: what it counts, and that a log stays a log."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from psdbatch.monitor.progress import Progress
from psdbatch.wording import duration, quantity


def test_a_log_gets_plain_lines_without_control_characters() -> None:
    text = io.StringIO()
    progress = Progress(Console(file=text, force_terminal=False, width=200))
    progress.begin(total=3_000, done=1_000)
    with progress:
        progress.advance(1_000, 900)
        progress.failed("disk on fire")
    said = text.getvalue()
    assert "disk on fire" in said
    assert "2,000 of 3,000 signals" in said
    assert "1 failed attempts, 100 signals refused" in said
    assert "\x1b" not in said


def test_the_pace_counts_from_the_first_commit_of_this_pass() -> None:
    progress = Progress(Console(file=io.StringIO(), width=200))
    progress.begin(total=4_000, done=1_000)
    assert "starting" in progress.line()
    progress.advance(1_000, 1_000)
    assert "measuring the pace" in progress.line()
    progress.advance(1_000, 1_000)
    assert "left" in progress.line()


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")  # a dumb one gets lines
    text = io.StringIO()
    progress = Progress(Console(file=text, force_terminal=True, width=120))
    with progress:
        progress.begin(total=2_000, done=0)
        progress.advance(1_000, 1_000)
    assert "50.0 %" in text.getvalue()


def test_quantities_and_durations_read_as_people_write_them() -> None:
    assert quantity(2_100_000, "signals/s") == "2.1 M signals/s"
    assert quantity(2_100_000, "B") == "2.1 MB"
    assert [duration(value) for value in (3.2, 45, 200, 7_500, 200_000)] == [
        "3.2 s",
        "45 s",
        "3 min 20 s",
        "2 h 05 min",
        "2.3 days",
    ]
