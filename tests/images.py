"""The CPU image for tests: a given one, or the one of this checkout, which is built where that was not done yet."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


def image_program() -> str | None:
    """Apptainer or Singularity, None if neither is installed."""
    return shutil.which("apptainer") or shutil.which("singularity")


def cpu_image() -> Path:
    """Image with this checkout's psdbatch; PSDBATCH_CPU_IMAGE names another one, to save the minutes of building it."""
    given = os.environ.get("PSDBATCH_CPU_IMAGE")
    if given:
        return Path(given)
    script = CHECKOUT / "singularity" / "build.py"
    done = subprocess.run([sys.executable, script, "--kind", "cpu"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return CHECKOUT / "build" / "psdbatch-cpu.sif"


def in_image(image: Path, *arguments: object, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run a program in an image, with the temporary directory bound."""
    program = image_program()
    assert program is not None
    bind = ["--bind", os.environ.get("TMPDIR", "/tmp")]
    command = [program, "exec", *bind, *options, str(image), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
