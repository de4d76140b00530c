"""What a real scheduler hears from workers, and when they come and go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from distributed import Client, Scheduler, Worker

from psdbatch.cluster.events import LEFT, REFUSED, Events


def test_topics_workers_and_defects_reach_whom_they_should(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Any] = []

    def defective(event: dict[str, Any]) -> None:
        heard.append("defective")
        raise KeyError("node")

    async def scenario() -> None:
        async with Scheduler(port=0, dashboard_address="127.0.0.1:0") as scheduler:
            calls = {LEFT: heard.append, REFUSED: defective}
            come, go = lambda address, name: heard.append((address, name)), heard.append
            scheduler.add_plugin(Events(calls, come, go))
            async with Worker(scheduler.address, name="v100-1", nthreads=1) as worker:
                worker.log_event("another topic", {"name": "nobody"})
                async with Client(scheduler.address, asynchronous=True) as client:
                    await client.log_event(REFUSED, {})
                    await client.log_event(LEFT, {"name": "v100-1"})  # the defect before has hurt nobody
                address = worker.address
            assert heard == [(address, "v100-1"), "defective", {"name": "v100-1"}, address]

    asyncio.run(scenario())
    assert "event psdbatch-worker-refused cannot be treated: {}" in caplog.text
