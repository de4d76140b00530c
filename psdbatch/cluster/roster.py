"""Which worker belongs to which job, and what workers say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from distributed import Scheduler

from psdbatch.cluster.deaths import Death, Deaths
from psdbatch.cluster.events import ADMITTED, DEATHS, LEFT, REFUSED, Events
from psdbatch.cluster.group import Group, Placed
from psdbatch.cluster.listener import Listener
from psdbatch.cluster.names import group_of


class Roster:
    """The workers of all groups.

    Parameters
    ----------
    groups
        By name.
    deaths
        Where it is noted how workers died.
    listener
        Is told what workers say.
    lost
        Called when a worker is gone: has its job ended, or only its process?
    """

    def __init__(
        self, groups: Mapping[str, Group], deaths: Deaths, listener: Listener, lost: Callable[[], None]
    ) -> None:
        self._groups, self._deaths, self._listener, self._lost = groups, deaths, listener, lost
        self._by_address: dict[str, Placed] = {}

    def follow(self, scheduler: Scheduler) -> None:
        """Hear from now on what the workers of ``scheduler`` say, and when they come and go."""
        calls = {
            DEATHS: self._died,
            ADMITTED: self._listener.admitted,
            REFUSED: self._refused,
            LEFT: self._left,
        }
        scheduler.add_plugin(Events(calls, self._arrived, self._gone))

    def placed(self, name: object) -> Placed | None:
        """The job of the worker of that name."""
        group = self._groups.get(group_of(str(name)))
        return group.jobs.get(str(name)) if group else None

    def note_blocks(self, scheduler: Scheduler) -> None:
        """Remember which blocks each worker treats: the last word of one that is killed."""
        for state in scheduler.workers.values():
            facts = state.metrics.get("psdbatch")
            if facts and (placed := self.placed(state.name)):
                placed.heard(facts["running"], facts["leaving"])

    def _arrived(self, address: str, name: str) -> None:
        if placed := self.placed(name):
            self._by_address[address] = placed
            self._groups[placed.group].arrived(placed, address)

    def _gone(self, address: str) -> None:
        placed = self._by_address.get(address)
        if placed is None:
            return
        if placed.address == address:
            self._groups[placed.group].gone(placed)
        if placed.left or placed.released:
            self._deaths.report(address, Death("the worker had left", innocent=True))
        self._lost()

    def _died(self, said: dict[str, Any]) -> None:
        self._deaths.report(said["worker"], Death(said["reason"]))
        self._listener.died(said)

    def _refused(self, said: dict[str, Any]) -> None:
        """A worker was not admitted; its job ends by itself."""
        if placed := self.placed(said["name"]):
            self._groups[placed.group].refused(placed, said["node"], said["reason"], said["avoid"])
            self._listener.said(f"worker {placed.name} on {said['node']} is refused: {said['reason']}")
            self._lost()

    def _left(self, said: dict[str, Any]) -> None:
        if placed := self.placed(said["name"]):
            placed.left = True
