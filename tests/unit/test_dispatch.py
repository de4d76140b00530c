"""The dispatcher with real worker processes: what is tried again, what is given up, what comes back."""

from __future__ import annotations

import errno
import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import pytest
from distributed import Client, Nanny, Scheduler, SpecCluster, Status, get_worker
from rich.console import Console

from psdbatch.campaign.commit import Attempt, CommitRecord
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.journal import Journal
from psdbatch.cluster.deaths import Death
from psdbatch.cluster.farm import open_farm
from psdbatch.cluster.jobs import JobSheet
from psdbatch.cluster.names import GROUP
from psdbatch.cluster.settings import SETTINGS
from psdbatch.config import Cluster
from psdbatch.coordination.coordinator import give_up
from psdbatch.coordination.dispatch import Dispatcher
from psdbatch.coordination.failures import Troubles
from psdbatch.coordination.witness import Witness
from psdbatch.errors import AcquisitionFileError, DeviceError, NoTimeLeftError, ReadError, StorageError
from psdbatch.monitor.progress import Progress
from psdbatch.processing.process import BlockTask, _storing, block_task, sound_device
from tests.small_campaign import SmallCampaign, small_campaign


@contextmanager
def workers(processes: int, threads: int, folder: Path) -> Iterator[Client]:
    """A local farm; its client knows how workers died."""
    witness = Witness(Journal(folder / "journal.jsonl"), Progress(Console(file=io.StringIO())))
    settings = Cluster(processes=processes, threads=threads, dashboard="")
    with open_farm(settings, JobSheet("", logs=folder, label=""), folder / "certificates", witness) as farm:
        farm.client.death_of = farm.deaths.of
        yield farm.client


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with workers(1, 2, tmp_path_factory.mktemp("logs")) as connected:
        yield connected


@pytest.fixture
def two_workers(tmp_path: Path) -> Iterator[Client]:
    with workers(2, 1, tmp_path) as connected:
        yield connected


@pytest.fixture
def two_nodes(tmp_path: Path) -> Iterator[Client]:
    """Two workers of two threads each, on what looks like two nodes."""
    nodes = {
        number: {"cls": Nanny, "options": {"host": f"127.0.0.{number}", "nthreads": 2, "dashboard": False}}
        for number in (1, 2)
    }
    scheduler = {"cls": Scheduler, "options": {"dashboard_address": "127.0.0.1:0"}}
    with (
        dask.config.set(SETTINGS),
        SpecCluster(workers=nodes, scheduler=scheduler) as cluster,
        Client(cluster) as client,
    ):

        def death_of(worker: str) -> Death:
            """Known when both nannies have started another worker."""
            while [facts["status"] for facts in client.scheduler_info()["workers"].values()] != ["running"] * 2:
                time.sleep(0.01)
            return Death("was killed by signal 9")

        client.death_of = death_of
        yield client


@pytest.fixture
def campaign(tmp_path: Path) -> SmallCampaign:
    return small_campaign(tmp_path / "campaign")


def commit(task: BlockTask, before: Callable[[BlockTask, int], None]) -> list[CommitRecord]:
    """Commit a task's blocks one after another, calling ``before`` with each one's position first."""
    directory = CampaignDirectory(Path(task.campaign))
    records = []
    for number, (block, identity) in enumerate(zip(task.blocks, task.identities, strict=True)):
        if not directory.record(block.name).exists():
            before(task, number)
            attempt = Attempt(directory, block.name)
            attempt.commit(first=block.first, signals=block.signals, identity=identity)
        records.append(CommitRecord.read(directory.record(block.name)))
    return records


def attempts(task: BlockTask) -> int:
    """How often this was called for the task, this time included."""
    with (Path(task.campaign) / f"attempts-{task.blocks[0].name.run}-{task.blocks[0].name.number}").open("a") as file:
        file.write("x")
        return file.tell()


def fails_twice(task: BlockTask) -> list[CommitRecord]:
    if attempts(task) < 3:
        raise ReadError("the network is away")
    return commit(task, lambda *_: None)


def always_away(task: BlockTask) -> list[CommitRecord]:
    raise ReadError("the network is away")


def second_is_bad(task: BlockTask) -> list[CommitRecord]:
    def check(task: BlockTask, number: int) -> None:
        if task.blocks[number].name.number == 1:
            raise AcquisitionFileError("ends early")

    return commit(task, check)


