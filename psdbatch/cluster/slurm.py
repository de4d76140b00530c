"""SLURM."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection
from pathlib import Path

from psdbatch.cluster.system import BatchSystem, JobEnd, JobState, QueuedJob
from psdbatch.config.cluster import JobRequest
from psdbatch.errors import BatchSystemError

PENDING = {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}

# State of a finished job: what it means, and whether the job's own work had nothing to do with it.
ENDS = {
    "BOOT_FAIL": ("its node could not be started", True),
    "CANCELLED": ("it was cancelled", True),
    "COMPLETED": ("it came to its end", False),
    "DEADLINE": ("it would have passed its deadline", True),
    "FAILED": ("it failed", False),
    "NODE_FAIL": ("its node failed", True),
    "OUT_OF_MEMORY": ("it needed more memory than it asked for", False),
    "PREEMPTED": ("it was preempted by a job of higher priority", True),
    "REVOKED": ("it was moved to another cluster", True),
    "TIMEOUT": ("its time was over", True),
}

# Reasons of pending jobs that do not pass by waiting; https://slurm.schedmd.com/job_reason_codes.html.
# 'PartitionNodeLimit' and 'PartitionConfig' are not among them: they also stand for nodes that are down for now.
NEVER = {
    "AccountNotAllowed": "its account may not use the partition",
    "BadConstraints": "no node is what it asks for",
    "DeadLine": "it cannot end before its deadline",
    "DependencyNeverSatisfied": "a job it depends on did not do what it waits for",
    "InvalidAccount": "its account is not known",
    "InvalidQOS": "its QOS is not known",
    "PartitionTimeLimit": "its walltime is longer than the partition allows",
    "QOSNotAllowed": "its QOS is not allowed for the account or partition",
    "ReservationDeleted": "its reservation was deleted",
}
# Limits of one job by itself: QOSMaxWallDurationPerJobLimit, AssocMaxGRESPerNode, QOSMinCpuNotSatisfied, ...
OWN_LIMIT = re.compile(r"(QOS|Assoc)(Max\w+Per(Job(Limit)?|Node)|Min\w+)$")


class SLURM(BatchSystem):
    """squeue, sacct, scancel, sbatch."""

    kind = "slurm"
    name = "SLURM"
    directive = "#SBATCH"
    job_variable = "SLURM_JOB_ID"
    site_variables = ("SLURM_CONF", "SLURM_CLUSTERS")
    enduring = ("--requeue",)
    run_again = 'scontrol requeue "$SLURM_JOB_ID"'
    suspension = re.compile("SUSPENDED|STOPPED")
    passing = (
        "Unable to contact slurm controller",
        "Socket timed out",
        "Zero Bytes were transmitted",
        "Connection refused",
        "Connection timed out",
        "temporarily un",
        "in standby mode",
        "Transport endpoint",
        "Munge encode failed",
        "Protocol authentication error",
    )

    def ask(self, jobs: Collection[str]) -> dict[str, QueuedJob]:
        # All jobs of the user: asked for by number, one unknown job makes squeue fail.  Finished ones are listed, too,
        # for some minutes.
        lines = self._squeue("--format=%A|%T|%e|%N|%r")
        return {job.id: job for job in map(_queued, lines) if job.id in jobs}

    def how_it_ended(self, jobs: Collection[str]) -> dict[str, JobEnd]:
        ends: dict[str, JobEnd] = {}
        for question in (self._just_ended, self._accounted):  # the controller forgets soon, the accounting is late
            left = [job for job in jobs if job not in ends]
            if left:
                try:
                    ends.update(question(left))
                except BatchSystemError:
                    continue
        return {job: ends.get(job, JobEnd()) for job in jobs}

    def cancel(self, jobs: Collection[str]) -> None:
        if jobs:
            self._scancel(*jobs)

    def interrupt(self, jobs: Collection[str]) -> None:
        # 'scancel JOB' alone would signal every process of the job at once; the script's shell is to pass it on.
        if jobs:
            self._scancel("--batch", "--signal=TERM", *jobs)

    def submit(self, script: Path) -> str:
        answer = self._call("sbatch", "--parsable", str(script), environment=_outside_of_jobs())
        if answer.code:
            raise self._complain(f"{script}: SLURM does not take this job", _words(answer.complaint))
        return answer.output.strip().splitlines()[-1].partition(";")[0]

    def never(self, job: QueuedJob) -> str | None:
        if job.state is not JobState.PENDING:
            return None
        if job.reason in NEVER:
            return f"{NEVER[job.reason]} ({job.reason})"
        if OWN_LIMIT.match(job.reason):
            return f"it asks for more or less than its account or QOS allows for one job ({job.reason})"
        return None

    def options(self, job: JobRequest, name: str, log: Path) -> list[str]:
        path = str(log).replace("%", "%%").replace("{job}", "%j")
        return [
            f"--job-name={name}",
            f'--output="{path}"',
            "--open-mode=append",
            *([f"--partition={job.queue}"] if job.queue else []),
            *([f"--account={job.account}"] if job.account else []),
            "--ntasks=1",
            f"--cpus-per-task={job.cores}",
            f"--mem={math.ceil(job.memory / 2**20)}M",
            f"--time={math.ceil(job.walltime / 60)}",
            *job.options,
        ]

    def _squeue(self, shown: str) -> list[list[str]]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SQUEUE_")}  # filters
        environment |= {"SLURM_TIME_FORMAT": "%s", "LC_ALL": "C"}
        # --all: also in partitions that are hidden
        command = ("squeue", "--noheader", "--all", "--states=all", f"--user={os.getuid()}", shown)
        answer = self._call(*command, environment=environment)
        if answer.code:
            raise self._complain("SLURM cannot be asked about jobs", _words(answer.complaint))
        return [line.split("|") for line in answer.output.splitlines() if line.count("|") >= 3]

    def _just_ended(self, jobs: Collection[str]) -> dict[str, JobEnd]:
        ends = {}
        for job, state, status, reason, *_ in self._squeue("--Format=JobID:|,State:|,exit_code:|,Reason:|"):
            if job in jobs and state in ENDS:
                code = int(status) if status.isdigit() else 0  # as wait(2) gives it
                ends[job] = _end(state, code >> 8, code & 0x7F, reason)
        return ends

    def _accounted(self, jobs: Collection[str]) -> dict[str, JobEnd]:
        shown = ("--noheader", "--parsable2", "--allocations", "--format=JobIDRaw,State,ExitCode")
        answer = self._call("sacct", *shown, f"--jobs={','.join(jobs)}")
        ends = {}
        for line in answer.output.splitlines() if answer.code == 0 else []:
            job, state, exit_code = line.split("|")[:3]
            if job in jobs and state.split()[0] in ENDS:
                code, _, signal = exit_code.partition(":")
                ends[job] = _end(state, int(code or 0), int(signal or 0), "")
        return ends

    def _scancel(self, *arguments: str) -> None:
        answer = self._call("scancel", *arguments)
        lines = [line for line in answer.complaint.splitlines() if not _GONE.search(line)]
        if answer.code and lines:
            raise self._complain("SLURM does not cancel jobs", _words("\n".join(lines)))


_GONE = re.compile(r"Invalid job id|already completing or completed|already finished", re.IGNORECASE)


def _queued(fields: list[str]) -> QueuedJob:
    job, state, ends, node, *reason = fields
    words = "|".join(reason)
    if state in PENDING:
        words = "not considered yet" if words == "None" else words
        return QueuedJob(job, JobState.PENDING, words if state == "PENDING" else f"{state} {words}")
    if state in ENDS:
        return QueuedJob(job, JobState.FINISHED, state, node)
    # Everything else holds a node: RUNNING, COMPLETING, CONFIGURING, SUSPENDED, ...
    limit = float(ends) if state == "RUNNING" and ends.isdigit() else None
    return QueuedJob(job, JobState.RUNNING, "" if state == "RUNNING" else state, node, limit)


def _end(state: str, code: int, signal: int, reason: str) -> JobEnd:
    """From the state ('CANCELLED by 1000' in the accounting), exit code and signal of a finished job."""
    words, innocent = ENDS[state.split()[0]]
    if reason not in ("", "None", "NonZeroExitCode") and not reason.startswith("RaisedSignal"):
        return JobEnd(f"{words} ({state}, {reason})", innocent or state == "FAILED")  # it never came to its work
    if state == "FAILED" and code:
        return JobEnd(f"it ended with exit code {code}")
    if state == "FAILED" and signal:
        return JobEnd(f"it was killed by signal {signal}")
    return JobEnd(f"{words} ({state})", innocent)


def _outside_of_jobs() -> dict[str, str]:
    """The environment without what SLURM tells the job this runs in, which the new job would take for its own."""
    kept = set(SLURM.site_variables)
    return {key: value for key, value in os.environ.items() if not key.startswith("SLURM") or key in kept}


def _words(complaint: str) -> str:
    """What a command complains about, without its own name before each line."""
    lines = [re.sub(r"^(s\w+: )?(error|fatal): |^s\w+_?\w* error: ", "", line) for line in complaint.splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line))
