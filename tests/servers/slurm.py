"""SLURM on one machine: munged, slurmctld and a slurmd per node, with pretended GPUs of two kinds."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from pathlib import Path
from types import TracebackType

from tests.servers.processes import (
    MARK,
    SYSTEM_PROGRAMS,
    Daemon,
    ServerError,
    end_processes,
    free_ports,
    processes_where,
    wait_until,
    why_not_here,
)
from tests.servers.slurm_configuration import NODES, slurm_conf

DAEMONS = ("munged", "slurmctld", "slurmd", "setpriv")
CLIENTS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo")
STARTED_WITHIN = 30.0  # seconds; the last resort of a busy machine: usually less than two
FINAL_STATES = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "BOOT_FAIL")


class Slurm:
    """A SLURM cluster in one directory.

    Parameters
    ----------
    directory : Path
        Holds everything; other users may have to look into it, so not below a private folder. Kept by `stop`, and
        used again, with the jobs in it, by the next `start`.
    kill_wait : int
        Seconds between SIGTERM and SIGKILL for a cancelled, preempted or overdue job.

    Examples
    --------
    >>> with Slurm(Path("/tmp/slurm")) as slurm:  # doctest: +SKIP
    ...     subprocess.run(["sbatch", "job.sh"], env={**os.environ, **slurm.environment})
    """

    def __init__(self, directory: Path, kill_wait: int = 5) -> None:
        self.directory = directory.resolve()
        self.nodes = {name: node.kind for name, node in NODES.items()}
        self._kill_wait = kill_wait
        self._daemons: dict[str, Daemon] = {}

    @staticmethod
    def unavailable() -> str | None:
        """Why it cannot run on this machine, or None."""
        return why_not_here([*DAEMONS, *CLIENTS])

    @property
    def environment(self) -> dict[str, str]:
        """What sbatch and the other clients need to find this cluster."""
        return {"SLURM_CONF": str(self.directory / "slurm.conf")}

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start what does not run yet and wait until every node accepts jobs.

        Raises
        ------
        ServerError
            With the end of each daemon's log, if a daemon ends or a node does not report in time.
        """
        if self.running:
            return
        reason = self.unavailable()
        if reason:
            raise ServerError(f"SLURM cannot run here: {reason}")
        self._end_everything()  # of a process that used this directory before and was killed
        self._write_configuration()
        environment = {
            "PATH": SYSTEM_PROGRAMS,
            "LC_ALL": "C.UTF-8",
            MARK: str(self.directory),
            **self.environment,
        }
        for name, command in self._commands().items():
            daemon = Daemon(name, command, self.directory / "log" / f"{name}.out", environment)
            self._daemons[name] = daemon
            daemon.start()
            if name == "munged":
                wait_until(lambda: self._ended() or (self.directory / "munge.socket").exists(), STARTED_WITHIN, 0.02)
        if not wait_until(self._is_up, STARTED_WITHIN):
            self._give_up("not every node came up")

    def stop(self) -> None:
        """Cancel all jobs and end every process of this cluster; the directory stays."""
        if self.running:
            with contextlib.suppress(ServerError):  # what cannot be cancelled is ended below
                self.cancel_all()
        for name in reversed(self._daemons):
            self._daemons[name].stop()
        self._daemons = {}
        self._end_everything()

    def remove(self) -> None:
        """Stop it and delete its directory."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def running(self) -> bool:
        """Whether every daemon runs."""
        return bool(self._daemons) and all(daemon.running for daemon in self._daemons.values())

    def processes(self) -> list[int]:
        """Daemons and job processes of this cluster, whoever started it."""
        return processes_where(self._is_ours)

    def __enter__(self) -> Slurm:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- what tests do with it ----------------------------------------------------------------------------------------

    def run(self, *command: str) -> str:
        """What a client command of this cluster prints.

        Raises
        ------
        ServerError
            With its message, if it fails.
        """
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            raise ServerError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def submit(self, *options: str, command: str = "true") -> str:
        """Submit a shell command; returns the job's number."""
        return self.run("sbatch", "--parsable", "--chdir=/tmp", *options, f"--wrap={command}").strip()

    def jobs(self) -> list[str]:
        """Numbers of the jobs that wait, run or end just now."""
        return self.run("squeue", "--noheader", "--format=%A").split()

    def state(self, job: str) -> str:
        """State of a job that ended less than five minutes ago or not yet, such as PENDING."""
        return self._job_field(job, "%T")

    def reason(self, job: str) -> str:
        """Why a job waits, such as Resources."""
        return self._job_field(job, "%r")

    def node(self, job: str) -> str:
        """Where a job runs or ran; empty while it waits."""
        return self._job_field(job, "%N")

    def wait_state(self, job: str, *states: str, timeout: float = 60.0) -> str:
        """Wait until a job is in one of `states` (default: any final one); returns it."""
        wanted = states or FINAL_STATES
        if not wait_until(lambda: self.state(job) in wanted, timeout):
            raise ServerError(f"job {job} is {self.state(job)} ({self.reason(job)}) after {timeout} s, not {wanted}")
        return self.state(job)

    def wait_reason(self, job: str, timeout: float = 30.0) -> str:
        """Wait until the scheduler has looked at a waiting job; returns why it waits."""
        if not wait_until(lambda: self.reason(job) not in ("", "None"), timeout):
            raise ServerError(f"job {job} is {self.state(job)} without a reason after {timeout} s")
        return self.reason(job)

    def wait_empty(self, timeout: float = 60.0) -> None:
        """Wait until no job waits or runs."""
        if not wait_until(lambda: not self.jobs(), timeout):
            raise ServerError(f"still queued after {timeout} s:\n{self.run('squeue')}")

    def cancel_all(self) -> None:
        """Cancel every job and wait until they are gone; what a job leaves behind is ended by `stop`."""
        jobs = self.jobs()
        if jobs:
            subprocess.run(["scancel", *jobs], env={**os.environ, **self.environment}, check=False, timeout=60)
            wait_until(lambda: not self.jobs(), self._kill_wait + 10.0)

    def drain(self, node: str, reason: str = "drained by a test") -> None:
        """Let jobs on a node end and give it no new ones."""
        self.run("scontrol", "update", f"nodename={node}", "state=drain", f"reason={reason}")

    def fail(self, node: str, reason: str = "failed by a test") -> None:
        """Take a node down at once; its jobs are requeued, or end as NODE_FAIL."""
        self.run("scontrol", "update", f"nodename={node}", "state=down", f"reason={reason}")

    def resume(self, node: str) -> None:
        """Let a drained or failed node work again; nothing happens to one that works."""
        if self._node_states()[node].startswith(("drain", "down")):
            self.run("scontrol", "update", f"nodename={node}", "state=resume")
        if not wait_until(lambda: self._node_states().get(node) in ("idle", "mixed", "allocated"), 30.0):
            raise ServerError(f"{node} is {self._node_states().get(node)} 30 s after it was resumed")

    def reset(self) -> None:
        """Cancel all jobs and let every node work: the state the next test expects."""
        self.cancel_all()
        for node in self.nodes:
            self.resume(node)

    def report(self) -> str:
        """Every daemon's state and the end of its log."""
        return "\n".join(daemon.report() for daemon in self._daemons.values())

    # -- inside -------------------------------------------------------------------------------------------------------

    def _commands(self) -> dict[str, list[str]]:
        inside, conf = self.directory, self.environment["SLURM_CONF"]
        munged = ["munged", "--foreground", f"--key-file={inside / 'munge.key'}", f"--socket={inside / 'munge.socket'}"]
        munged += [f"--pid-file={inside / 'munged.pid'}", f"--seed-file={inside / 'munge.seed'}"]
        slurmd = {f"slurmd-{node}": ["slurmd", "-D", "-f", conf, "-N", node] for node in self.nodes}
        return {"munged": munged, "slurmctld": ["slurmctld", "-D", "-f", conf], **slurmd}

    def _write_configuration(self) -> None:
        for folder in ("", "log", "state", "devices"):
            (self.directory / folder).mkdir(parents=True, exist_ok=True)
            (self.directory / folder).chmod(0o755)
        key = self.directory / "munge.key"
        if not key.exists():
            key.touch(0o600)
            key.write_bytes(os.urandom(1024))
        for name, node in NODES.items():
            for number in range(node.gpus):
                device = self.directory / "devices" / f"{name}-{number}"
                if not device.is_symlink():
                    device.symlink_to("/dev/null")  # SLURM demands a device file
        # Ports are new at every start: the old ones may be somebody else's by now.
        files = slurm_conf(
            self.directory, socket.gethostname().split(".")[0], free_ports(1 + len(NODES)), self._kill_wait
        )
        for name, text in files.items():
            (self.directory / name).write_text(text)

    def _is_up(self) -> bool:
        if self._ended():
            self._give_up(f"{', '.join(self._ended())} ended at once")
        try:
            states = self._node_states()
        except ServerError:
            return False
        return all(states.get(node) in ("idle", "mixed", "allocated", "drained") for node in self.nodes)

    def _ended(self) -> list[str]:
        return [name for name, daemon in self._daemons.items() if not daemon.running]

    def _node_states(self) -> dict[str, str]:
        lines = self.run("sinfo", "--noheader", "--Node", "--partition=all", "--format=%N %T").splitlines()
        return dict(line.split() for line in lines)

    def _job_field(self, job: str, field: str) -> str:
        return self.run("squeue", "--noheader", "--states=all", f"--jobs={job}", f"--format={field}").strip()

    def _is_ours(self, environment: dict[str, str]) -> bool:
        daemon = environment.get(MARK) == str(self.directory)
        job = environment.get("SLURM_CONF") == self.environment["SLURM_CONF"] and "SLURM_JOB_ID" in environment
        return daemon or job

    def _end_everything(self) -> None:
        end_processes(self._is_ours)

    def _give_up(self, what: str) -> None:
        message = f"SLURM in {self.directory}: {what}\n{self.report()}"
        self.stop()
        raise ServerError(message)
