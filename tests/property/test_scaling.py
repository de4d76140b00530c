"""Jobs follow the work: within limits, for every block left somebody, and nobody for none."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from psdbatch.cluster.scaling import GroupLoad, jobs_wanted, to_release

BLOCKS = st.integers(0, 2000)


@st.composite
def loads(draw: st.DrawFn, measured: bool | None = None) -> GroupLoad:
    """A group as it may stand; ``measured``: whether its pace and start are known."""
    limit = draw(st.integers(1, 60))
    running = draw(st.integers(0, limit))
    known = draw(st.booleans()) if measured is None else measured
    return GroupLoad(
        name="",
        limit=limit,
        blocks=draw(st.integers(1, 12)),
        running=running,
        pending=draw(st.integers(0, limit - running)),
        pace=draw(st.floats(1e-3, 1e3)) if known else None,
        start=draw(st.floats(0, 1e4)) if known else None,
    )


def named(groups: list[GroupLoad]) -> list[GroupLoad]:
    return [replace(group, name=str(number)) for number, group in enumerate(groups)]


FARMS = st.lists(loads(), min_size=1, max_size=4).map(named)
UNMEASURED = st.lists(loads(measured=False), min_size=1, max_size=4).map(named)


def capacity(groups: list[GroupLoad]) -> int:
    """Blocks that the running workers treat at once."""
    return sum(group.running * group.blocks for group in groups)


@given(FARMS, BLOCKS)
def test_a_group_has_between_its_running_jobs_and_its_limit(groups: list[GroupLoad], left: int) -> None:
    wanted = jobs_wanted(groups, left)
    assert list(wanted) == [group.name for group in groups]
    assert all(group.running <= wanted[group.name] <= group.limit for group in groups)


@given(FARMS, BLOCKS)
def test_every_further_job_has_a_block_of_its_own_to_begin(groups: list[GroupLoad], left: int) -> None:
    wanted = jobs_wanted(groups, left)
    for group in groups:
        further = wanted[group.name] - group.running
        assert further == 0 or capacity(groups) + (further - 1) * group.blocks < left


@given(UNMEASURED, BLOCKS)
def test_a_group_within_its_limit_asks_for_enough(groups: list[GroupLoad], left: int) -> None:
    wanted = jobs_wanted(groups, left)
    for group in groups:
        further = wanted[group.name] - group.running
        assert wanted[group.name] == group.limit or capacity(groups) + further * group.blocks >= left


@given(FARMS, st.integers(1, 2000))
def test_while_blocks_are_left_somebody_is_asked_for(groups: list[GroupLoad], left: int) -> None:
    assert sum(jobs_wanted(groups, left).values()) >= 1
    nobody_yet = [replace(group, running=0) for group in groups]
    assert min(jobs_wanted(nobody_yet, left).values()) >= 1  # nobody knows which queue moves first


@given(FARMS, BLOCKS, BLOCKS)
def test_more_work_never_asks_for_fewer_jobs(groups: list[GroupLoad], left: int, more: int) -> None:
    few, many = jobs_wanted(groups, left), jobs_wanted(groups, left + more)
    assert all(few[name] <= many[name] for name in few)


@given(FARMS, BLOCKS, st.data())
def test_a_job_that_would_start_when_all_is_done_is_not_asked_for(
    groups: list[GroupLoad], left: int, data: st.DataObject
) -> None:
    working = data.draw(loads(measured=True).filter(lambda group: group.running > 0))
    groups = [*(group for group in groups if not group.running), replace(working, name="working")]
    assert working.pace is not None
    end = left / (working.running * working.pace)
    late = replace(groups[0], name="late", running=0, start=end * data.draw(st.floats(1.001, 9)) + 1e-9)
    early = replace(late, name="early", start=end * data.draw(st.floats(0, 0.999)))
    wanted = jobs_wanted([*groups, late, early], left)
    assert wanted["late"] == 0
    assert (wanted["early"] > 0) == (left > capacity(groups))


@given(st.integers(0, 500), st.integers(0, 500), BLOCKS)
def test_an_idle_worker_is_released_exactly_when_no_block_waits_for_it(busy: int, idle: int, waiting: int) -> None:
    released = to_release(busy + idle, idle, waiting)
    assert 0 <= released <= idle
    assert idle - released == min(idle, waiting)


@given(FARMS, st.data())
def test_who_is_released_is_not_asked_for_again(groups: list[GroupLoad], data: st.DataObject) -> None:
    busy = [data.draw(st.integers(0, group.running)) for group in groups]
    treated = data.draw(st.integers(sum(busy), sum(n * group.blocks for n, group in zip(busy, groups, strict=True))))
    waiting = data.draw(st.integers(0, 50))
    running = sum(group.running for group in groups)
    released = to_release(running, running - sum(busy), waiting)
    kept = []
    for group, working in zip(groups, busy, strict=True):
        gone = min(released, group.running - working)
        released -= gone
        kept.append(replace(group, running=group.running - gone))
    assert released == 0
    if sum(group.running for group in kept) < running:
        assert jobs_wanted(kept, treated + waiting) == {group.name: group.running for group in kept}
