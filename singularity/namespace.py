"""Root with all capabilities, for Apptainer, on machines whose root lacks some."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path


def lacks_capabilities() -> bool:
    """Whether this is a root without all of root's capabilities, as in containers and small virtual machines.

    Apptainer hands every one of them to the program it starts, and stops if it cannot.
    """
    if os.geteuid() != 0:
        return False
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="utf-8"))
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    permitted = next(int(line.split()[1], 16) for line in status if line.startswith("CapPrm:"))
    return permitted != (1 << (last + 1)) - 1


def in_own_namespace(command: Sequence[str | Path]) -> list[str | Path]:
    """``command`` as root of a user namespace of its own, which has them all; every user and group keeps its number."""
    return [sys.executable, Path(__file__).resolve(), *command]


def _run(command: Sequence[str]) -> int:
    """Start ``command`` in a new namespace; only a process outside, this one, may write its map of users."""
    ready, start = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        _enter(ready[1], start[0], command)
    os.close(ready[1])
    if os.read(ready[0], 1):
        for kind in ("uid", "gid"):
            Path(f"/proc/{child}/{kind}_map").write_text(_identity(kind), encoding="utf-8")
        os.write(start[1], b"x")
    os.close(start[1])
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _enter(ready: int, start: int, command: Sequence[str]) -> None:
    import ctypes

    new_user, new_mount = 0x10000000, 0x00020000
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(new_user | new_mount) != 0:
        print(f"namespace: the kernel refuses one: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
        os._exit(1)
    os.write(ready, b"x")
    if not os.read(start, 1):
        os._exit(1)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"namespace: {command[0]}: {error.strerror}", file=sys.stderr)
        os._exit(127)


def _identity(kind: str) -> str:
    """The map of users to themselves, but for the last one: a whole map looks like no namespace at all to Apptainer."""
    rows = (line.split() for line in Path(f"/proc/self/{kind}_map").read_text(encoding="utf-8").splitlines())
    return "".join(f"{inside} {inside} {max(1, int(count) - 1)}\n" for inside, _, count in rows)


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1:]))
