"""Checks of a finished image, run by its %test: ``python check.py [--compute-capability 7.0]``.

Versions are the pinned ones, every module of psdbatch can be imported, TensorFlow computes; for an image with GPU libraries,
each of them carries code for the GPU, and the assembler that XLA calls knows it.  No GPU is needed for any of this.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import gpu_code

HERE = Path(__file__).parent
_FFTW_IMITATION = "libcufftw"
"""Interface of cuFFT for programs written for FFTW; TensorFlow does not load it, and its own code is for one GPU only."""


def main() -> None:
    """Run all checks; end with a message and status 1 at the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compute-capability", type=float, metavar="X.Y", help="of the GPU this image is for")
    capability = parser.parse_args().compute_capability
    check_versions()
    check_imports()
    check_tensorflow()
    if capability is not None:
        check_gpu_libraries(round(capability * 10))
    print("image: all checks passed")


def check_versions() -> None:
    """Installed versions against the pins the image was built with."""
    pins = dict(
        line.split("==")
        for name in ("constraints.txt", "image.txt")
        for line in (HERE / name).read_text().split("\n")
        if "==" in line and not line.startswith("#")
    )
    wrong = []
    for name, version in pins.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = "none"
        if installed != version:
            wrong.append(f"{name} {installed} instead of {version}")
    if wrong:
        sys.exit(f"image: {', '.join(wrong)}")
    shown = [name for name in ("tensorflow", "tensorflow-cpu", "numpy", "dask", "distributed", "zarr") if name in pins]
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"Python {python}, psdbatch {importlib.metadata.version('psdbatch')},", end=" ")
    print(", ".join(f"{name} {pins[name]}" for name in shown))


def check_imports() -> None:
    """Every module of psdbatch."""
    import psdbatch

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    names = [module.name for module in pkgutil.walk_packages(psdbatch.__path__, "psdbatch.")]
    for name in names:
        if not name.endswith("__main__"):
            importlib.import_module(name)
    print(f"{len(names)} modules of psdbatch can be imported")


def check_tensorflow() -> None:
    """One small function, compiled by XLA for the CPU."""
    import tensorflow as tf

    with tf.device("CPU"):
        square = tf.function(lambda x: tf.reduce_sum(x * x), jit_compile=True)
        if float(square(tf.constant([3.0, 4.0]))) != 25.0:
            sys.exit("image: TensorFlow computes wrongly")
    built = tf.sysconfig.get_build_info()
    print(f"TensorFlow {tf.__version__} computes; built for", built.get("cuda_compute_capabilities") or "CPUs only")


def check_gpu_libraries(capability: int) -> None:
    """Machine code for this GPU in every library that has any, and an assembler that makes it."""
    packages = Path(importlib.metadata.distribution("tensorflow").locate_file(""))
    libraries = sorted({*packages.glob("nvidia/*/lib/*.so*"), *packages.glob("tensorflow/**/*.so*")})
    checked = 0
    for library in libraries:
        found = gpu_code.architectures(library)
        if not found or library.name.startswith(_FFTW_IMITATION):
            continue
        if not gpu_code.runs_on(found, capability):
            sys.exit(f"image: {library} has code for {sorted(found)}, none of which runs on {capability}")
        checked += 1
    if checked < 2:
        sys.exit(f"image: no GPU libraries beside TensorFlow in {packages}")
    print(f"{checked} libraries carry code for compute capability {capability / 10}")
    check_assembler(packages / "nvidia" / "cuda_nvcc" / "bin" / "ptxas", capability)


def check_assembler(ptxas: Path, capability: int) -> None:
    """Assemble an empty kernel for the GPU, as XLA will."""
    source = f".version 7.8\n.target sm_{capability}\n.address_size 64\n.visible .entry nothing() {{ ret; }}\n"
    with tempfile.TemporaryDirectory() as directory:
        code, made = Path(directory, "nothing.ptx"), Path(directory, "nothing.cubin")
        code.write_text(source, encoding="utf-8")
        done = subprocess.run(
            [ptxas, f"-arch=sm_{capability}", "-o", made, code], capture_output=True, text=True, check=False
        )
        if done.returncode or not made.exists():
            sys.exit(f"image: ptxas does not compile for sm_{capability}: {done.stderr.strip()}")
    version = subprocess.run([ptxas, "--version"], capture_output=True, text=True, check=True).stdout
    release = re.search(r"release ([\d.]+)", version)
    print(f"ptxas {release.group(1) if release else '?'} compiles for sm_{capability}")


if __name__ == "__main__":
    main()
