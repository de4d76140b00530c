"""Build an image: ``python singularity/build.py --kind cpu``; ``--help`` lists the options.

1. On this machine pip collects the pinned wheels and makes one of this checkout: pip's own configuration, mirrors and
   certificates work as usual and nothing of them enters the image.
2. A base with Python 3.11: Docker's ``python:3.11-slim-bookworm``, or Debian 12 by debootstrap, which needs root.
3. Apptainer (1.2 or later) or SingularityCE (4 or later) installs the wheels on the base, without network, and tests it.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from namespace import in_own_namespace, lacks_capabilities

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent
KINDS = ("cpu", "v100", "k80")
SUITE = "bookworm"


def main() -> None:
    """Build the image that the command line asks for."""
    options = _options()
    Path("build").mkdir(exist_ok=True)
    with Path("build", "image.lock").open(
        "w", encoding="utf-8"
    ) as lock:  # two at once would download and bootstrap into one directory
        fcntl.flock(lock, fcntl.LOCK_EX)
        make(options)


def make(options: argparse.Namespace) -> None:
    """Build an image, unless it is there already and made of the same files."""
    output = options.output or Path("build", f"psdbatch-{options.kind}.sif")
    inputs = digest(options.kind, options.base, options.compression)
    note = output.with_name(output.name + ".inputs")
    if not options.force and output.exists() and note.exists() and note.read_text() == inputs:
        print(f"{output} is made of these files already")
        return
    program = _program()
    output.parent.mkdir(parents=True, exist_ok=True)
    note.unlink(missing_ok=True)
    wheels = collect_wheels(options.kind, Path("build", "wheels"))
    base = debian_base(Path("build"), options.mirror) if options.base == "debootstrap" else None
    build(program, options.kind, wheels, base, output, options.compression)
    note.write_text(inputs)
    print(f"{output}: {output.stat().st_size / 1e6:.0f} MB")


def digest(kind: str, base: str, compression: str) -> str:
    """Digest of all that an image is made of."""
    state = hashlib.sha256(f"{kind} {base} {compression}".encode())
    files = [CHECKOUT / "pyproject.toml", *HERE.iterdir(), *(CHECKOUT / "psdbatch").rglob("*")]
    for file in sorted(files):
        if file.is_file() and "__pycache__" not in file.parts:
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            state.update(f"{file.relative_to(CHECKOUT)} {content}\n".encode())
    return state.hexdigest()


def collect_wheels(kind: str, directory: Path) -> Path:
    """Directory with the wheel of this checkout and those it needs, each of them pinned."""
    if sys.version_info[:2] != (3, 11):
        _stop(f"the images have Python 3.11, so pip must run with it too; this is {sys.version.split()[0]}")
    pins = [HERE / "constraints.txt", HERE / f"{kind}.txt"]
    of_pins = hashlib.sha256(b"".join(file.read_bytes() for file in pins)).hexdigest()[:8]
    wheels = directory / f"{kind}-{of_pins}"  # kept: what is there is not downloaded again
    wheels.mkdir(parents=True, exist_ok=True)
    for old in wheels.glob("psdbatch-*.whl"):
        old.unlink()
    pip = [sys.executable, "-m", "pip", "--quiet"]
    _run("wheel of this checkout", [*pip, "wheel", "--no-deps", "--wheel-dir", wheels, CHECKOUT])
    (own,) = wheels.glob("psdbatch-*.whl")
    asked = ["--requirement", pins[1], "--constraint", pins[0], "--constraint", pins[1], own]
    wanted = ["--only-binary=:all:", "--dest", wheels, "--find-links", wheels]
    _run(f"wheels for {kind}", [*pip, "download", *wanted, *asked])
    _check_pinned(wheels, pins)
    return wheels


def _check_pinned(wheels: Path, pins: Sequence[Path]) -> None:
    """Stop if pip chose a version by itself."""
    pinned = {line.strip() for file in pins for line in file.read_text().splitlines() if "==" in line}
    for wheel in wheels.glob("*.whl"):
        name, version = wheel.name.split("-")[:2]
        requirement = f"{name.lower().replace('_', '-').replace('.', '-')}=={version}"
        if name != "psdbatch" and requirement not in pinned:
            _stop(
                f"{requirement} is needed but pinned in none of {', '.join(file.name for file in pins)}; add it there"
            )


def debian_base(directory: Path, mirror: str | None) -> Path:
    """Directory with a minimal Debian and Python 3.11; it is kept for further images."""
    base = directory / f"base-{SUITE}"
    if base.exists():
        return base
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        _stop("'--base debootstrap' needs root and the program debootstrap; use '--base docker'")
    partial = directory / f"base-{SUITE}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    packages = "--include=python3-venv,ca-certificates"
    command = ["debootstrap", "--variant=minbase", packages, SUITE, partial, *filter(None, [mirror or _apt_mirror()])]
    _run(f"Debian {SUITE} base", command, quiet=True)
    shutil.rmtree(partial / "dev")  # Apptainer brings the machine's own, and could not copy these without full rights
    (partial / "dev").mkdir()
    partial.rename(base)
    return base


def _apt_mirror() -> str | None:
    """The Debian mirror that this machine's apt uses; None leaves the choice to debootstrap."""
    command = [
        "apt-get",
        "indextargets",
        "--format",
        "$(SITE)",
        "Created-By: Packages",
        "Origin: Debian",
        "Component: main",
    ]
    if not shutil.which("apt-get"):
        return None
    sites = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return next((site for site in sites if "security" not in site), None)


