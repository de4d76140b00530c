"""What every worker of a group is asked before it may work: its versions, and whether it has its GPU."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from psdbatch.config.cluster import WorkerGroup
from psdbatch.errors import WorkerRefused


def check_versions(conflicts: Sequence[str], group: WorkerGroup | None) -> None:
    """Refuse a worker whose versions are in conflict with the coordinator's.

    Parameters
    ----------
    conflicts
        From :func:`psdbatch.golden.software.conflicts`.
    """
    if conflicts:
        where = "build the image anew" if group and group.image else "set 'python' of the group to an environment"
        raise WorkerRefused(
            f"{who(group)}: {'; '.join(conflicts)}. They must be the same; {where} with the coordinator's versions"
        )


def check_gpu(device: str, tensorflow: str, with_cuda: bool, group: WorkerGroup | None) -> None:
    """Refuse a worker without a GPU whose group asks for one.

    Parameters
    ----------
    device
        What TensorFlow computes on; ``"CPU"`` is no GPU.
    tensorflow, with_cuda
        Version of TensorFlow, and whether it was built with CUDA.
    """
    if device == "CPU" and group is not None and group.gpu and not group.allow_cpu:
        raise WorkerRefused(_no_gpu(tensorflow, with_cuda, group))


def who(group: WorkerGroup | None) -> str:
    """The worker, for people."""
    node = socket.gethostname()
    if group is None:
        return f"local worker on {node}"
    image = f", image {group.image}" if group.image else ""
    return f"worker group '{group.name}' on node {node}{image}"


def _no_gpu(tensorflow: str, with_cuda: bool, group: WorkerGroup) -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    shown = "is not set" if visible is None else f"is '{visible}'"
    what = f"TensorFlow {tensorflow} sees no GPU, the group asks for a {group.gpu}; CUDA_VISIBLE_DEVICES {shown}"
    if not with_cuda:
        cause = "this TensorFlow is built without CUDA: install tensorflow[and-cuda], or use the image for this GPU"
    elif not list(Path("/dev").glob("nvidia[0-9]*")):
        cause = "there is no /dev/nvidia* here: ask for a GPU in the group's 'options'"
        cause += ", and see that the container is started with --nv" if group.image else ", or the node has no driver"
    else:
        cause = "the node has /dev/nvidia*, but driver and CUDA libraries do not fit this TensorFlow (nvidia-smi shows the driver)"
        cause += ": see that the container is started with --nv, or take the image for this GPU" if group.image else ""
    return f"{who(group)}: {what}; {cause}. With 'allow_cpu = true' it would work on the processor"
