"""Which failure means what for a block, and the journal that tells of them."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from psdbatch.campaign.journal import Journal
from psdbatch.coordination.failures import FailureClass, Troubles, Verdict, classify, describe
from psdbatch.errors import (
    AcquisitionFileError,
    CampaignError,
    ChangedError,
    ConfigurationError,
    ModelError,
    OutOfMemoryError,
    ReadError,
    StorageError,
    UnknownFormatError,
)
from tests.faults import Operations, operations


class KilledWorker(Exception):  # noqa: N818 - the scheduler's own name
    """As distributed names it; only the name is looked at."""


CLASSES: list[tuple[BaseException, FailureClass]] = [
    (ReadError("slow file system"), FailureClass.TRANSIENT),
    (OSError(errno.EIO, "Input/output error"), FailureClass.TRANSIENT),
    (TimeoutError(), FailureClass.TRANSIENT),
    (ConnectionResetError(), FailureClass.TRANSIENT),
    (StorageError("the server does not answer"), FailureClass.TRANSIENT),
    (StorageError("disk full", lasting=True), FailureClass.FATAL),
    (OutOfMemoryError("no room"), FailureClass.RESOURCE),
    (MemoryError(), FailureClass.RESOURCE),
    (AcquisitionFileError("bad bytes"), FailureClass.PERMANENT),
    (UnknownFormatError("not a file of ours"), FailureClass.PERMANENT),
    (ModelError("wrong input"), FailureClass.FATAL),
    (ConfigurationError("no such key"), FailureClass.FATAL),
    (CampaignError("lost shard"), FailureClass.FATAL),
    (ChangedError("another file"), FailureClass.FATAL),
    (KilledWorker(), FailureClass.UNKNOWN),
    (ZeroDivisionError(), FailureClass.UNKNOWN),
    (ValueError("a defect"), FailureClass.UNKNOWN),
]


@pytest.mark.parametrize(("error", "kind"), CLASSES, ids=lambda value: repr(value))
def test_failure_has_a_class(error: BaseException, kind: FailureClass) -> None:
    assert classify(error) is kind


def verdicts(*errors: BaseException, attempts: int = 3) -> list[Verdict]:
    troubles = Troubles()
    return [troubles.judge(error, attempts) for error in errors]


def test_transient_failure_is_tried_again_and_then_left_for_the_next_start() -> None:
    error = ReadError("slow")
    assert verdicts(error, error, error) == [Verdict.RETRY, Verdict.RETRY, Verdict.LEAVE]
    assert verdicts(error, attempts=1) == [Verdict.LEAVE]


def test_want_of_memory_never_costs_a_block() -> None:
    assert verdicts(MemoryError(), MemoryError(), attempts=2) == [Verdict.RETRY, Verdict.LEAVE]


def test_bad_bytes_are_given_up_at_once() -> None:
    assert verdicts(AcquisitionFileError("bad")) == [Verdict.QUARANTINE]


def test_what_concerns_the_campaign_stops_it_at_once() -> None:
    assert verdicts(ModelError("wrong")) == [Verdict.STOP]
    assert verdicts(StorageError("full", lasting=True)) == [Verdict.STOP]


def test_defect_is_given_up_after_all_attempts() -> None:
    error = ZeroDivisionError()
    assert verdicts(error, error, error) == [Verdict.RETRY, Verdict.RETRY, Verdict.QUARANTINE]


def test_block_is_given_up_for_deaths_only_of_workers_it_had_to_itself() -> None:
    death = KilledWorker()
    assert verdicts(death, death, death) == [Verdict.RETRY_ALONE, Verdict.RETRY_ALONE, Verdict.QUARANTINE]
    assert verdicts(death, death, attempts=1) == [Verdict.RETRY_ALONE, Verdict.QUARANTINE]


def test_block_under_suspicion_stays_alone_whatever_happens_next() -> None:
    assert verdicts(KilledWorker(), ReadError("slow"), attempts=4) == [Verdict.RETRY_ALONE, Verdict.RETRY_ALONE]
    assert verdicts(ReadError("slow"), KilledWorker(), attempts=4) == [Verdict.RETRY, Verdict.RETRY_ALONE]


def test_failures_are_noted_in_the_users_words() -> None:
    troubles = Troubles()
    for error in (ReadError("cannot be read"), ZeroDivisionError("division by zero"), KilledWorker()):
        troubles.judge(error, 9)
    assert troubles.failures == ["cannot be read", "ZeroDivisionError: division by zero", "the worker died"]
    assert troubles.deaths == 1
    assert describe(MemoryError()) == "MemoryError: "


# The journal


def test_journal_tells_events_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    assert list(journal.read()) == []
    journal.write("started", blocks=3)
    Journal(tmp_path / "journal.jsonl").write("failed", reason="Spannung fehlt µ")
    events = list(journal.read())
    assert [event["event"] for event in events] == ["started", "failed"]
    assert events[0]["blocks"] == 3
    assert events[1]["reason"] == "Spannung fehlt µ"
    assert events[0].keys() >= {"time", "host", "pid"}


def test_line_torn_by_a_crash_takes_no_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.write("first")
    whole = path.read_bytes()
    for end in range(1, len(whole)):
        path.write_bytes(whole + whole[:end])
        journal.write("after")
        events = [event["event"] for event in journal.read()]
        assert events[0] == "first"
        assert events[-1] == "after"
        assert len(events) in (2, 3)  # the torn line may have lacked nothing but its end


def test_journal_that_cannot_be_written_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Full(Operations):
        def operate(self, name: str, real: Any, *args: Any, **kwargs: Any) -> Any:
            if name == "write":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **kwargs)

    with caplog.at_level(logging.WARNING), operations(Full()):
        Journal(tmp_path / "journal.jsonl").write("started")
        Journal(tmp_path / "no-such-folder" / "journal.jsonl").write("started")
    assert "No space left" in caplog.text
    assert "No such file" in caplog.text
