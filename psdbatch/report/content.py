"""What a report is made from: read once, whatever the report shows of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from psdbatch.campaign.account import Account
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.expectation import Comparison, compare_estimate, kept_estimate
from psdbatch.campaign.finalise import Summary, count_records, describe
from psdbatch.campaign.history import History
from psdbatch.campaign.journal import Journal
from psdbatch.campaign.model import FACTS
from psdbatch.campaign.plan import Plan
from psdbatch.campaign.reference import watch_drift
from psdbatch.config import Charge, ModelSource, read_config
from psdbatch.coordination.lock import current
from psdbatch.errors import PsdbatchError
from psdbatch.models.facts import ModelFacts
from psdbatch.models.outputs import answers
from psdbatch.monitor.drift_watch import DriftAlarm, DriftWatch
from psdbatch.monitor.figure_of_merit import Gates
from psdbatch.report.merit import Octave, octaves
from psdbatch.report.physics_facts import physics_facts

_READ = ("path", "classifier", "classes")  # of the plan's question about the model

MOST_BUSY = 1.05
"""Clocks of hosts differ a little: up to so much of a worker's time at work is all of it."""


@dataclass(frozen=True)
class GroupUse:
    """What a worker group, or the local machine under no name, has used in all passes.

    Attributes
    ----------
    jobs
        Submitted.
    hours, lost_hours
        Of workers (of GPUs, where each has one), and those of blocks that were not finished.
    blocks, signals
        Finished by it.
    busy
        Share of the time of its worker threads in which they worked on blocks that count; None: not known, as where
        the journal was cut or clocks disagree, so that more than all of it would come out.
    """

    name: str
    jobs: int
    hours: float
    lost_hours: float
    blocks: int
    signals: int
    busy: float | None


@dataclass(frozen=True)
class Content:
    """A campaign, read once.

    Attributes
    ----------
    classes
        Names; none for a model that does not classify.
    compared
        What was expected, and the truth; empty for a campaign that is not whole or was not estimated.
    model, monitor
        The network and that of the quality monitor; None where the campaign holds none.
    """

    directory: CampaignDirectory
    plan: Plan
    account: Account
    history: History
    summary: Summary
    classes: tuple[str, ...]
    compared: list[Comparison]
    model: ModelFacts | None
    monitor: ModelFacts | None

    @property
    def gates(self) -> Gates | None:
        """Gates of the charges; None where the plan does not tell."""
        try:
            charge = Charge.model_validate(self.plan.question["charge"])
        except (KeyError, ValueError):
            return None
        reference = f"{charge.threshold:g} of the amplitude" if charge.align == "threshold" else f"the {charge.align}"
        return Gates(reference, charge.offset, charge.short, charge.long)

    @cached_property
    def octaves(self) -> list[Octave]:
        """Figures of merit; none without physics."""
        tally = self.account.tally
        return [] if tally is None else octaves(tally, self.gates)

    @property
    def groups(self) -> list[GroupUse]:
        """All groups that were there or did something, by name."""
        names = {name for one in self.history.passes for name in (*one.groups, *one.threads)}
        return [self._group(name) for name in sorted(names | self.account.groups.keys())]

    def _group(self, name: str) -> GroupUse:
        done = self.account.groups.get(name)
        parts = [one.groups.get(name, {}) for one in self.history.passes]
        hours = sum(part.get("worker_seconds", 0.0) for part in parts) / 3600
        if name == "":
            hours = sum(one.elapsed for one in self.history.passes if "" in one.threads or not one.groups) / 3600
        threads = [one.thread_seconds(name) for one in self.history.passes]
        had = sum(seconds for seconds in threads if seconds is not None)
        known = had and done and all(one.threads for one in self.history.passes)
        busy = done.busy / had if known and done else None
        return GroupUse(
            name=name,
            jobs=sum(part.get("jobs", 0) for part in parts),
            hours=hours,
            lost_hours=sum(part.get("lost_seconds", 0.0) for part in parts) / 3600,
            blocks=done.blocks if done else 0,
            signals=done.signals if done else 0,
            busy=None if busy is None or busy > MOST_BUSY else min(1.0, busy),
        )

    @property
    def alarms(self) -> list[DriftAlarm]:
        """Where channels differ from the reference's; none without one."""
        watch, account = self.account.watch, self.account
        return [] if watch is None else watch.alarms(account.tally, self.summary.missing == 0)

    def facts(self) -> dict[str, Any]:
        """The numbers of the report as a plain dictionary."""
        throughput = self.account.throughput
        return {
            "summary": self.summary.facts(),
            "groups": [vars(group) for group in self.groups],
            "throughput": {
                "bucket_seconds": throughput.width,
                "worked_seconds": {bucket: throughput.seconds(bucket) for bucket in sorted(throughput.worked)},
                "signals": throughput.groups,
            },
            **physics_facts(self),
            "damaged_records": self.account.damaged,
            "compared": [
                {"name": name, "low": expected[0], "high": expected[1], "truth": truth}
                for name, expected, truth in self.compared
            ],
            "drift": [alarm.facts() for alarm in self.alarms],
            "failures": [
                {"kind": kind, "reason": failure.example, "times": failure.times}
                for kind, failures in (
                    ("attempt", self.history.attempts),
                    ("worker died", self.history.deaths),
                )
                for failure in failures.values()
            ],
        }


def read_content(directory: CampaignDirectory, account: Account | None = None) -> Content:
    """Read a campaign; ``account`` holds its commit records where somebody has added them up already.

    Raises
    ------
    CampaignError
        There is no campaign, or a commit record is damaged.
    """
    plan = account.plan if account else Plan.read(directory.plan)
    model = _facts(directory.model)
    classes = _classes(plan, model)
    history = History(Journal(directory.journal).read())
    watch = None if account else _watch(directory, plan, classes)
    account = account or count_records(directory, plan, True, watch, history.starts, tolerant=True)
    summary = describe(directory, account, history, running=_is_running(directory))
    elapsed = sum(one.elapsed for one in history.passes)
    whole, expected = not summary.missing, history.expected or kept_estimate(plan)
    return Content(
        directory=directory,
        plan=plan,
        account=account,
        history=history,
        summary=summary,
        classes=classes,
        compared=compare_estimate(expected, summary.bytes, elapsed, summary.peak_memory) if whole else [],
        model=model,
        monitor=_facts(directory.quality),
    )


def _is_running(directory: CampaignDirectory) -> bool:
    with suppress(PsdbatchError):  # a damaged lock is told by whoever wants it
        return current(directory) is not None
    return False


def _watch(directory: CampaignDirectory, plan: Plan, classes: tuple[str, ...]) -> DriftWatch | None:
    try:
        config = read_config(directory.config)
    except PsdbatchError:
        return None
    return watch_drift(config.model_copy(update={"campaign": str(directory.path)}), plan, classes)


def _classes(plan: Plan, model: ModelFacts | None) -> tuple[str, ...]:
    """Names as the plan has them, or as the model's outputs call for where nobody gave names."""
    asked = {name: value for name, value in plan.question["model"].items() if name in _READ and value is not None}
    if model is None:
        return tuple(asked.get("classes", ()))
    with suppress(PsdbatchError):
        return answers(model, ModelSource(**asked)).classes
    return ()


def _facts(folder: Path) -> ModelFacts | None:
    with suppress(PsdbatchError):
        return ModelFacts.read(folder / FACTS)
    return None