def disk_is_full(task: BlockTask) -> list[CommitRecord]:
    raise StorageError("no room", lasting=True)


def disk_is_fine(task: BlockTask) -> list[CommitRecord]:
    return commit(task, lambda *_: None)


def second_kills(task: BlockTask) -> list[CommitRecord]:
    def check(task: BlockTask, number: int) -> None:
        if task.blocks[number].name.number == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    return commit(task, check)


def dies_among_others(task: BlockTask) -> list[CommitRecord]:
    """With three others kills both workers; alone says who else is there, and waits for one on another node."""
    campaign, worker = CampaignDirectory(Path(task.campaign)), get_worker()
    if attempts(task) == 1:
        note(campaign, "begun 1")
        wait_for_notes(campaign, "begun", 4)
        os.kill(os.getpid(), signal.SIGKILL)
    note(campaign, f"beside {len(worker.state.executing) - 1}")
    note(campaign, f"node {worker.address.split('/')[2].split(':')[0]}")
    note(campaign, f"met {wait_for_notes(campaign, 'node', 2)}")
    return commit(task, lambda *_: None)


def wait_for_notes(campaign: CampaignDirectory, what: str, number: int) -> bool:
    """Whether there are ``number`` notes of a kind within a minute."""
    end = time.monotonic() + 60
    while (campaign.path / "notes").read_text().count(what) < number:
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def waiting_at_this_worker() -> int:
    """Tasks that were given to the worker before it had a thread for them."""
    state = get_worker().state
    return len(state.ready) + len(state.constrained)


def first_is_slow(task: BlockTask) -> list[CommitRecord]:
    """The first task to start ends last of all: it waits until all others are committed."""
    campaign = CampaignDirectory(Path(task.campaign))
    note(campaign, f"waiting {waiting_at_this_worker()}")
    if first(campaign):
        end = time.monotonic() + 60
        while len(list(campaign.committed())) < 9 and time.monotonic() < end:
            time.sleep(0.01)
    return commit(task, lambda *_: None)


def first_pauses_its_worker(task: BlockTask) -> list[CommitRecord]:
    campaign = CampaignDirectory(Path(task.campaign))
    worker = get_worker()
    if first(campaign):
        worker.loop.add_callback(setattr, worker, "status", Status.paused)
        note(campaign, f"paused {worker.address}")
        time.sleep(0.2)  # the other worker's turn to be given all that is left
    note(campaign, f"waiting {waiting_at_this_worker()}")
    note(campaign, f"done {worker.address}")
    return commit(task, lambda *_: None)


def first(campaign: CampaignDirectory) -> bool:
    """Whether nobody asked before."""
    try:
        (campaign.path / "first").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def note(campaign: CampaignDirectory, what: str) -> None:
    with (campaign.path / "notes").open("a") as file:
        file.write(what + "\n")


def notes(campaign: SmallCampaign, what: str) -> list[str]:
    lines = (line.split() for line in (campaign.directory.path / "notes").read_text().splitlines())
    return [value for key, value in lines if key == what]


def dispatcher(client: Client, campaign: SmallCampaign, work: Callable[[BlockTask], list[CommitRecord]]) -> Dispatcher:
    journal = Journal(campaign.directory.journal)
    witness = Witness(journal, Progress(Console(file=io.StringIO())))
    return Dispatcher(
        client=client,
        threads=lambda: 2,
        attempts=3,
        backoff=0.01,
        watcher=witness,
        quarantine=lambda task, failures: give_up(campaign.directory, campaign.plan, task, failures, witness),
        work=work,
        death_of=client.death_of,
    )


def single(campaign: SmallCampaign) -> Iterator[BlockTask]:
    """One task per block of the first run."""
    run = campaign.plan.runs[0]
    return (block_task(campaign.directory, campaign.plan, run, (block,)) for block in campaign.plan.blocks(run))


def chain(campaign: SmallCampaign) -> Iterator[BlockTask]:
    """All blocks of the first run as one task."""
    run = campaign.plan.runs[0]
    yield block_task(campaign.directory, campaign.plan, run, tuple(campaign.plan.blocks(run)))


def committed(campaign: SmallCampaign) -> dict[int, CommitRecord]:
    return {name.number: CommitRecord.read(campaign.directory.record(name)) for name in campaign.directory.committed()}


