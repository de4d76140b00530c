"""For which GPUs a library carries machine code: ``python gpu_code.py LIBRARY...``.

NVIDIA's compilers put code for several GPU architectures into one library, as "fat binaries".  A GPU of compute capability
3.7 runs what was compiled for 3.7 or 3.5, that is for its own major version and not beyond its minor one.  Intermediate code
(PTX) is left out here: the GPU's driver would have to be as new as the library to compile it.

A fat binary is a header of 16 bytes (magic number, version 1, header size, size of what follows) and entries, each with a
header of at least 64 bytes: kind (uint16, 2 is machine code) at byte 0, header size (uint32) at 4, size of the code (uint64)
at 8, architecture (uint32, 37 for 3.7) at 28.
"""

from __future__ import annotations

import mmap
import struct
import sys
from pathlib import Path

_MAGIC = struct.pack("<I", 0xBA55ED50)
_MACHINE_CODE = 2


def architectures(path: Path) -> set[int]:
    """Architectures with machine code in a library, 37 for compute capability 3.7; none if it has no GPU code."""
    found: set[int] = set()
    if path.stat().st_size == 0:
        return found
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        position = content.find(_MAGIC)
        while position >= 0:
            length = _read_entries(content, position, found)
            position = content.find(_MAGIC, position + max(length, len(_MAGIC)))
    return found


def runs_on(found: set[int], capability: int) -> bool:
    """Whether a GPU of this compute capability, 37 for 3.7, runs code for one of the architectures."""
    return any(code // 10 == capability // 10 and code <= capability for code in found)


def _read_entries(content: mmap.mmap, start: int, found: set[int]) -> int:
    """Add the architectures of a fat binary to ``found``; its length, or 0 if the bytes only look like one."""
    if start + 16 > len(content):
        return 0
    version, header, size = struct.unpack_from("<HHQ", content, start + 4)
    end = start + header + size
    if version != 1 or header != 16 or end > len(content):
        return 0
    position = start + header
    while position + 64 <= end:
        kind, _, entry_header, entry_size = struct.unpack_from("<HHIQ", content, position)
        if entry_header < 64:
            break
        if kind == _MACHINE_CODE:
            found.add(struct.unpack_from("<I", content, position + 28)[0])
        position += entry_header + entry_size
    return end - start


if __name__ == "__main__":
    for name in sys.argv[1:]:
        listed = " ".join(f"{code // 10}.{code % 10}" for code in sorted(architectures(Path(name))))
        print(f"{name}: {listed or 'no code for GPUs'}")
