"""A real SSH server on the loopback interface, with keys of its own, and tunnels through it."""

from __future__ import annotations

import getpass
import socket
import subprocess
from pathlib import Path

from tests.servers.processes import SYSTEM_PROGRAMS, Daemon, ServerError, free_ports, wait_until, why_not_here

PRIVILEGE_SEPARATION = Path("/run/sshd")
"""Debian's sshd wants this directory, which its own start-up script makes."""

STARTED_WITHIN = 30.0


class SshServer:
    """An sshd that lets this user in with a key.

    Parameters
    ----------
    directory : Path
        Holds keys, configuration and logs.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (self.port,) = free_ports(1)
        self._daemons: list[Daemon] = []

    @staticmethod
    def unavailable() -> str | None:
        """Why it cannot run on this machine, or None."""
        return why_not_here(["sshd", "ssh", "ssh-keygen"])

    def start(self) -> None:
        """Make keys, start, and wait until it answers."""
        for name in ("host", "user"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._key(name))]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        host = self._key("host.pub").read_text().split()
        (self.directory / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host[0]} {host[1]}\n")
        configuration = {
            "Port": self.port,
            "ListenAddress": "127.0.0.1",
            "HostKey": self._key("host"),
            "AuthorizedKeysFile": self._key("user.pub"),
            "PidFile": "none",
            "PermitRootLogin": "yes",
            "PasswordAuthentication": "no",
            "StrictModes": "no",
            "UsePAM": "no",
        }
        written = self.directory / "sshd_config"
        written.write_text("".join(f"{name} {value}\n" for name, value in configuration.items()))
        PRIVILEGE_SEPARATION.mkdir(exist_ok=True)
        self._launch("sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", str(written)], self.port)

    def tunnel(self, remote: int, local: int | None = None) -> int:
        """``ssh -L``: the port here, ``local`` if it is given, behind which ``remote`` of the other side lies."""
        local = local or free_ports(1)[0]
        command = ["ssh", "-N", "-F", "none", "-i", str(self._key("user")), "-p", str(self.port)]
        for option in (f"UserKnownHostsFile={self.directory}/known_hosts", "BatchMode=yes", "ExitOnForwardFailure=yes"):
            command += ["-o", option]
        command += ["-L", f"{local}:localhost:{remote}", f"{getpass.getuser()}@127.0.0.1"]
        self._launch(f"tunnel-{local}", command, local)
        return local

    def close(self, local: int) -> None:
        """End the tunnel that begins at port ``local``."""
        for daemon in self._daemons:
            if daemon.name == f"tunnel-{local}":
                daemon.stop()

    def stop(self) -> None:
        """End the tunnels, then the server."""
        for daemon in reversed(self._daemons):
            daemon.stop()

    def _key(self, name: str) -> Path:
        return self.directory / f"key-{name}"

    def _launch(self, name: str, command: list[str], port: int) -> None:
        environment = {"PATH": SYSTEM_PROGRAMS, "HOME": str(self.directory), "LC_ALL": "C.UTF-8"}
        daemon = Daemon(name, command, self.directory / f"{name}.out", environment)
        self._daemons.append(daemon)
        daemon.start()
        came = wait_until(lambda: not daemon.running or _answers(port), STARTED_WITHIN)
        if not came or not daemon.running:
            raise ServerError(daemon.report())


def _answers(port: int) -> bool:
    with socket.socket() as place:
        place.settimeout(1.0)
        return place.connect_ex(("127.0.0.1", port)) == 0
