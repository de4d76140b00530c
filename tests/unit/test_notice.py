"""The notice that a coordinator's time is nearly over."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from psdbatch.coordination.notice import PATIENCE, SIGNAL, Notice, heeded_notice


def test_the_signal_gives_notice_inside_the_context_only(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    before = signal.signal(SIGNAL, lambda number, _: heard.append(number))
    monkeypatch.setenv(PATIENCE, "1000")
    try:
        with heeded_notice() as notice:
            assert not notice.given()
            os.kill(os.getpid(), SIGNAL)
            assert notice.given()
            assert not notice.over()
        assert not heard
        os.kill(os.getpid(), SIGNAL)
        assert heard == [SIGNAL]
    finally:
        signal.signal(SIGNAL, before)


def test_patience_counts_from_the_first_notice() -> None:
    notice = Notice(patience=-1.0)
    assert not notice.over()
    notice.give()
    assert notice.over()


def test_another_thread_than_the_main_one_hears_no_signal() -> None:
    given: list[bool] = []

    def work() -> None:
        with heeded_notice() as notice:
            given.append(notice.given())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert given == [False]
