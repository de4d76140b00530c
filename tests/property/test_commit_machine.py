"""Attempts, zombies, crashes and coordinators in any order, against a dictionary as the model."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from psdbatch.campaign.commit import CommitRecord, publish, quarantine
from psdbatch.campaign.directory import BlockName
from psdbatch.campaign.finalise import finalise
from psdbatch.campaign.plan import Block
from tests.actors import Actor, Stage
from tests.faults import operations
from tests.small_campaign import COLUMNS, Values, answers, folder_in_memory, small_campaign

GIVEN_UP = -1
"""Stands for a worker in the model: the block is quarantined."""


class CommitMachine(RuleBasedStateMachine):
    """``model`` says whose answers each finished block has; it is filled in when the block's record is first seen."""

    def __init__(self) -> None:
        super().__init__()
        self.theatre = ExitStack()
        folder = self.theatre.enter_context(folder_in_memory())
        self.campaign = small_campaign(folder / "campaign", {"run_1": (20,), "run_2": (9,)})
        self.theatre.enter_context(operations(Stage()))
        self.actors: list[Actor] = []
        self.attempts: list[tuple[Actor, Block]] = []
        self.model: dict[BlockName, int] = {}
        self.records: dict[BlockName, bytes] = {}
        self.workers = 0

    def teardown(self) -> None:
        with self.theatre:
            self.settle()

    def play(self, actor: Actor) -> Actor:
        self.actors.append(actor)
        return actor

    def choose(self, number: int) -> Actor:
        waiting = [actor for actor in self.actors if not actor.done]
        return waiting[number % len(waiting)]

    def block(self, number: int) -> Block:
        blocks = self.campaign.blocks()
        return blocks[number % len(blocks)]

    @rule(number=st.integers(0, 9))
    def start_attempt(self, number: int) -> None:
        block, campaign = self.block(number), self.campaign
        worker, self.workers = self.workers, self.workers + 1
        actor = self.play(Actor(lambda: campaign.attempt(block, worker)))
        self.attempts.append((actor, block))

    @rule(number=st.integers(0, 9))
    def start_quarantine(self, number: int) -> None:
        block, campaign = self.block(number), self.campaign
        given_up = {
            **campaign.record(block),
            "quarantine": "three workers died",
            "refused": {"given up": block.signals},
        }
        actor = self.play(Actor(lambda: quarantine(campaign.directory, block.name, **given_up)))
        self.attempts.append((actor, block))

    @rule()
    def start_another_coordinator(self) -> None:
        campaign = self.campaign
        self.play(Actor(lambda: finalise(campaign.directory, campaign.plan)))

    @rule(number=st.integers(0, 9))
    def start_publication(self, number: int) -> None:
        campaign, block = self.campaign, self.block(number)
        path = campaign.directory.record(block.name)
        if path.exists():
            self.play(Actor(lambda: publish(campaign.directory, CommitRecord.read(path))))

    def somebody_waits(self) -> bool:
        return any(not actor.done for actor in self.actors)

    @precondition(somebody_waits)
    @rule(number=st.integers(0, 9), steps=st.integers(1, 30))
    def go_some_steps(self, number: int, steps: int) -> None:
        actor = self.choose(number)
        for _ in range(steps):
            actor.step()

    @precondition(somebody_waits)
    @rule(number=st.integers(0, 9))
    def finish(self, number: int) -> None:
        self.choose(number).finish()

    @precondition(somebody_waits)
    @rule(number=st.integers(0, 9))
    def crash(self, number: int) -> None:
        self.choose(number).kill()

    @rule()
    def crash_all_and_go_on(self) -> None:
        for actor in self.actors:
            actor.kill()
        self.campaign.go_on()

    @rule()
    def another_process_goes_on(self) -> None:
        self.campaign.go_on()  # while the others are asleep: they wake as zombies

    @precondition(lambda self: len(self.campaign.plan.runs) < 4)
    @rule(signals=st.integers(1, 40))
    def append_a_run(self, signals: int) -> None:
        self.campaign = self.campaign.with_run(f"run_{len(self.campaign.plan.runs) + 1}", signals)

    @rule()
    def settle(self) -> None:
        """Everybody comes to an end, the campaign is finished: the store holds the model's answers, and nothing is left."""
        for actor in self.actors:
            actor.finish()
            assert actor.error is None, actor.error
        if not any(actor.killed for actor in self.actors):
            assert self.campaign.staged() == []  # those who lost have tidied up themselves
        self.campaign.go_on()
        self.records_never_change()
        self.actors.clear()
        self.attempts.clear()
        for run in self.campaign.plan.runs:
            stored = self.campaign.decoded(run.name)
            for block in self.campaign.plan.blocks(run):
                expected = self.expected(block)
                for name, values in stored.items():
                    part = values[block.first : block.first + block.signals]
                    np.testing.assert_array_equal(part, expected[name], err_msg=f"{block.name} {name}")
        assert self.campaign.staged() == []
        audit = self.campaign.audit()
        assert audit.passed, audit.problems

    def expected(self, block: Block) -> Values:
        if self.model[block.name] == GIVEN_UP:
            return {
                column.name: np.full((block.signals, *column.shape), column.fill_value(), column.dtype)
                for column in COLUMNS
            }
        return answers(block.name, block.signals, self.model[block.name])

    @invariant()
    def records_never_change(self) -> None:
        found = {
            name: self.campaign.directory.record(name).read_bytes() for name in self.campaign.directory.committed()
        }
        assert found.keys() >= self.records.keys()
        assert all(found[name] == record for name, record in self.records.items())
        for name in found.keys() - self.records.keys():
            self.records[name] = found[name]
            self.model[name] = whose(CommitRecord.read(self.campaign.directory.record(name)))
        self.every_attempt_knows_who_won()

    def every_attempt_knows_who_won(self) -> None:
        for actor, block in self.attempts:
            if actor.done and not actor.killed and actor.error is None:
                assert actor.result.to_bytes() == self.records[block.name]


def whose(record: CommitRecord) -> int:
    """The worker whose answers a record holds."""
    return GIVEN_UP if record.quarantine else int(record.report["worker"])


TestCommitMachine: Any = CommitMachine.TestCase
TestCommitMachine.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
