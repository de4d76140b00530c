"""The answer that the electronics gave while the data were taken, as the acquisition file recorded it.

NEDA compressed frames hold ``online_network`` (NeuralNetWork, 16 bits) and ``online_neutron`` (NeutronFlag); NEDA raw
frames hold ``neutron_trigger``, the decision of the trigger.  Any other recorded column can be named too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np

from psdbatch.columns import FLAGS, Flag
from psdbatch.comparison.errors import ComparisonError
from psdbatch.comparison.rows import LABEL, Array
from psdbatch.comparison.side import Side, campaign_of
from psdbatch.results.contents import Contents, StoredRun
from psdbatch.wording import nearest


@dataclass(frozen=True)
class OnlineColumn:
    """A recorded column that says a class.

    Attributes
    ----------
    without_samples
        Recorded in frames that have no samples, beside which the raw frame of the same hit must be found.
    threshold
        A value from here on means the second class.
    """

    without_samples: bool
    threshold: float


ONLINE = {
    "online_network": OnlineColumn(True, 32_768),  # the middle of 16 bits: no published file says how it is scaled
    "online_neutron": OnlineColumn(True, 1),
    "neutron_trigger": OnlineColumn(False, 1),
}
"""Columns of NEDA frames, in the order in which they are looked for."""


@dataclass(frozen=True)
class OnlineAnswers:
    """Class from a recorded value: the second of ``classes`` from ``threshold`` on."""

    column: str
    threshold: float
    classes: tuple[str, str]

    def needs(self, run: StoredRun) -> tuple[str, ...]:
        """The recorded column, and the flags that tell damaged frames."""
        if self.column not in run.arrays:
            raise _absent(run.path, self.column, run.arrays)
        return self.column, FLAGS.name

    def read(self, columns: Mapping[str, Array]) -> Mapping[str, Array]:
        """Column ``label``; a damaged frame says nothing."""
        label = (columns[self.column] >= self.threshold).astype(np.int16)
        label[(columns[FLAGS.name] & np.uint16(Flag.DAMAGED)) != 0] = -1
        return {LABEL: label}


def open_online(
    path: Path, run: str | None, column: str | None, threshold: float | None, classes: tuple[str, str]
) -> Side:
    """The answers recorded online, in the store of a campaign over the files that hold them.

    Parameters
    ----------
    column
        Recorded column; None: the first of :data:`ONLINE` that the store has.
    threshold
        A value from here on means the second class; None: that of :data:`ONLINE`, else 1.
    classes
        Names of the classes below and from the threshold on.

    Raises
    ------
    CampaignError, ComparisonError
        No results there, or no such column.
    """
    if threshold is not None and not isfinite(threshold):
        raise ComparisonError(f"a threshold of {threshold} (--online-threshold) divides no values; give a number")
    contents = Contents(path, run)
    found = column or next((name for name in ONLINE if name in contents.columns), None)
    if found is None or found not in contents.columns:
        raise _absent(contents.store, found, contents.columns)
    known = ONLINE.get(found, OnlineColumn(False, 1))
    answers = OnlineAnswers(found, known.threshold if threshold is None else threshold, classes)
    samples = False if known.without_samples else None
    return Side(f"online ({found})", contents, campaign_of(contents), answers, samples)


def _absent(where: Path, column: str | None, known: Mapping[str, object]) -> ComparisonError:
    what = f"column '{column}'{nearest(column, known)}" if column else "answer of an online network"
    return ComparisonError(
        f"{where}: holds no {what}; columns: {', '.join(known)}. NEDA compressed frames bring {' and '.join(list(ONLINE)[:2])}, "
        "raw frames neutron_trigger: run a campaign over files that hold them, with option frames = 'all' or 'compressed' of "
        "format mfm, and without leaving the column out in 'columns' of [results]"
    )
