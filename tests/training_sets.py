"""What tests of training sets share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from psdbatch.acquisition.index import index_file, open_signals
from psdbatch.acquisition.signals import Signals


def identities(rows: Mapping[str, Any]) -> set[tuple[int, int]]:
    """File and number of every signal."""
    return set(zip(rows["file"].tolist(), rows["number"].tolist(), strict=True))


def row_of(path: Path, number: int) -> np.ndarray[Any, Any]:
    """Samples of one signal, read from its file alone."""
    index = index_file(path)
    out = Signals.allocate(1, index.scan.longest, index.scan.sample_dtype)
    with open_signals(index) as reader:
        reader.skip(number)
        reader.read(out)
    return out.samples[0]
