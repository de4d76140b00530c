"""A campaign beside its reference while its blocks are added up: all runs together, and each run by itself.

A detector that misbehaved for one night hardly shows in a year, so runs are compared one by one; and as a year has more
runs than memory for their physics, a run is compared and forgotten once others have come after it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from psdbatch.monitor.drift import Drift, compare
from psdbatch.monitor.tally import Tally

MOST_RUNS = 16
"""Runs whose physics is kept: those of which blocks came last."""

MOST_ALARMS = 2000
"""Alarms of forgotten runs that are kept, the first ones."""


@dataclass(frozen=True)
class DriftAlarm:
    """A channel that differs from the reference; ``run`` is empty where all runs together do."""

    run: str
    drift: Drift

    def facts(self) -> dict[str, Any]:
        """Plain dictionary for JSON, which knows no infinity: None for the standard deviations of silent and new channels."""
        sigmas = self.drift.sigmas if math.isfinite(self.drift.sigmas) else None
        return {"run": self.run or None, **asdict(self.drift), "sigmas": sigmas}


@dataclass(frozen=True)
class Reference:
    """What a campaign is compared with.

    Attributes
    ----------
    name
        Of the campaign.
    state
        What is to be said about it: that it is being read, or why it cannot be compared with; empty if all is well.
    tally
        Its physics; None until it is read.
    same_classes
        Whether its model has the same classes; if not, fractions of classes are not compared.
    """

    name: str
    state: str = ""
    tally: Tally | None = None
    same_classes: bool = True

    @classmethod
    def of(cls, name: str, tally: Tally | None, classes: Sequence[str], wanted: Sequence[str]) -> Reference:
        """A reference that is read; ``classes`` are its own, ``wanted`` those of the campaign compared with it."""
        if tally is None:
            return cls(name, "none of its blocks tells its physics")
        same = tuple(classes) == tuple(wanted)
        state = "" if same else f"its classes are {', '.join(classes) or 'none'}: fractions not compared"
        return cls(name, state, tally, same)


@dataclass
class DriftWatch:
    """Takes the physics of each block, and tells which channels differ from the reference.

    Parameters
    ----------
    reference
        May be replaced once it is read; before that nothing is compared.
    classes
        Names of the campaign's classes.
    several
        Whether the campaign has more than one run.
    """

    reference: Reference
    classes: tuple[str, ...]
    several: bool
    _runs: OrderedDict[str, Tally] = field(default_factory=OrderedDict)
    _forgotten: dict[tuple[str, int, int, str], DriftAlarm] = field(default_factory=dict)

    def add(self, run: str, tally: Tally) -> None:
        """A block of a run."""
        if not self.several:
            return
        if run not in self._runs:
            self._runs[run] = Tally.empty(tally.classes)
        self._runs[run].add(tally)
        self._runs.move_to_end(run)
        if len(self._runs) > MOST_RUNS:
            self._forget(*self._runs.popitem(last=False))

    def _forget(self, run: str, tally: Tally) -> None:
        for drift in self._compare(tally):
            if len(self._forgotten) < MOST_ALARMS:
                self._forgotten[(run, *_place(drift))] = DriftAlarm(run, drift)

    def alarms(self, total: Tally | None, complete: bool = False) -> list[DriftAlarm]:
        """Where all runs together differ, the gravest first, then where single runs do although all together do not, the newest first.

        Parameters
        ----------
        total
            Physics of all blocks that were added; None if no block told its own.
        complete
            Whether these are all blocks of the campaign, so that a board without any signal is silent.
        """
        if total is None:
            return []
        found = [DriftAlarm("", drift) for drift in self._compare(total, complete)]
        known = {_place(alarm.drift) for alarm in found}
        single = {
            (run, *_place(drift)): DriftAlarm(run, drift)
            for run, tally in reversed(self._runs.items())
            for drift in self._compare(tally)
        }
        for key, alarm in reversed(self._forgotten.items()):
            single.setdefault(key, alarm)
        return found + [alarm for alarm in single.values() if _place(alarm.drift) not in known]

    def _compare(self, tally: Tally, complete: bool = False) -> list[Drift]:
        if self.reference.tally is None:
            return []
        return compare(tally, self.reference.tally, self.classes if self.reference.same_classes else None, complete)


def _place(drift: Drift) -> tuple[int, int, str]:
    return drift.board, drift.channel, drift.what
