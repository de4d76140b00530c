"""What TensorFlow computes on here: ``python -m psdbatch.training.device`` prints it as JSON.

A process of its own, because a worker that loads TensorFlow would keep memory of the GPU from its replicas.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass

from psdbatch.errors import WorkerRefused


@dataclass(frozen=True)
class Device:
    """What a replica here would compute on; ``name`` is "CPU" where there is no GPU."""

    name: str
    tensorflow: str
    with_cuda: bool


def find_device() -> Device:
    """Ask TensorFlow, in another process.

    Raises
    ------
    WorkerRefused
        TensorFlow cannot be loaded here.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        last = (done.stderr.strip() or f"exit status {done.returncode}").split("\n")[-1]
        raise WorkerRefused(f"TensorFlow cannot be loaded by {sys.executable}: {last}")
    return Device(**json.loads(done.stdout.strip().split("\n")[-1]))


def main() -> None:
    """Print what is found."""
    from psdbatch.models.engine import device_name
    from psdbatch.models.quiet import tf

    print(json.dumps(asdict(Device(device_name(), tf.__version__, tf.test.is_built_with_cuda()))))


if __name__ == "__main__":
    main()
