"""Parts of a training that need no TensorFlow: order, shares, course, restart state, batch size, directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from psdbatch.config.training import Optimisation, TrainingConfig, read_training
from psdbatch.errors import ConfigurationError, TrainingError
from psdbatch.training import order as order_module
from psdbatch.training.course import Course
from psdbatch.training.directory import TrainingDirectory
from psdbatch.training.feeding import Batch, Feed, Share, class_weights
from psdbatch.training.measured import BatchSize, candidates, choose
from psdbatch.training.order import Order
from psdbatch.training.prepare import check_directory, write_directory
from psdbatch.training.records import best_checkpoint, checkpoint_name, checkpoints, history_table, newest_round
from psdbatch.training.restart import RestartState, position
from psdbatch.training.talk import Assignment
from psdbatch.training_set.store import Part, open_set
from tests.trainings import write_set, write_training

ROOM = 10**9


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Part:
    """1,000 signals in chunks of 128."""
    return open_set(write_set(tmp_path_factory.mktemp("set") / "set.zarr")).part("train")


@pytest.fixture
def small_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two chunks are mixed with one another instead of all."""
    monkeypatch.setattr(order_module, "POOL", 256)


def places(order: Order) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Stored position of the signal at each place of an epoch."""
    found = []
    for pool in range(len(order.starts) - 1):
        chunks = [
            np.arange(chunk * order.chunk, min((chunk + 1) * order.chunk, order.size))
            for chunk in order.chunks_of(pool)
        ]
        found.append(np.concatenate(chunks)[order.mixed(pool)])
    return np.concatenate(found)


@pytest.mark.parametrize("pool", [256, 65_536])
@pytest.mark.parametrize("size", [1, 127, 128, 129, 1000])
def test_an_epoch_sees_every_signal_once(monkeypatch: pytest.MonkeyPatch, pool: int, size: int) -> None:
    monkeypatch.setattr(order_module, "POOL", pool)
    assert sorted(places(Order(size, 128, 1, 1))) == list(range(size))


def test_the_order_follows_from_seed_and_epoch() -> None:
    def first(seed: int, epoch: int) -> list[int]:
        return list(places(Order(1000, 128, seed, epoch))[:20])

    assert first(1, 1) == first(1, 1)
    assert first(1, 1) != first(1, 2)
    assert first(1, 1) != first(2, 1)
    assert list(places(Order(1000, 128))) == list(range(1000))


def test_signals_of_distant_chunks_meet_in_a_pool(small_pools: None) -> None:
    order = Order(10_000, 128, 1, 1)
    together = [order.chunks_of(pool) for pool in range(len(order.starts) - 1)]
    assert max(abs(chunks[0] - chunks[-1]) for chunks in together) > 10


@pytest.mark.parametrize("replicas", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [1, 2, 7, 10, 64])
def test_the_shares_of_a_batch_are_all_of_it_in_whole_pairs(replicas: int, count: int) -> None:
    rows = [Share(rank, replicas).rows(count) for rank in range(replicas)]
    assert [row for share in rows for row in range(count)[share]] == list(range(count))
    assert all(share.start % 2 == 0 or share.start == count for share in rows)
    most = Share(0, replicas).most(count)
    assert max(share.stop - share.start for share in rows) <= most <= count // replicas + 3


def fed(part: Part, replicas: int, batch: int, first: int = 0, epoch: int | None = 3) -> list[list[Batch]]:
    """Batches of every replica."""
    ones = np.ones(2, np.float32)
    feeds = [Feed(part, Share(rank, replicas), ones, ROOM) for rank in range(replicas)]
    return [list(feed.batches(feed.order(5, epoch), batch, first)) for feed in feeds]


def real(batch: Batch) -> list[tuple[int, int, bytes]]:
    """Place, label and samples of the signals that count."""
    rows = zip(batch.number, batch.label, batch.raw, batch.weight, strict=True)
    return [(int(number), int(label), raw.tobytes()) for number, label, raw, weight in rows if weight]


@pytest.mark.parametrize("batch", [2, 100, 300, 2000])
def test_a_global_batch_is_the_same_however_many_replicas_share_it(small_pools: None, part: Part, batch: int) -> None:
    alone = [real(entry) for entry in fed(part, 1, batch)[0]]
    assert [number for entry in alone for number, _, _ in entry] == list(range(1000))
    for replicas in (2, 3):
        shared = zip(*fed(part, replicas, batch), strict=True)
        assert [[row for share in step for row in real(share)] for step in shared] == alone


def test_all_batches_have_one_shape_and_surplus_rows_weigh_nothing(part: Part) -> None:
    for batches in fed(part, 3, 300):
        assert {batch.raw.shape for batch in batches} == {(100, 96)}
        last = batches[-1]
        assert ((last.weight == 0) == (last.number == -1)).all()
        assert (last.raw != 0).any(axis=1).all()


def test_feeding_goes_on_anywhere_in_an_epoch(small_pools: None, part: Part) -> None:
    whole = fed(part, 1, 100)[0]
    later = fed(part, 1, 100, first=600)[0]
    assert [real(batch) for batch in later] == [real(batch) for batch in whole[6:]]
    assert fed(part, 1, 100, first=1000)[0] == []


def test_a_set_that_does_not_fit_is_fed_all_the_same(small_pools: None, part: Part) -> None:
    ones = np.ones(2, np.float32)
    little, much = (Feed(part, Share(), ones, memory) for memory in (30_000, ROOM))
    read: list[int] = []

    def counted(feed: Feed) -> Iterator[Batch]:
        original = feed.part.read

        def read_counted(start: int, stop: int, names: object = None) -> object:
            read.append(start)
            return original(start, stop, names)  # type: ignore[arg-type]

        object.__setattr__(feed, "part", _Reading(feed.part, read_counted))
        for epoch in (1, 2):
            yield from feed.batches(feed.order(5, epoch), 100)

    few = [real(batch) for batch in counted(little)]
    often = len(read)
    assert few == [real(batch) for batch in counted(much)]
    assert (often, len(read) - often) == (15, 8)  # one chunk of eight fits; all of them


class _Reading:
    """A part whose reading is counted."""

    def __init__(self, part: Part, read: object) -> None:
        self.size, self.chunk, self.read = part.size, part.chunk, read

    def __len__(self) -> int:
        return self.size


def test_an_error_while_reading_ahead_is_raised_where_the_batch_is_wanted(tmp_path: Path) -> None:
    path = write_set(tmp_path / "set.zarr", 1000)
    part = open_set(path).part("train")
    (shard,) = [file for file in sorted((path / "train" / "label").iterdir()) if file.name == "c.1"]
    shard.write_bytes(os.urandom(shard.stat().st_size))
    feed = Feed(part, Share(), np.ones(2, np.float32), ROOM)
    with pytest.raises(Exception, match=r"train|label|cannot be read"):
        list(feed.batches(feed.order(1, 1), 100))


def test_balanced_classes_weigh_the_same() -> None:
    weights = class_weights({"gamma": 900, "neutron": 100}, ("gamma", "neutron"), "balanced")
    assert weights[0] * 900 == pytest.approx(weights[1] * 100)
    assert (weights * [900, 100]).sum() == pytest.approx(1000)
    assert list(class_weights({"gamma": 5}, ("gamma", "neutron"), "balanced")) == [1, 0]
    assert list(class_weights({"gamma": 5, "neutron": 9}, ("gamma", "neutron"), "none")) == [1, 1]


def course_of(losses: list[float], **settings: object) -> Course:
    course = Course(0.1)
    for number, loss in enumerate(losses):
        assert not course.stopped
        course.ended({"epoch": number + 1, "val_loss": loss}, Optimisation.model_validate(settings))
    return course


def test_training_stops_when_patience_is_over() -> None:
    course = course_of([1.0, 0.5, 0.6, 0.7, 0.5], patience=3)
    assert (course.stopped, course.best_epoch, course.best_loss) == ("patience", 2, 0.5)
    assert course_of([1.0, 0.5, 0.6, 0.4, 0.5], patience=3).stopped == ""


def test_training_stops_after_the_last_epoch() -> None:
    course = course_of([1.0, 0.5], epochs=2)
    assert course.stopped == "epochs"
    course.judge(Optimisation(epochs=3))
    assert course.stopped == ""


def test_the_learning_rate_falls_on_a_plateau() -> None:
    assert course_of([1.0, 1.1, 1.2], plateau=2).learning_rate == 0.05
    assert course_of([1.0, 1.1, 0.9, 1.2], plateau=2).learning_rate == 0.1
    assert course_of([1.0] * 6, plateau=2).learning_rate == pytest.approx(0.025)
    assert course_of([1.0] * 6).learning_rate == 0.1


def test_the_course_survives_the_restart_state(tmp_path: Path) -> None:
    course = course_of([1.0, 0.5, 0.6])
    weights = [np.arange(6, dtype=np.float32).reshape(2, 3), np.float32(np.pi)]
    state = RestartState(3, 128, weights, [np.array(7, np.int64)], np.array([1.0, np.e]), course.facts(), 64, 1.5)
    state.write(tmp_path / "state.npz")
    read = RestartState.read(tmp_path / "state.npz")
    assert read is not None
    assert Course(**read.course) == course
    assert [array.tobytes() for array in read.weights] == [np.asarray(array).tobytes() for array in weights]
    assert (read.optimiser[0].dtype, int(read.optimiser[0])) == (np.int64, 7)
    assert list(read.sums) == [1.0, np.e]
    assert (read.epoch, read.done, read.batch, read.seconds) == (3, 128, 64, 1.5)
    assert position(tmp_path / "state.npz") == (3, 128)
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]


def test_without_a_restart_state_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert RestartState.read(tmp_path / "state.npz") is None
    assert position(tmp_path / "state.npz") == (0, 0)


@pytest.mark.parametrize("cut", [0, 100, -10])
def test_a_damaged_restart_state_is_named(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "state.npz"
    RestartState(1, 0, [np.zeros(100)], [], np.zeros(3)).write(path)
    path.write_bytes(path.read_bytes()[:cut] if cut else b"nonsense")
    with pytest.raises(TrainingError, match=r"state\.npz: the restart state is damaged"):
        RestartState.read(path)


def test_batches_are_tried_as_long_as_an_epoch_has_a_hundred_steps() -> None:
    assert candidates(126_000) == [32, 64, 128, 256, 512, 1024]
    assert candidates(1000) == [32]
    assert candidates(126_000, limit=100) == [32, 64]
    assert candidates(126_000, limit=10) == [10]


def test_the_smallest_batch_that_is_nearly_fastest_is_taken() -> None:
    assert choose({32: 100, 64: 190, 128: 350, 256: 400, 512: 410}) == 128
    assert choose({32: 100}) == 32


def test_a_batch_that_does_not_fit_is_halved(tmp_path: Path) -> None:
    halved = BatchSize(1024).halved()
    assert halved is not None
    assert (halved.batch, halved.limit) == (512, 512)
    trying = BatchSize(None, 2048).halved()
    assert trying is not None
    assert (trying.batch, trying.limit) == (None, 1024)
    odd = BatchSize(6).halved()
    assert odd is not None
    assert odd.batch == 2
    assert BatchSize(2).halved() is None
    trying.write(tmp_path / "batch.json")
    assert BatchSize.read(tmp_path / "batch.json") == trying
    assert BatchSize.read(tmp_path / "none.json") == BatchSize()


def test_networks_are_listed_by_their_epoch(tmp_path: Path) -> None:
    for epoch, loss in ((9, 0.5), (10, 0.25), (100, 0.125)):
        (tmp_path / checkpoint_name(epoch, loss)).touch()
    (tmp_path / ".partial-1.keras").touch()
    names = [path.name for path in checkpoints(tmp_path)]
    assert names == ["epoch-009-loss-0.5000.keras", "epoch-010-loss-0.2500.keras", "epoch-100-loss-0.1250.keras"]


def test_the_best_network_is_that_of_the_recorded_course_not_the_newest_file(tmp_path: Path) -> None:
    directory = TrainingDirectory(tmp_path)
    directory.restart.parent.mkdir(parents=True)
    assert best_checkpoint(directory) is None
    stale = directory.checkpoints / checkpoint_name(50, 0.01)
    stale.touch()
    assert best_checkpoint(directory) == stale  # nothing has begun anew
    course = course_of([1.0, 0.5, 0.6])
    RestartState(3, 0, [], [], np.zeros(3), course.facts()).write(directory.restart)
    assert best_checkpoint(directory) is None
    best = directory.checkpoints / checkpoint_name(2, 0.5)
    best.touch()
    assert best_checkpoint(directory) == best


def test_the_history_is_a_table_with_a_header() -> None:
    assert history_table([{"epoch": 1, "loss": 0.5}]) == b"epoch,loss\r\n1,0.5\r\n"
    assert history_table([]) == b""


def test_rounds_are_counted_by_their_files(tmp_path: Path) -> None:
    directory = TrainingDirectory(tmp_path)
    assert newest_round(directory) == 0
    directory.rounds.mkdir()
    for number in (2, 10):
        (directory.rounds / f"{number:06d}.json").touch()
    assert newest_round(directory) == 10


def test_an_assignment_is_one_line() -> None:
    assignment = Assignment("/t", 3, 1, ("a:1", "b:2"), 4, 10**9, False)
    assert "\n" not in assignment.line()
    assert Assignment.of(assignment.line()) == assignment


def prepared(tmp_path: Path, **sections: object) -> tuple[TrainingDirectory, TrainingConfig]:
    config = read_training(write_training(tmp_path / "training.toml", tmp_path / "set.zarr", **sections))
    return TrainingDirectory(Path(config.training)), config


def test_a_directory_is_known_again_by_what_the_network_learns_from(tmp_path: Path) -> None:
    directory, config = prepared(tmp_path)
    check_directory(directory, config)
    write_directory(directory, config, "digest")
    assert read_training(directory.config) == config
    _, more = prepared(tmp_path, replicas=7, wait="1 s", optimisation={"epochs": 9, "checkpoint_steps": 5})
    check_directory(directory, more)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"optimisation": {"learning_rate": 0.5}}, "'optimisation.learning_rate' is 0.5, was 0.1"),
        ({"network": {"name": "wide"}}, "'network.name' is 'wide', was 'dense'"),
        ({"augmentation": {"noise": 3.0}}, "'augmentation.noise' is 3.0, was 0.0"),
        ({"preparation": {"length": 60}}, "'preparation.length' is 60, was 75"),
    ],
)
def test_a_directory_that_holds_another_training_is_refused(
    tmp_path: Path, sections: dict[str, object], said: str
) -> None:
    directory, config = prepared(tmp_path)
    write_directory(directory, config, "digest")
    _, other = prepared(tmp_path, **sections)
    with pytest.raises(TrainingError) as refusal:
        check_directory(directory, other)
    assert "holds another training" in str(refusal.value)
    assert said in str(refusal.value)


def test_another_set_is_another_training(tmp_path: Path) -> None:
    directory, config = prepared(tmp_path)
    write_directory(directory, config, "digest")
    with pytest.raises(TrainingError, match="another training set"):
        write_directory(directory, config, "another")


def test_a_campaign_is_no_training(tmp_path: Path) -> None:
    directory, config = prepared(tmp_path)
    directory.path.mkdir()
    (directory.path / "plan.json").touch()
    with pytest.raises(TrainingError, match="is a campaign's directory"):
        check_directory(directory, config)


def test_odd_batches_are_refused(tmp_path: Path) -> None:
    path = write_training(tmp_path / "training.toml", tmp_path / "set.zarr", optimisation={"batch": 33})
    with pytest.raises(ConfigurationError, match="even number"):
        read_training(path)
