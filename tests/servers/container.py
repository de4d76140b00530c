"""The container runtime of this machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.servers.processes import SYSTEM_PROGRAMS, missing_programs

NAMES = ("apptainer", "singularity")
BUILDERS = ("debootstrap", "mksquashfs", "unsquashfs", "newuidmap")


def runtime() -> Path | None:
    """Apptainer, or else Singularity; None where there is neither."""
    found = (shutil.which(name, path=SYSTEM_PROGRAMS) or shutil.which(name) for name in NAMES)
    return next((Path(program) for program in found if program), None)


def unavailable() -> str | None:
    """Why images cannot be built and used here, or None; tries it with an image without content."""
    if sys.platform != "linux":
        return f"needs Linux, this is {sys.platform}"
    program = runtime()
    missing = [] if program else ["apptainer"]
    missing += missing_programs(BUILDERS)
    if program is None or missing:
        return f"not installed: {', '.join(missing)} (.ci/install-servers installs it)"
    with tempfile.TemporaryDirectory(prefix="psdbatch-image-") as folder:
        image = str(directory_image(Path(folder, "image")))
        small = str(Path(folder, "small.sif"))
        for arguments in (["build", small, image], ["exec", "--bind", "/usr", small, "true"]):
            command = [str(program), "--quiet", *arguments]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode:
                return (
                    f"{program} {arguments[0]} fails here; root of a container may lack rights: {done.stderr.strip()}"
                )
    return None


def directory_image(directory: Path) -> Path:
    """An image without content, for `exec --bind /usr`: this machine's own programs in a container."""
    for name in ("dev", "etc", "proc", "sys", "tmp", "usr", "var/tmp"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "lib", "lib64", "sbin"):  # as on any Debian since 2019
        (directory / name).symlink_to(f"usr/{name}")
    return directory
