"""Grid Engine on one machine: qmaster and execd, with queues of two pretended kinds of GPUs."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from pathlib import Path
from xml.etree import ElementTree

from tests.servers import sge_configuration as configuration
from tests.servers.processes import FIRST_PORT, ServerError, end_of, free_ports, wait_until, why_not_here
from tests.servers.server import Server

PROGRAMS = ("sge_qmaster", "sge_execd", "sge_shepherd", "qconf", "qsub", "qstat", "qdel", "qmod", "spooldefaults.bin")

_instances = itertools.count()


class GridEngine(Server):
    """A Grid Engine cell in one directory.

    Its kinds of GPUs are queues: `mc_gpu_long_K80` and `mc_gpu_long_V100` stand behind `mc_gpu_long`.

    Parameters
    ----------
    directory : Path
        See `Server`.
    """

    name = "Grid Engine"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._ports = free_ports(2)
        self._number = next(_instances)

    @staticmethod
    def unavailable() -> str | None:
        """Why it cannot run on this machine, or None."""
        return why_not_here([*PROGRAMS, "setpriv"], configuration.PROGRAMS)

    @property
    def environment(self) -> dict[str, str]:
        """What qsub and the other commands need to find this cell; PATH puts them before Debian's wrappers."""
        return {
            "SGE_ROOT": str(self.directory / "root"),
            "SGE_CELL": "default",
            "SGE_CLUSTER_NAME": "psdbatch",
            "SGE_QMASTER_PORT": str(self._ports[0]),
            "SGE_EXECD_PORT": str(self._ports[1]),
            "PATH": f"{configuration.PROGRAMS}:{os.environ['PATH']}",
        }

    def submit(self, *options: str, command: str = "true") -> str:
        """Submit a shell command, refused if it can never run; returns the job's number."""
        fixed = ("-terse", "-w", "e", "-j", "y", "-o", "/dev/null", "-wd", "/tmp", "-S", "/bin/sh")
        script = self.directory / "submitted.sh"  # qsub copies it
        script.write_text(f"{command}\n")
        return self.run("qsub", *fixed, *options, str(script)).split()[-1]

    def jobs(self) -> list[str]:
        """Numbers of the jobs that wait, run or end just now."""
        return [job for job, _, _ in self._queue()]

    def state(self, job: str) -> str:
        """State as qstat shows it, such as qw, r, Eqw; empty when the job has gone."""
        return next((state for number, state, _ in self._queue() if number == job), "")

    def queue(self, job: str) -> str:
        """Queue in which a job runs, without the host; empty while it waits."""
        return next((queue.partition("@")[0] for number, _, queue in self._queue() if number == job), "")

    def wait_state(self, job: str, *states: str, timeout: float = 60.0) -> str:
        """Wait until a job is in one of `states` (default: gone); returns it."""
        wanted = states or ("",)
        if not wait_until(lambda: self.state(job) in wanted, timeout):
            raise ServerError(f"job {job} is {self.state(job)} after {timeout} s, not {wanted}")
        return self.state(job)

    def wait_reason(self, job: str, timeout: float = 30.0) -> str:
        """Wait until the scheduler has said why a job waits; returns what it said."""

        def reason() -> str:
            return self.run("qstat", "-j", job).partition("scheduling info:")[2].strip()

        if not wait_until(lambda: bool(reason()), timeout):
            raise ServerError(f"job {job} is {self.state(job)} without a reason after {timeout} s")
        return reason()

    def cancel_all(self) -> None:
        """Delete every job and wait until they are gone; what a job leaves behind is ended by `stop`."""
        jobs = self.jobs()
        if jobs:
            with contextlib.suppress(ServerError):  # one of them may have ended just now
                self.run("qdel", ",".join(jobs))
            wait_until(lambda: not self.jobs(), 20.0)

    def drain(self, queue: str) -> None:
        """Let jobs of a queue end and give it no new ones; a pattern such as '*_K80' means several."""
        self.run("qmod", "-d", queue)

    def resume(self, queue: str = "*") -> None:
        """Let drained queues work again."""
        self.run("qmod", "-e", queue)

    def reset(self) -> None:
        """Delete all jobs and let every queue work: the state the next test expects."""
        self.cancel_all()
        self.resume()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        new = not (self.directory / "configured").exists()
        self._ports = free_ports(2)  # the old ones may be somebody else's by now
        self._write_configuration(new)
        self._launch_daemon("sge_qmaster")
        self._wait_up(lambda: bool(self.run("qconf", "-sh")), "qmaster does not answer")
        if new:
            self._configure()
            (self.directory / "configured").touch()
        self._launch_daemon("sge_execd")
        self._wait_up(self._queues_are_up, "execd does not report to qmaster")

    def _launch_daemon(self, name: str) -> None:
        # SGE_ND keeps it in the foreground. All is on disk at any time, and qmaster waits long for clients to leave.
        program = f"{configuration.PROGRAMS}/{name}"
        self._launch(name, [program], patience=1.0, SGE_ND="true", LD_LIBRARY_PATH=configuration.PROGRAMS)

    def _write_configuration(self, new: bool) -> None:
        root, spool, host = self.directory / "root", self.directory / "spool", socket.gethostname()
        common = root / "default" / "common"
        for folder in (common, spool / "qmaster" / "job_scripts", spool / "execd"):
            folder.mkdir(parents=True, exist_ok=True)
        (common / "bootstrap").write_text(configuration.bootstrap(root, spool))
        (common / "act_qmaster").write_text(f"{host}\n")
        # The address of the machine's name often belongs to "localhost" too: one machine.
        (common / "host_aliases").write_text(f"{host} localhost\n")
        (common / "cluster_name").write_text("psdbatch\n")
        verifier = self.directory / "kind_of_gpu.sh"
        verifier.write_text(configuration.verifier())
        verifier.chmod(0o755)
        (common / "sge_request").write_text(f"-jsv script:{verifier}\n")
        if not new:
            return
        (root / "util").symlink_to(configuration.SHARED / "util")
        architecture = self.run(str(root / "util" / "arch")).strip()
        for name in ("bin", "lib", "utilbin"):
            (root / name).mkdir()
            (root / name / architecture).symlink_to(configuration.PROGRAMS)
        # three hundred for each process of parallel tests, a hundred for each Grid Engine in it
        groups = 20_000 + (self._ports[0] - FIRST_PORT) // 100 * 300 + self._number % 3 * 100
        conf = self.directory / "configuration"
        conf.write_text(configuration.global_configuration(spool, groups))
        resources = configuration.SHARED / "util" / "resources"
        self.run("spoolinit", "classic", "libspoolc", f"{common};{spool}/qmaster", "init")
        parts = {"configuration": str(conf), "complexes": f"{resources}/centry", "usersets": f"{resources}/usersets"}
        for part, value in {**parts, "managers": "root"}.items():
            self.run("spooldefaults", part, value)

    def report(self) -> str:
        """Every daemon's state and the ends of the logs."""
        logs = sorted((self.directory / "spool").glob("**/messages"))
        return "\n".join([super().report(), *(end_of(log) for log in logs)])

    def _configure(self) -> None:
        host = socket.gethostname()
        self._qconf("-Msconf", configuration.scheduler(self.run("qconf", "-ssconf")))
        self._qconf("-Mc", configuration.complexes(self.run("qconf", "-sc")))
        with contextlib.suppress(ServerError):  # "already exists" of hosts that Grid Engine knows by itself
            self.run("qconf", "-ah", host)
        self.run("qconf", "-as", host)
        self._qconf("-Ae", configuration.host_file(host))
        for project in configuration.PROJECTS:
            self._qconf("-Aprj", configuration.project_file(project))
        for name in configuration.PARALLEL_ENVIRONMENTS:
            self._qconf("-Ap", configuration.environment_file(name))
        for queue in configuration.queues():
            self._qconf("-Aq", configuration.queue_file(queue, host))

    def _qconf(self, option: str, text: str) -> None:
        file = self.directory / "qconf"
        file.write_text(text)
        self.run("qconf", option, str(file))

    def _queues_are_up(self) -> bool:
        states = [line.split() for line in self.run("qstat", "-f").splitlines() if "@" in line]
        # name, type, slots, load, architecture, and a sixth column if something is wrong
        ready = [columns for columns in states if len(columns) == 5 and columns[3] != "-NA-"]
        return len(ready) == len(configuration.queues())

    def _queue(self) -> list[tuple[str, str, str]]:
        answer = ElementTree.fromstring(self.run("qstat", "-u", "*", "-xml"))
        return [
            (job.findtext("JB_job_number", ""), job.findtext("state", ""), job.findtext("queue_name") or "")
            for job in answer.iter("job_list")
        ]

    def _is_job_of_ours(self, environment: dict[str, str]) -> bool:
        return environment.get("SGE_ROOT") == self.environment["SGE_ROOT"] and "JOB_ID" in environment