def test_a_passing_failure_is_tried_again_until_it_passes(client: Client, campaign: SmallCampaign) -> None:
    assert dispatcher(client, campaign, fails_twice).run(single(campaign)) == []
    blocks = len(list(single(campaign)))
    assert len(committed(campaign)) == blocks
    assert len(list(campaign.directory.path.glob("attempts-*"))) == blocks
    assert all(path.read_text() == "xxx" for path in campaign.directory.path.glob("attempts-*"))


def test_a_failure_that_does_not_pass_leaves_the_blocks_for_the_next_start(
    client: Client, campaign: SmallCampaign
) -> None:
    left = dispatcher(client, campaign, always_away).run(single(campaign))
    assert len(left) == len(list(single(campaign)))
    assert committed(campaign) == {}
    assert campaign.directory.journal.read_text().count("the network is away") == 3 * len(left)


def test_a_bad_block_of_a_chain_gives_up_itself_alone(client: Client, campaign: SmallCampaign) -> None:
    assert dispatcher(client, campaign, second_is_bad).run(chain(campaign)) == []
    found = committed(campaign)
    assert len(found) == len(next(chain(campaign)).blocks) > 2
    assert [number for number, record in sorted(found.items()) if record.quarantine] == [1]
    assert found[1].quarantine == "ends early"
    assert found[1].refused == {"the block was given up": found[1].signals}


def test_a_full_disk_stops_everything_at_once(client: Client, campaign: SmallCampaign) -> None:
    with pytest.raises(StorageError, match="no room"):
        dispatcher(client, campaign, disk_is_full).run(single(campaign))
    assert committed(campaign) == {}


def test_a_block_that_kills_its_workers_is_given_up_and_takes_no_other_along(
    client: Client, campaign: SmallCampaign
) -> None:
    assert dispatcher(client, campaign, second_kills).run(single(campaign)) == []
    found = committed(campaign)
    assert len(found) == len(list(single(campaign)))
    assert [number for number, record in sorted(found.items()) if record.quarantine] == [1]
    assert "killed by signal 9" in str(found[1].quarantine)


def test_under_suspicion_a_block_is_alone_on_its_node_and_nodes_work_together(
    two_nodes: Client, tmp_path: Path
) -> None:
    campaign = small_campaign(tmp_path / "campaign", {"run_1": (64,)})
    assert dispatcher(two_nodes, campaign, dies_among_others).run(single(campaign)) == []
    assert len(committed(campaign)) == 4
    assert notes(campaign, "beside") == ["0"] * 4
    assert set(notes(campaign, "node")) == {"127.0.0.1", "127.0.0.2"}
    assert notes(campaign, "met") == ["True"] * 4


def test_under_suspicion_a_block_stays_alone_when_it_loses_its_worker(client: Client, campaign: SmallCampaign) -> None:
    made, suspect = dispatcher(client, campaign, disk_is_fine), Troubles(deaths=1)
    task, other = list(single(campaign))[:2]
    made._act(task, suspect, NoTimeLeftError("the job ends"), None, None)
    made._act(other, Troubles(), NoTimeLeftError("the job ends"), None, None)
    assert [waiting.task for waiting in made._alone] == [task]
    assert [waiting.task for waiting in made._paused] == [other]


def device_breaks_once(task: BlockTask) -> list[CommitRecord]:
    with sound_device(f"block {task.blocks[0].name}", Path(task.campaign) / "logs"):
        if task.blocks[0].name.number == 1 and attempts(task) == 1:
            raise DeviceError("the device fails: InternalError: uncorrectable ECC error")
        return commit(task, lambda *_: None)


