"""Chosen results as a table in memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from numpy.typing import NDArray

from psdbatch.errors import OutOfMemoryError
from psdbatch.results.contents import Contents
from psdbatch.results.streaming import open_stream
from psdbatch.wording import quantity

if TYPE_CHECKING:
    import pandas

Array = NDArray[Any]

MARGIN = 1.25
"""A table in the making needs its own size and some columns more."""
REPRESENTATIVE = 0.1
"""Share of the signals after which the size of what a selection chooses is foretold."""


def read_table(
    path: str | Path,
    columns: Iterable[str] | None = None,
    select: str | None = None,
    run: str | Iterable[str] | None = None,
    *,
    time_order: bool = False,
    window: int | None = None,
) -> pandas.DataFrame:
    """Read chosen columns of chosen signals into a pandas table.

    Parameters
    ----------
    path, columns, select, run, time_order, window
        As in :func:`psdbatch.iterate`.  A column with several numbers per signal becomes several columns:
        ``probability_gamma``, ``probability_neutron``.

    Returns
    -------
    pandas.DataFrame
        A row per signal; units in ``attrs["units"]``.  With several runs, the categorical column ``run`` tells which.

    Raises
    ------
    CampaignError, ConfigurationError
        As in :func:`psdbatch.iterate`.
    OutOfMemoryError
        The table would not fit into memory; nothing is read to find that out, or little.

    Examples
    --------
    >>> table = read_table("my-campaign", ["amplitude", "charge_ratio"], "label == neutron")  # doctest: +SKIP
    """
    import pandas

    contents = Contents(path, run)
    stream = open_stream(contents, columns, select, numbers=True, time_order=time_order, window=window)
    quantities = stream.extract.quantities
    size = sum(np.dtype(found.column.dtype).itemsize for found in quantities)
    if select is None:
        _check_room(contents.signals * size, 0)
    held: dict[str, list[Array]] = {found.name: [np.empty(0, found.column.dtype)] for found in quantities}
    numbers = [np.empty(0, np.int32)]
    names = [stored.name for stored in contents.runs]
    for piece in stream:
        for name, parts in held.items():
            parts.append(piece[name])
        numbers.append(np.full(piece.signals, names.index(piece.run), np.int32))
        seen = stream.counts.signals / contents.signals
        now = stream.counts.selected * size
        _check_room(now / seen if seen > REPRESENTATIVE else now, now)
    table = pandas.DataFrame({name: np.concatenate(held.pop(name)) for name in [*held]}, copy=False)
    if len(names) > 1:
        chosen = pandas.Categorical.from_codes(np.concatenate(numbers), pandas.Index(names))
        table.insert(0, "run", pandas.Series(chosen))
    table.attrs["units"] = {found.name: found.column.unit for found in quantities if found.column.unit}
    return table


def _check_room(expected: float, held: float) -> None:
    """Refuse a table of ``expected`` bytes, of which ``held`` are there, where the rest would not find room."""
    free = psutil.virtual_memory().available
    if MARGIN * expected - held > free:
        raise OutOfMemoryError(
            f"the table would need {quantity(expected, 'B')}, and {quantity(free + held, 'B')} of memory are free; "
            "choose 'columns', a 'run' or signals with 'select', or read piece by piece with psdbatch.iterate()"
        )
