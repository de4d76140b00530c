"""The workers of a campaign, wherever they run: processes of this machine, or jobs of batch systems."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import dask
from distributed import Client, LocalCluster, Scheduler

from psdbatch.cluster.batch import BatchCluster
from psdbatch.cluster.deaths import Death, Deaths
from psdbatch.cluster.events import DEATHS, Events
from psdbatch.cluster.jobs import JobSheet
from psdbatch.cluster.listener import Listener
from psdbatch.cluster.local import local_cluster, workers_of
from psdbatch.cluster.network import scheduler_place
from psdbatch.cluster.reaper import Reaper
from psdbatch.cluster.security import temporary_security
from psdbatch.cluster.settings import SETTINGS
from psdbatch.config.cluster import Cluster

Result = TypeVar("Result")


class Farm:
    """What the coordinator knows of its workers.

    Attributes
    ----------
    client
        Connected to the scheduler.
    deaths
        How workers died.
    """

    def __init__(self, client: Client, deaths: Deaths, home: LocalCluster | BatchCluster, expected: int = 0) -> None:
        self.client = client
        self.deaths = deaths
        self._home = home
        self._cluster = home if isinstance(home, BatchCluster) else None
        self._expected = expected

    def threads(self) -> int:
        """Blocks that all workers treat at a time now."""
        if self._cluster is not None:
            return self._cluster.threads()
        return sum(worker["nthreads"] for worker in self.workers().values()) or self._expected

    def workers(self) -> dict[str, dict[str, Any]]:
        """All workers of this moment by address, as the scheduler describes them.

        ``Client.scheduler_info`` would return what its client heard last, which a timer replaces by a list without workers.
        """
        found: dict[str, Any] = self.client.sync(self.client.scheduler.identity, n_workers=-1)
        workers: dict[str, dict[str, Any]] = found["workers"]
        return workers

    def pulse(self, blocks_left: int, tasks_left: int | None = None) -> None:
        """Tell how many blocks have no commit yet, and how many tasks they make up if not as many; jobs follow these numbers.

        Raises
        ------
        ClusterError
            No worker can be had.
        """
        if self._cluster is not None:
            self._cluster.pulse(blocks_left, tasks_left)

    def measured(self, group: str, seconds: float, signals: int) -> None:
        """A worker of ``group`` took ``seconds`` for a block of ``signals``."""
        if self._cluster is not None:
            self._cluster.measured(group, seconds, signals)

    def describe(self) -> str:
        """Jobs of each group in one line; empty for a local cluster."""
        return "" if self._cluster is None else self._cluster.describe()

    def jobs(self) -> dict[str, dict[str, int]]:
        """Jobs of each group by state; a local cluster is a group without a name, its workers are running."""
        if self._cluster is None:
            return {"": {"running": len(self._home.scheduler.workers)}}
        return {name: group.counts() for name, group in self._cluster.groups.items()}

    def in_flight(self) -> int:
        """Blocks that workers treat now."""
        states = list(self._home.scheduler.workers.values())
        return sum(min(len(state.processing), state.nthreads) for state in states)

    def at_scheduler(self, call: Callable[[Scheduler], Result]) -> Result:
        """Result of ``call(scheduler)`` in the scheduler's own thread."""

        async def there() -> Result:
            return call(self._home.scheduler)

        result: Result = self._home.sync(there)
        return result

    def use(self) -> dict[str, dict[str, Any]]:
        """What each worker group has used, by name."""
        return {} if self._cluster is None else {name: group.used() for name, group in self._cluster.groups.items()}


def worker_threads(config: Cluster) -> dict[str, int]:
    """Blocks that a worker treats at a time, by group; of all workers together, under no name, for a local cluster."""
    if config.kind == "local":
        processes, threads = workers_of(config)
        return {"": processes * threads}
    return {group.name: group.blocks for group in config.workers}


@contextmanager
def open_farm(config: Cluster, sheet: JobSheet, certificates: Path, listener: Listener) -> Iterator[Farm]:
    """Start the workers, yield what the coordinator needs of them, end them.

    Parameters
    ----------
    config
        The ``[cluster]`` section.
    sheet
        What a campaign's jobs have in common.
    certificates
        Directory for this start's certificate, if connections are encrypted.
    listener
        Is told about jobs and workers, from the cluster's thread.
    """
    deaths = Deaths()
    # Another port is taken then, and the address that is printed is the true one.
    warnings.filterwarnings("ignore", r"Port \d+ is already in use", UserWarning)
    if config.kind == "local":
        processes, threads = workers_of(config)
        with local_cluster(config, sheet.logs) as (cluster, client):
            died = Events({DEATHS: lambda said: _died(said, deaths, listener)})
            cluster.sync(_add_plugin, cluster.scheduler, died)
            yield Farm(client, deaths, cluster, expected=processes * threads)
        return
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(SETTINGS))
        security = stack.enter_context(temporary_security(certificates)) if config.encrypted else None
        reaper = stack.enter_context(Reaper(config.worker_timeout))
        cluster = stack.enter_context(
            BatchCluster(
                config,
                sheet,
                security,
                listener,
                deaths,
                reaper,
                dashboard_address=config.dashboard or "127.0.0.1:0",  # without one, a port that nobody is told
                **scheduler_place(config),
            )
        )
        client = stack.enter_context(Client(cluster, security=security, set_as_default=False))
        yield Farm(client, deaths, cluster)


async def _add_plugin(scheduler: Any, plugin: Events) -> None:
    scheduler.add_plugin(plugin)


def _died(said: dict[str, Any], deaths: Deaths, listener: Listener) -> None:
    deaths.report(said["worker"], Death(said["reason"]))
    listener.died(said)
