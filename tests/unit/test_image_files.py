"""The files that images are built from fit the package, and the reader of GPU code finds what is there."""

from __future__ import annotations

import importlib.util
import re
import struct
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SINGULARITY = CHECKOUT / "singularity"


def pins(*names: str) -> dict[str, str]:
    lines = "\n".join((SINGULARITY / name).read_text() for name in names).splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


@pytest.fixture(scope="module")
def gpu_code() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_code", SINGULARITY / "gpu_code.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_requirement_of_the_package_is_pinned_for_all_images_at_once() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[\[<>=!~ ]", requirement)[0] for requirement in project["dependencies"]}
    assert needed - pins("constraints.txt").keys() == set()


@pytest.mark.parametrize("kind", ["cpu", "v100", "k80"])
def test_no_image_has_another_version_of_what_is_shared(kind: str) -> None:
    assert pins("constraints.txt").keys() & pins(f"{kind}.txt").keys() == set()
    assert f"sh /build/install.sh {kind}\n" in (SINGULARITY / f"{kind}.def").read_text()


def fat_binary(*entries: tuple[int, int]) -> bytes:
    """A fat binary with an entry of (kind, architecture) each; kind 1 is PTX, 2 machine code."""
    body = b""
    for kind, architecture in entries:
        header = struct.pack("<HHIQIIHHI", kind, 0x101, 64, 40, 0, 0, 0, 1, architecture)
        body += header.ljust(64, b"\0") + b"c" * 40
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", set()),
        (b"no code" * 100, set()),
        (b"x" * 37 + fat_binary((2, 35), (2, 70), (1, 80)) + b"y" * 9, {35, 70}),
        (fat_binary((2, 35)) + b"gap" + fat_binary((2, 61)), {35, 61}),
        (fat_binary((2, 35))[:-1], set()),
        (fat_binary()[:4] + fat_binary((2, 50)), {50}),
    ],
)
def test_architectures_in_a_library(gpu_code: ModuleType, tmp_path: Path, content: bytes, expected: set[int]) -> None:
    library = tmp_path / "library.so"
    library.write_bytes(content)
    assert gpu_code.architectures(library) == expected


@pytest.mark.parametrize(
    ("found", "capability", "runs"),
    [({35, 50}, 37, True), ({37}, 35, False), ({50, 60, 70}, 37, False), ({60, 70}, 70, True), ({75, 80}, 70, False)],
)
def test_code_runs_on_gpus_of_its_own_generation(
    gpu_code: ModuleType, found: set[int], capability: int, runs: bool
) -> None:
    assert gpu_code.runs_on(found, capability) == runs
