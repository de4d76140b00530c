"""One coordinator at a time: two would do all work twice, although no result would be wrong.

The files in ``coordinators/`` are numbered, and whoever links the next number is the coordinator: ``link`` is atomic on
network file systems, too, where locks of other kinds are not.  A coordinator touches its file while it lives.  One that
died without a word is succeeded as soon as its death is certain: its process or its job is gone, or its file was not
touched for minutes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from psdbatch.campaign import files
from psdbatch.campaign.coordinated import CoordinatedDirectory
from psdbatch.cluster.system import JobState
from psdbatch.cluster.systems import batch_system, own_job
from psdbatch.config.cluster import System
from psdbatch.errors import BatchSystemError, CampaignError
from psdbatch.wording import duration

logger = logging.getLogger(__name__)

BEAT = 20.0
"""Seconds between two touches of the file."""

SILENCE = 180.0
"""Seconds without a touch after which a coordinator counts as dead; network file systems show times a minute late."""


@dataclass(frozen=True)
class Coordinator:
    """A process that coordinates a campaign.

    Attributes
    ----------
    host, pid, user
        Where it runs, and as whom.
    machine
        The kernel that its ``pid`` belongs to: a boot of a machine, and a namespace of processes.
    started
        Start of the process in the kernel's clock ticks; a number used again belongs to another process.
    system, job
        The batch job that it is part of, if any.
    token
        Tells two coordinators apart.
    released
        Whether it has ended in order.
    """

    host: str
    pid: int
    user: int
    machine: str
    started: int
    system: System | None
    job: str | None
    token: str
    released: bool = False

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        return f"process {self.pid} on {self.host}{job}"

    @property
    def is_here(self) -> bool:
        """Whether its process can be seen from this one."""
        return bool(self.machine) and self.machine == _machine()

    @property
    def is_alive_here(self) -> bool:
        """Whether it runs on this machine."""
        return self.is_here and _start_of(self.pid) == self.started


@contextmanager
def hold(directory: CoordinatedDirectory, patience: float | None = None) -> Iterator[Coordinator]:
    """Be the campaign's coordinator.

    Parameters
    ----------
    directory
        The campaign; must be there.
    patience
        Seconds to wait for another coordinator's end.  Default: none at a terminal; in a batch job, long enough for a
        predecessor's death to become certain.

    Raises
    ------
    CampaignError
        Another one is at work.
    """
    if patience is None:
        patience = SILENCE + 2 * BEAT if own_job() else 0.0
    me = _myself()
    path = _take(directory, me, time.monotonic() + patience)
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(path, ended), name="coordinator's lock", daemon=True)
    beating.start()
    try:
        yield me
    finally:
        ended.set()
        beating.join(BEAT)
        with contextlib.suppress(OSError):  # a full disk: the next one finds this process gone
            if path.exists():
                files.replace_durably(path, _content(replace(me, released=True)))


def current(directory: CoordinatedDirectory) -> Coordinator | None:
    """The coordinator that is at work, as far as is known here; None if there is none."""
    _, holder, age = _latest(directory)
    return None if holder is None or _is_over(holder, age) else holder


def _take(directory: CoordinatedDirectory, me: Coordinator, latest: float) -> Path:
    files.make_below(directory.path, directory.coordinators.name)
    mine = directory.coordinators / f".{me.token}"
    files.write_durably(mine, [_content(me)])
    try:
        waited = False
        while True:
            number, holder, age = _latest(directory, mine)
            if holder is not None and not _is_over(holder, age):
                if time.monotonic() >= latest:
                    raise CampaignError(
                        f"{directory.path}: is being run by {holder}, last sign of life {duration(max(age, 0))} ago; "
                        f"'psdbatch cancel {directory.path}' stops it"
                    )
                if not waited:
                    logger.warning("waiting for the end of another coordinator: %s", holder)
                waited = True
                time.sleep(2.0)
                continue
            path = directory.coordinators / f"{number + 1:06d}.json"
            if files.link_once(mine, path):
                if holder is not None and not holder.released:
                    logger.warning("succeeds a coordinator that died: %s", holder)
                for old in directory.coordinators.glob("[0-9]*.json"):
                    if old < path:
                        files.remove_file(old)
                return path
    finally:
        files.remove_file(mine)


def _latest(directory: CoordinatedDirectory, mine: Path | None = None) -> tuple[int, Coordinator | None, float]:
    """Number of the last coordinator's file, what it says, and seconds since it was touched by the file system's clock."""
    paths = sorted(directory.coordinators.glob("[0-9]*.json"))
    if not paths:
        return 0, None, 0.0
    path = paths[-1]
    try:
        holder = Coordinator(**json.loads(path.read_bytes()))
        if mine is None:
            now = time.time()
        else:
            os.utime(mine)  # clocks of hosts differ
            now = mine.stat().st_mtime
        return int(path.stem), holder, now - path.stat().st_mtime
    except FileNotFoundError:  # a successor removed it in this moment
        return _latest(directory, mine)
    except (ValueError, TypeError) as error:
        raise CampaignError(f"{path}: is damaged; remove it if no coordinator runs: {error}") from error


def _is_over(holder: Coordinator, age: float) -> bool:
    """Whether a coordinator is certainly not at work any more."""
    if holder.released:
        return True
    if holder.is_here:
        return not holder.is_alive_here
    if age > SILENCE:
        return True
    if holder.job is None or holder.system is None:
        return False
    if own_job() == (holder.system, holder.job):  # this job, run again after its node failed
        return _is_rerun()
    if holder.user != os.getuid():
        return False
    try:
        found = batch_system(holder.system).ask([holder.job]).get(holder.job)
    except BatchSystemError:
        return False
    if found is None:  # or the job of another cluster: wait for some beats that do not come
        return age > 3 * BEAT
    return found.state is not JobState.RUNNING


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        try:
            os.utime(path)
        except FileNotFoundError:
            if not path.parent.is_dir():  # not taken over: gone; the next commit says so and ends the campaign
                logger.error("%s: has vanished", path.parent)
                return
            logger.error("%s: another coordinator has taken over, as this one was silent for too long", path)
            # A real signal, as it also wakes a main thread that waits; psdbatch's command answers to SIGTERM
            os.kill(os.getpid(), signal.SIGTERM if callable(signal.getsignal(signal.SIGTERM)) else signal.SIGINT)
            return
        except OSError as error:
            logger.warning("%s: cannot be touched: %s", path, error.strerror or error)


def _myself() -> Coordinator:
    system, job = own_job() or (None, None)
    return Coordinator(
        host=socket.gethostname(),
        pid=os.getpid(),
        user=os.getuid(),
        machine=_machine(),
        started=_start_of(os.getpid()) or 0,
        system=system,
        job=job,
        token=uuid.uuid4().hex,
    )


def _content(coordinator: Coordinator) -> bytes:
    return json.dumps(asdict(coordinator)).encode()


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _start_of(pid: int) -> int | None:
    """When a process was started, or None if it is gone or only waits to be buried."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _is_rerun() -> bool:
    return int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0 or os.environ.get("RESTARTED") == "1"
