"""Grid Engine, in the editions that share qsub, qstat, qdel and qacct."""

from __future__ import annotations

import os
import pwd
import re
import time
from collections.abc import Collection, Iterable
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

from psdbatch.cluster.system import BatchSystem, JobEnd, JobState, QueuedJob
from psdbatch.config.cluster import JobRequest
from psdbatch.errors import BatchSystemBusyError, BatchSystemError

MOST_REASONS = 100
"""Pending jobs whose reasons are asked for; the answer has some kilobytes for each."""

FLUSH = 17.0
"""Seconds to wait for the accounting of a job; Grid Engine writes it every 15 s unless a site says otherwise."""

BEFORE_WORK = 36
"""Up to this value of 'failed' in the accounting (see sge_status(5)) a job never came to its own program."""

NOT_ASKED = "not contained in its hard queue list"
"""Part of what the scheduler says about every queue that a job did not ask for."""


class GridEngine(BatchSystem):
    """qstat, qacct, qdel, qsub."""

    kind = "sge"
    name = "Grid Engine"
    directive = "#$"
    job_variable = "JOB_ID"
    site_variables = ("SGE_ROOT", "SGE_CELL", "SGE_CLUSTER_NAME", "SGE_QMASTER_PORT", "SGE_EXECD_PORT")
    enduring = ("-r y", "-notify")
    run_again = "exit 99"
    suspension = re.compile("[sST]")  # by its owner, its queue, a threshold
    passing = (
        "commlib error",
        "unable to send message",
        "got send error",
        "failed receiving gdi",
        "timeout",
        "qmaster is not",
    )

    def ask(self, jobs: Collection[str]) -> dict[str, QueuedJob]:
        answer = self._call("qstat", "-u", _user(), "-r", "-xml")
        if answer.code:
            raise self._complain("Grid Engine cannot be asked about jobs", _words(answer.complaint))
        try:
            listed = [_queued(entry) for entry in ElementTree.fromstring(answer.output).iter("job_list")]
        except (ElementTree.ParseError, ValueError) as error:
            raise BatchSystemBusyError(f"Grid Engine's answer about jobs cannot be read: {error}") from error
        found = {job.id: job for job in listed if job.id in jobs}
        pending = [job for job in found.values() if job.state is JobState.PENDING]
        if pending:
            reasons = self._reasons([job.id for job in pending[:MOST_REASONS]])
            for job in pending:
                found[job.id] = QueuedJob(job.id, job.state, " ".join((job.reason, reasons.get(job.id, ""))).strip())
        return found

    def how_it_ended(self, jobs: Collection[str]) -> dict[str, JobEnd]:
        ends: dict[str, JobEnd] = {}
        latest = time.monotonic() + FLUSH
        while True:
            for job in jobs:
                if job not in ends and (end := self._accounted(job, latest)):
                    ends[job] = end
            if len(ends) == len(set(jobs)) or time.monotonic() > latest:
                return {job: ends.get(job, JobEnd()) for job in jobs}
            time.sleep(1.0)

    def cancel(self, jobs: Collection[str]) -> None:
        if not jobs:
            return
        answer = self._call("qdel", ",".join(jobs))
        lines = [line for line in answer.complaint.splitlines() if not _GONE.search(line)]
        if answer.code and lines:
            raise self._complain("Grid Engine does not cancel jobs", _words("\n".join(lines)))

    def interrupt(self, jobs: Collection[str]) -> None:
        self.cancel(jobs)  # '-notify' of their scripts has SIGUSR2 come first

    def submit(self, script: Path) -> str:
        answer = self._call("qsub", "-terse", str(script))
        numbers = [line.strip() for line in answer.output.splitlines() if line.strip().isdigit()]  # among warnings
        if answer.code or not numbers:
            raise self._complain(f"{script}: Grid Engine does not take this job", _words(answer.complaint))
        return numbers[-1]

    def never(self, job: QueuedJob) -> str | None:
        if job.state is JobState.PENDING and job.reason.startswith("E"):
            return f"it is in an error state ({job.reason})"
        return None

    def options(self, job: JobRequest, name: str, log: Path) -> list[str]:
        own_check = any(option.split()[0] == "-w" for option in job.options)
        path = str(log).replace("{job}", "$JOB_ID")
        return [
            f"-N {name}",
            "-S /bin/bash",
            "-j y",
            f'-o "{path}"',
            *([f"-q {job.queue}"] if job.queue else []),
            *([f"-P {job.account}"] if job.account else []),
            f"-l h_rt={int(job.walltime)}",
            *([] if own_check else ["-w e"]),  # an impossible request is refused now instead of waiting for ever
            *job.options,
        ]

    def _accounted(self, job: str, latest: float) -> JobEnd | None:
        if time.monotonic() > latest:  # at some sites qacct reads the accounting of years, for each job
            return None
        try:
            answer = self._call("qacct", "-j", job)
        except BatchSystemError:
            return None
        return _end(answer.output) if answer.code == 0 else None

    def _reasons(self, jobs: list[str]) -> dict[str, str]:
        """What the scheduler says about pending jobs; only words, so an answer that cannot be read is none."""
        try:
            answer = self._call("qstat", "-xml", "-j", ",".join(jobs))
            tree = ElementTree.fromstring(answer.output)
        except (BatchSystemError, ElementTree.ParseError):
            return {}
        said: dict[str, list[str]] = {job: [] for job in jobs}
        for details in tree.iter("djob_info"):
            for entry in details:
                errors = [text.text or "" for text in entry.iter("QIM_message")]
                said.setdefault(_text(entry, "JB_job_number"), []).extend(errors)
        for message in tree.iter("element"):
            words = message.findtext("MES_message")
            if words and NOT_ASKED in words:
                continue
            for number in message.iter("ULNG_value") if words else ():
                said.setdefault(number.text or "", []).append(words or "")
        return {job: "; ".join(dict.fromkeys(words)) for job, words in said.items()}


