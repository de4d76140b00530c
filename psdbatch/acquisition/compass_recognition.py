"""Which record layout a CoMPASS file has: said by its header, by the options, or found by trying."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from psdbatch.acquisition.compass_kernels import follow
from psdbatch.acquisition.compass_layout import HAS_WAVEFORM, HEADER_BYTES, MAGIC, MAGIC_MASK, Layout, layout_of

LONGEST_TRIAL = 4096  # records
LEAST_WITH_WAVEFORM, LEAST_WITHOUT = 3, 8  # records in a row that tell a layout, unless they end with the file


class Beginning(NamedTuple):
    """Layout of the records and where the first one lies."""

    layout: Layout
    offset: int
    flags: int
    version: int


def own_header(head: bytes) -> int | None:
    """Lowest four bits of the file header, None if there is none."""
    first = int.from_bytes(head[:HEADER_BYTES], "little")
    return first & 0xF if len(head) >= HEADER_BYTES and first & MAGIC_MASK == MAGIC else None


def beginnings(head: bytes, whole: bool, header: int | None, version: int | None, code: int) -> list[Beginning]:
    """Ways to read a file that begins with ``head`` (all of the file if ``whole``): one, unless it is ambiguous or foreign.

    ``header`` and ``version`` are what the options say about files without a header of their own.
    """
    flags = own_header(head)
    if flags is not None and version != 1:
        return [Beginning(layout_of(flags, 2), HEADER_BYTES, flags, 2)]
    if header is not None and (version is not None or header & 0xF not in _VERSION_1):
        return [Beginning(layout_of(header & 0xF, version or 2), 0, header & 0xF, version or 2)]
    data = np.frombuffer(head, np.uint8)
    trials = [
        Beginning(layout_of(flags, number), 0, flags, number)
        for number, possible in ((2, _VERSION_2), (1, _VERSION_1))
        for flags in possible
        if version in (None, number) and header in (None, MAGIC | flags)
    ]
    return [trial for trial in trials if fits(data, whole, trial, code)]


# CoMPASS always saves an energy; without it, and with the short one alone, the layout could not be told from others.
_VERSION_2 = [flags | waveform for waveform in (HAS_WAVEFORM, 0) for flags in (1, 2, 3, 5, 6, 7)]
_VERSION_1 = [flags | HAS_WAVEFORM for flags in (1, 5)]


def fits(data: NDArray[np.uint8], whole: bool, trial: Beginning, code: int) -> bool:
    """Whether records of this layout follow one another through all of ``data``."""
    positions = np.empty(LONGEST_TRIAL, np.int64)
    count, end = follow(data, trial.offset, len(data), trial.layout, code, positions)
    waves = bool(trial.flags & HAS_WAVEFORM)
    if count < 1 or (count < LEAST_WITH_WAVEFORM and whole and end != len(data)):
        return False
    least = LEAST_WITH_WAVEFORM if waves else LEAST_WITHOUT
    complete = whole and end == len(data) and count >= (1 if waves else 2)
    return (count >= least or complete) and _energies_are_numbers(data, trial.layout, positions[:count])


def _energies_are_numbers(data: NDArray[np.uint8], layout: Layout, positions: NDArray[np.int64]) -> bool:
    """Whether the calibrated energies look like energies and not like other bytes read as float64."""
    if layout.calibrated < 0:
        return True
    places = positions[:, None] + layout.calibrated + np.arange(8)
    values = np.abs(data[places].view("<f8"))
    return bool(np.all((values == 0) | ((values > 1e-9) & (values < 1e9))))
