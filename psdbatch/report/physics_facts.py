"""The physics of a report as plain numbers, for 'psdbatch report --json'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.monitor.tally import Tally
from psdbatch.report.merit import Octave

if TYPE_CHECKING:
    from psdbatch.campaign.account import RunAccount
    from psdbatch.report.content import Content

Array = NDArray[Any]


def physics_facts(content: Content) -> dict[str, Any]:
    """Figures of merit, and counts of boards, channels and runs."""
    tally = content.account.tally
    if tally is None:
        return {"classes": content.classes, "figures_of_merit": [], "boards": [], "channels": [], "runs": []}
    boards = np.unique(tally.boards)
    return {
        "classes": content.classes,
        "figures_of_merit": [_octave(one) for one in content.octaves],
        "boards": [{"board": int(board), **_counts(tally, tally.boards == board)} for board in boards],
        "channels": [
            {"board": int(tally.boards[k]), "channel": int(tally.channels[k]), **_counts(tally, np.array([k]))}
            for k in range(len(tally.channel))
        ],
        "runs": [_run(run) for run in content.account.runs.values()],
    }


def _octave(one: Octave) -> dict[str, Any]:
    found = one.found
    facts: dict[str, Any] = {"low": one.low, "high": one.high, "signals": one.signals}
    if found is None:
        return {**facts, "figure_of_merit": None, "reason": one.reason}
    return {
        **facts,
        "figure_of_merit": found.value,
        "uncertainty": found.uncertainty,
        "peaks": [vars(found.gamma), vars(found.neutron)],
    }


def _counts(tally: Tally, mine: Array) -> dict[str, Any]:
    answers, flagged = tally.answers[mine].sum(axis=0), tally.flagged[mine].sum(axis=0)
    return {
        "signals": int(answers.sum()),
        "by_class": answers[:-1].tolist(),
        "unanswered": int(answers[-1]) if tally.classes else None,
        "saturated": int(flagged[0]),
        "second_pulse": int(flagged[1]),
        "mean_charge_ratio": _mean(tally.ratio[mine].sum(axis=0)),
        "mean_residual": _mean(tally.residual[mine].sum(axis=0)),
    }


def _run(run: RunAccount) -> dict[str, Any]:
    return {
        "run": run.name,
        "signals": run.signals,
        "recorded": run.recorded,
        "refused": dict(run.refused),
        "quarantined": run.quarantined,
        "by_class": None if run.answers is None else run.answers[:-1].tolist(),
        "mean_charge_ratio": _mean(run.ratio),
        "mean_residual": _mean(run.residual),
    }


def _mean(moments: Array) -> float | None:
    return float(moments[1] / moments[0]) if moments[0] else None
