"""How many jobs each worker group should have: a pure function of the work left and the measured pace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class GroupLoad:
    """A worker group as the scaling sees it.

    Attributes
    ----------
    name
        Of the group.
    limit
        Jobs at a time at most.
    blocks
        Blocks that one worker treats at a time.
    running
        Workers at work.
    pending
        Jobs that wait in the queue, or start.
    pace
        Blocks per second of one worker; None: not measured yet.
    start
        Seconds from a job's submission to its worker's arrival; None: not measured yet.
    """

    name: str
    limit: int
    blocks: int
    running: int = 0
    pending: int = 0
    pace: float | None = None
    start: float | None = None


def jobs_wanted(groups: Sequence[GroupLoad], blocks_left: int, tasks_left: int | None = None) -> dict[str, int]:
    """Jobs that each group should have, running and pending together.

    Workers at work stay (who is idle is seen elsewhere).  A job is asked for as long as tasks remain that the running
    workers do not treat at once, by every group on its own: nobody knows which queue moves first, and what turns out to
    be too much is cancelled while it is pending.  Nothing is asked for that would start only when all is done.

    Parameters
    ----------
    groups
        All worker groups.
    blocks_left
        Blocks without a commit, those being treated included.
    tasks_left
        Tasks that they make up, if not each one its own: a chain of blocks is one, which one worker thread treats.

    Returns
    -------
    dict
        Jobs by group, at most the group's limit.
    """
    waiting = (blocks_left if tasks_left is None else tasks_left) - sum(
        group.running * group.blocks for group in groups
    )
    end = _seconds_left(groups, blocks_left)
    wanted = {}
    for group in groups:
        more = max(0, -(-waiting // group.blocks))
        if end is not None and group.start is not None and group.start >= end:
            more = 0
        wanted[group.name] = max(group.running, min(group.limit, group.running + more))
    return wanted


def _seconds_left(groups: Sequence[GroupLoad], blocks_left: int) -> float | None:
    """Seconds in which the running workers would do all the work; None: unknown."""
    paces = [group.running * group.pace for group in groups if group.running and group.pace]
    if not paces or len(paces) < sum(1 for group in groups if group.running):
        return None
    return blocks_left / sum(paces)


def to_release(running: int, idle: int, waiting: int) -> int:
    """Workers that no block will come for, of ``running`` ones of which ``idle`` have nothing to do.

    Parameters
    ----------
    waiting
        Blocks that no worker treats yet.
    """
    return max(0, min(idle, idle - waiting, running))
