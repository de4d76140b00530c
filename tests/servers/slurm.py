"""SLURM on one machine: munged, slurmctld and a slurmd per node, with pretended GPUs of two kinds."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from tests.servers.processes import ServerError, free_ports, wait_until, why_not_here
from tests.servers.server import Server
from tests.servers.slurm_configuration import NODES, slurm_conf

DAEMONS = ("munged", "slurmctld", "slurmd", "setpriv")
CLIENTS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo")
FINAL_STATES = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "BOOT_FAIL")


class Slurm(Server):
    """A SLURM cluster in one directory.

    Parameters
    ----------
    directory : Path
        See `Server`.
    kill_wait : int
        Seconds between SIGTERM and SIGKILL for a cancelled, preempted or overdue job.

    Examples
    --------
    >>> with Slurm(Path("cluster")) as slurm:  # doctest: +SKIP
    ...     subprocess.run(["sbatch", "job.sh"], env={**os.environ, **slurm.environment})
    """

    name = "SLURM"

    def __init__(self, directory: Path, kill_wait: int = 5) -> None:
        super().__init__(directory)
        self.nodes = {name: node.kind for name, node in NODES.items()}
        self._kill_wait = kill_wait

    @staticmethod
    def unavailable() -> str | None:
        """Why it cannot run on this machine, or None."""
        return why_not_here([*DAEMONS, *CLIENTS])

    @property
    def environment(self) -> dict[str, str]:
        """What sbatch and the other clients need to find this cluster."""
        return {"SLURM_CONF": str(self.directory / "slurm.conf")}

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

    def cancel_all(self) -> None:
        """Cancel every job and wait until they are gone; what a job leaves behind is ended by `stop`."""
        jobs = self.jobs()
        if jobs:
            with contextlib.suppress(ServerError):  # one of them may have ended just now
                self.run("scancel", *jobs)
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

    # -- inside -----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._write_configuration()
        here, conf = self.directory, self.environment["SLURM_CONF"]
        munged = ["munged", "--foreground", f"--key-file={here / 'munge.key'}", f"--socket={here / 'munge.socket'}"]
        munged += [f"--pid-file={here / 'munged.pid'}", f"--seed-file={here / 'munge.seed'}"]
        (here / "munge.socket").unlink(missing_ok=True)
        self._launch("munged", munged)
        self._wait_up((here / "munge.socket").exists, "munged opened no socket")
        self._launch("slurmctld", ["slurmctld", "-D", "-f", conf])
        for node in self.nodes:
            self._launch(f"slurmd-{node}", ["slurmd", "-D", "-f", conf, "-N", node])
        self._wait_up(self._nodes_are_up, "not every node came up")

    def _write_configuration(self) -> None:
        for folder in ("state", "devices"):
            (self.directory / folder).mkdir(exist_ok=True)
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

    def _nodes_are_up(self) -> bool:
        states = self._node_states()
        return all(states.get(node) in ("idle", "mixed", "allocated", "drained") for node in self.nodes)

    def _node_states(self) -> dict[str, str]:
        lines = self.run("sinfo", "--noheader", "--Node", "--partition=all", "--format=%N %T").splitlines()
        return dict(line.split() for line in lines)

    def _job_field(self, job: str, field: str) -> str:
        return self.run("squeue", "--noheader", "--states=all", f"--jobs={job}", f"--format={field}").strip()

    def _is_job_of_ours(self, environment: dict[str, str]) -> bool:
        return environment.get("SLURM_CONF") == self.environment["SLURM_CONF"] and "SLURM_JOB_ID" in environment
