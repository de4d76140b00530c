"""State of a training as ``psdbatch status`` prints it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from psdbatch.monitor.tables import fact_table, jobs_table, say_event
from psdbatch.training.course import REASONS, describe

if TYPE_CHECKING:
    from psdbatch.training.status import TrainingStatus


def status_table(status: TrainingStatus) -> RenderableType:
    """How far it is, who works on it, and its jobs."""
    facts = [("coordinator", status.coordinator)] if status.coordinator else []
    if status.signals is None:
        facts.append(("set", "none yet: the coordinator builds it when it starts"))
    facts.append(("epochs", f"{status.epochs:,} of at most {status.most:,}"))
    if status.used:
        facts.append((f"epoch {status.epochs + 1}", f"{status.used:,} of {status.signals or 0:,} signals are safe"))
    if status.last is not None:
        facts.append(("last epoch", describe(status.last)))
    if status.best is not None:
        facts.append((f"best, epoch {status.best_epoch}", describe(status.best)))
    if status.stopped:
        after = "frozen and evaluated" if status.finished else "'psdbatch train' freezes and evaluates the best network"
        facts.append(("end", f"{REASONS[status.stopped]}; {after}"))
    if status.last_event:
        facts.append(("last event", say_event(status.last_event)))
    parts = [fact_table(facts)]
    if status.jobs or status.unanswered:
        parts += [Text(), jobs_table(status)]
    return Group(*parts)
