"""A test server by hand: ``python -m tests.servers slurm`` runs until Ctrl-C and prints what to export."""

from __future__ import annotations

import shlex
import signal
import sys

from tests.servers.fixtures import new_directory
from tests.servers.processes import ServerError
from tests.servers.sge import GridEngine
from tests.servers.slurm import Slurm

SERVERS = {"slurm": Slurm, "sge": GridEngine}


def main() -> None:
    """Run the server that the command line names."""
    if len(sys.argv) != 2 or sys.argv[1] not in SERVERS:
        sys.exit(f"say which server: {' or '.join(SERVERS)}")
    server = SERVERS[sys.argv[1]](new_directory(sys.argv[1]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        server.start()
        for name, value in server.environment.items():
            print(f"export {name}={shlex.quote(value)}", flush=True)
        signal.pause()
    except ServerError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
    finally:
        server.remove()


if __name__ == "__main__":
    main()