def test_a_worker_whose_device_fails_ends_itself_and_the_block_is_treated_by_the_next(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    with workers(1, 2, campaign.directory.logs) as client:
        assert dispatcher(client, campaign, device_breaks_once).run(single(campaign)) == []
    assert not any(record.quarantine for record in committed(campaign).values())
    assert len(committed(campaign)) == len(list(single(campaign)))
    assert (
        "the worker died: ended itself: block run_1/000001: the device fails" in campaign.directory.journal.read_text()
    )


def node_loses_its_file_system_once(task: BlockTask) -> list[CommitRecord]:
    block, first = task.blocks[0], task.blocks[0].name.number == 1 and attempts(task) == 1
    os.environ[GROUP] = "v100" if first else ""
    with _storing(CampaignDirectory(Path(task.campaign)), block):
        if first:
            raise OSError(errno.EROFS, "Read-only file system")
        return commit(task, lambda *_: None)


def test_a_node_without_its_file_system_costs_its_worker_and_not_the_campaign(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    with workers(1, 1, campaign.directory.logs) as client:
        assert dispatcher(client, campaign, node_loses_its_file_system_once).run(single(campaign)) == []
    assert len(committed(campaign)) == len(list(single(campaign)))
    assert not any(record.quarantine for record in committed(campaign).values())
    assert "cannot be stored: Read-only file system" in campaign.directory.journal.read_text()


def each_block_fails_once(task: BlockTask) -> list[CommitRecord]:
    def check(task: BlockTask, number: int) -> None:
        mark = Path(task.campaign) / f"failed-{task.blocks[number].name.number}"
        if not mark.exists():
            mark.touch()
            raise ReadError("the network is away")

    return commit(task, check)


def test_a_chain_that_goes_on_is_not_blamed_for_its_earlier_blocks(client: Client, tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign", {"run_1": (16 * 8,)})
    made = dispatcher(client, campaign, each_block_fails_once)
    made.committed = lambda task, block: campaign.directory.record(block.name).exists()
    assert made.run(chain(campaign)) == []
    assert len(committed(campaign)) == 8 > made.attempts
    assert made.ended == 1


def takes_a_while(task: BlockTask) -> list[CommitRecord]:
    note(CampaignDirectory(Path(task.campaign)), f"begun {task.blocks[0].name.number}")
    time.sleep(1)
    return commit(task, lambda *_: None)


def test_after_a_notice_no_task_is_begun_and_what_runs_is_ended(client: Client, tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign", {"run_1": (160,)})
    begun = campaign.directory.path / "notes"
    made = dispatcher(client, campaign, takes_a_while)
    made.leaving = lambda: begun.exists() and len(begun.read_text().splitlines()) == 2
    assert made.run(single(campaign)) == []
    time.sleep(1.5)  # what waited at the scheduler would have been begun by now
    assert len(notes(campaign, "begun")) == len(committed(campaign)) == 2


def test_a_slow_worker_holds_no_other_task_up(two_workers: Client, tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign", {"run_1": (160,)})
    assert dispatcher(two_workers, campaign, first_is_slow).run(single(campaign)) == []
    assert len(committed(campaign)) == 10
    assert notes(campaign, "waiting") == ["0"] * 10


@pytest.mark.parametrize("blocks", [3, 10])  # fewer than twice the threads, and more
def test_a_paused_worker_holds_no_waiting_task(two_workers: Client, tmp_path: Path, blocks: int) -> None:
    campaign = small_campaign(tmp_path / "campaign", {"run_1": (16 * blocks,)})
    assert dispatcher(two_workers, campaign, first_pauses_its_worker).run(single(campaign)) == []
    assert notes(campaign, "waiting") == ["0"] * blocks
    (paused,) = notes(campaign, "paused")
    assert notes(campaign, "done").count(paused) == 1


def test_the_dashboard_shows_the_pass_as_one_row_and_the_blocks_by_name(
    client: Client, campaign: SmallCampaign
) -> None:
    def rows(dask_scheduler: Scheduler) -> list[tuple[str, ...]]:
        return [(task.prefix.name, *task.key) for task in dask_scheduler.tasks.values()]

    names: list[tuple[str, ...]] = []
    before = {group for _, group, _ in client.run_on_scheduler(rows)}  # of other tests, not yet forgotten
    made = dispatcher(client, campaign, always_away)
    made.attempts = 1
    made.watcher.failed = lambda *_: names.extend(client.run_on_scheduler(rows))  # type: ignore[method-assign]
    made.run(single(campaign))
    mine = [(prefix, group, name) for prefix, group, name in names if group not in before]
    assert {prefix for prefix, _, _ in mine} == {"process"}
    assert len({group for _, group, _ in mine}) == 1
    assert "run_1-000002" in {name for _, _, name in mine}


def test_the_record_of_a_block_is_told_and_those_of_a_chain_are_fetched(client: Client, tmp_path: Path) -> None:
    def fetched() -> int:
        return sum(event["action"] == "gather" for _, event in client.get_events("all"))

    before = fetched()
    for name, tasks, times in (("single", single, 0), ("chain", chain, 1)):
        campaign = small_campaign(tmp_path / name)
        assert dispatcher(client, campaign, disk_is_fine).run(tasks(campaign)) == []
        assert fetched() - before == times