_GONE = re.compile(r"does not exist|already in deletion|has (registered|deleted)", re.IGNORECASE)


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return os.environ.get("USER", str(os.getuid()))


def _queued(entry: ElementTree.Element) -> QueuedJob:
    job, state = _text(entry, "JB_job_number"), _text(entry, "state")
    if "z" in state:
        return QueuedJob(job, JobState.FINISHED)
    if "q" in state or "w" in state:
        return QueuedJob(job, JobState.PENDING, state)
    started, limit = _text(entry, "JAT_start_time"), None
    for request in entry.iter("hard_request"):
        if request.get("name") == "h_rt":
            limit = _seconds(request.text or "")
    ends = datetime.fromisoformat(started).timestamp() + limit if started and limit is not None else None
    node = _text(entry, "queue_name").rpartition("@")[2]
    return QueuedJob(job, JobState.RUNNING, "" if state == "r" else state, node, ends)


def _end(account: str) -> JobEnd:
    """From the last record that qacct shows; a job that ran again has several."""
    record = dict(_pairs(account.splitlines()))
    failed, _, what = (part.strip() for part in record.get("failed", "0").partition(":"))
    status = int(record.get("exit_status", "0").split()[0])
    deleter = record.get("deleted_by", "NONE")
    if deleter not in ("NONE", ""):
        return JobEnd(f"it was cancelled by {deleter}", True)
    if failed == "37":
        if _reached_walltime(record):
            return JobEnd("its time was over (h_rt)", True)
        return JobEnd(f"it went over a limit ({what})")
    if failed == "100" and status == 137:
        return JobEnd("it was killed from outside: by qdel, or an operator (signal 9)", True)
    if failed.isdigit() and 0 < int(failed) <= BEFORE_WORK:
        return JobEnd(f"it could not be started ({what})", True)
    if status > 128:
        return JobEnd(f"it was killed by signal {status - 128}")
    if status:
        return JobEnd(f"it ended with exit code {status}")
    return JobEnd(f"it failed ({what})" if failed != "0" else "it came to its end")


def _reached_walltime(record: dict[str, str]) -> bool:
    limit = re.search(r"\bh_rt=([0-9:]+)", record.get("category", ""))
    wanted = _seconds(limit[1]) if limit else None
    took = re.match(r"[0-9.]+", record.get("ru_wallclock", ""))
    return wanted is not None and took is not None and float(took[0]) >= wanted - 1


def _pairs(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        key, _, value = line.partition(" ")
        yield key, value.strip()


def _seconds(text: str) -> float | None:
    """``"600"`` or ``"0:10:0"``; None for no limit."""
    parts = text.strip().split(":")
    if not all(part.replace(".", "", 1).isdigit() for part in parts if part):
        return None
    total = 0.0
    for part in parts:
        total = total * 60 + float(part or 0)
    return total


def _text(entry: ElementTree.Element, tag: str) -> str:
    return (entry.findtext(tag) or "").strip()


def _words(complaint: str) -> str:
    lines = [re.sub(r"^(Unable to run job: )?(error: )?", "", line) for line in complaint.splitlines()]
    return "; ".join(dict.fromkeys(line.strip() for line in lines if line.strip() not in ("", "Exiting.")))