def build(program: str, kind: str, wheels: Path, base: Path | None, output: Path, compression: str) -> None:
    """Make the image and test it; it appears under its name when both have gone well."""
    partial = output.with_name(f"{output.name}.partial")
    arguments = {"WHEELS": wheels}
    if base is not None:
        arguments |= {"BOOTSTRAP": Path("localimage"), "FROM": base}
    command: list[str | Path] = [program, "build", "--force"]
    if os.geteuid() != 0:
        command.append("--fakeroot")
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    level = " -Xcompression-level 3" if compression == "zstd" else ""
    command += ["--mksquashfs-args", f"-comp {compression}{level}", partial, HERE / f"{kind}.def"]
    _run(f"image for {kind}", in_own_namespace(command) if lacks_capabilities() else command)
    partial.replace(output)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, default="cpu", help="workers it is for (default: cpu)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="image (default: build/psdbatch-KIND.sif)")
    can_bootstrap = os.geteuid() == 0 and shutil.which("debootstrap")
    default = "debootstrap" if can_bootstrap else "docker"
    parser.add_argument(
        "--base", choices=("docker", "debootstrap"), default=default,
        help="where Debian and Python come from (default: debootstrap for root where it is installed, otherwise docker)",
    )  # fmt: skip
    parser.add_argument(
        "--mirror", metavar="URL", help="Debian mirror for debootstrap (default: that of this machine's apt)"
    )
    parser.add_argument(
        "--compression", choices=("zstd", "gzip"), default="zstd",
        help="gzip for clusters with kernels before 4.14 (default: zstd)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="build even if nothing has changed")
    return parser.parse_args()


def _program() -> str:
    for name in ("apptainer", "singularity"):
        if found := shutil.which(name):
            return found
    return _stop("neither apptainer nor singularity is installed; see docs/images.md")


def _run(what: str, command: Sequence[str | Path], quiet: bool = False) -> None:
    print(f"{what} ...", flush=True)
    start = time.monotonic()
    done = subprocess.run(list(map(str, command)), check=False, text=True, stdout=subprocess.PIPE if quiet else None,
                          stderr=subprocess.STDOUT if quiet else None)  # fmt: skip
    if done.returncode:
        tail = "\n".join((done.stdout or "").splitlines()[-20:])
        _stop(f"{what}: {Path(command[0]).name} ended with status {done.returncode}\n{tail}".rstrip())
    print(f"{what}: {time.monotonic() - start:.0f} s", flush=True)


def _stop(message: str) -> str:
    sys.exit(f"build: {message}")


if __name__ == "__main__":
    os.chdir(CHECKOUT)
    main()
