"""The batch size is measured once per device, agreed on by all, and halved when memory runs out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psdbatch.errors import ModelError, OutOfMemoryError
from psdbatch.models import batch_size, batching, process_memory
from psdbatch.models.batch_size import choose, measure_batches, remembered_batch
from psdbatch.models.batching import BatchedEngine, engine_for
from psdbatch.models.engine_settings import EngineSettings
from psdbatch.models.process_memory import Share
from tests.frozen_models import engine_settings, pulses, softmax

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> EngineSettings:
    return engine_settings(tmp_path_factory.mktemp("models") / "softmax.pb", softmax)


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_engines", {})


def answers(engine: BatchedEngine, samples: Array) -> dict[str, Array]:
    n = len(samples)
    out = {
        "probability": np.empty((n, 2), np.float32),
        "label": np.empty(n, np.uint8),
        "charge_long": np.empty(n, np.float32),
        "flags": np.zeros(n, np.uint16),
    }
    engine.infer(samples, out)
    return out


def test_the_largest_batch_that_is_nearly_the_fastest_is_chosen() -> None:
    assert choose({1024: 5.0, 2048: 9.6, 4096: 10.0, 8192: 9.9, 16384: 9.4}) == 8192
    assert choose({256: 1.0}) == 256


class Paced:
    """The real engine behind a device whose pace and memory are known: a call takes as long as the device would."""

    def __init__(self, seconds: Callable[[int], float], room: int) -> None:
        self.seconds, self.room, self.asked = seconds, room, []  # type: ignore[var-annotated]

    def __call__(self, settings: EngineSettings, batch: int) -> Any:
        import time

        from psdbatch.models.engine import Engine

        self.asked.append(batch)
        if batch > self.room:
            raise OutOfMemoryError("no room")
        engine = Engine(replace(settings, xla=False), batch)
        run = engine.run

        def slow(samples: Array) -> Any:
            time.sleep(self.seconds(batch))
            return run(samples)

        engine.run = slow
        return engine


def test_the_search_finds_the_knee_and_turns_where_larger_batches_are_slower(settings: EngineSettings) -> None:
    device = Paced(lambda batch: 0.02 + batch / 2e5 + (batch / 20_000) ** 2, room=10**9)
    paces = measure_batches(settings, device, seconds=0.0)
    assert choose(paces) in (2048, 4096, 8192)
    assert max(device.asked) <= 32_768


def test_the_search_stops_where_memory_ends_and_goes_below(settings: EngineSettings) -> None:
    device = Paced(lambda batch: 0.1, room=1024)
    assert choose(measure_batches(settings, device, seconds=0.0)) == 1024
    assert min(device.asked) >= 256
    with pytest.raises(OutOfMemoryError, match="not even one signal"):
        measure_batches(settings, Paced(lambda batch: 0.0, room=0), seconds=0.0)


class Greedy(Paced):
    """A device whose calls take memory of the process, so many bytes per signal."""

    taken: Array

    def __init__(self, bytes_per_signal: int) -> None:
        super().__init__(lambda batch: 0.001, room=10**9)
        self.bytes_per_signal = bytes_per_signal

    def __call__(self, settings: EngineSettings, batch: int) -> Any:
        engine = super().__call__(settings, batch)
        run = engine.run

        def greedy(samples: Array) -> Any:
            self.taken = np.ones(batch * self.bytes_per_signal, np.uint8)
            answer = run(samples)
            del self.taken
            return answer

        engine.run = greedy
        return engine


def share_with_room_for(size: int, threads: int) -> Share:
    return Share(int((process_memory.resident() + size * threads) / process_memory.PART), threads)


@pytest.mark.parametrize("threads", [1, 4])
def test_no_size_is_tried_that_the_process_has_no_memory_for(settings: EngineSettings, threads: int) -> None:
    device = Greedy(30_000)  # 123 MB for 4096 signals
    measure_batches(settings, device, seconds=0.0, share=share_with_room_for(300_000_000, threads))
    assert max(device.asked) == 8192


def test_a_size_that_takes_too_much_memory_does_not_count(settings: EngineSettings) -> None:
    paces = measure_batches(settings, Greedy(30_000), seconds=0.0, share=share_with_room_for(90_000_000, 1))
    assert 1024 <= max(paces) <= 2048
    least = measure_batches(settings, Greedy(30_000), seconds=0.0, share=Share(1, 1))
    assert max(least) == 256


def test_a_measured_batch_is_remembered_and_belongs_to_model_and_device(
    settings: EngineSettings, tmp_path: Path
) -> None:
    limited = replace(settings, row_limit=512, xla=False)
    batch = remembered_batch(limited, "CPU", tmp_path)
    assert batch <= 512
    (record,) = tmp_path.iterdir()
    known = json.loads(record.read_text())
    assert known["batch"] == batch
    record.write_text(json.dumps({**known, "batch": 321}))
    assert remembered_batch(limited, "CPU", tmp_path) == 321
    moved = replace(limited, facts=replace(limited.facts, path="/elsewhere/model.pb"))
    assert remembered_batch(moved, "CPU", tmp_path) == 321
    assert remembered_batch(limited, "GPU Tesla K80", tmp_path) <= 512
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_record_is_measured_again(settings: EngineSettings, tmp_path: Path) -> None:
    limited = replace(settings, row_limit=256, xla=False)
    first = remembered_batch(limited, "CPU", tmp_path)
    (record,) = tmp_path.iterdir()
    for damage in (b"", b"{", b"[1]", b'{"batch": null}'):
        record.write_bytes(damage)
        assert remembered_batch(limited, "CPU", tmp_path) == first


def test_of_processes_that_measure_at_the_same_time_the_first_to_write_is_followed(
    settings: EngineSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = iter([{1024: 1.0}, {8192: 1.0}])

    def measure(_: EngineSettings, share: None) -> dict[int, float]:
        paces = next(measured)
        if 1024 in paces:  # while this process measures, another one does too, and is done earlier
            assert remembered_batch(settings, "CPU", tmp_path) == 8192
        return paces

    monkeypatch.setattr(batch_size, "measure_batches", measure)
    assert remembered_batch(settings, "CPU", tmp_path) == 8192
    assert remembered_batch(settings, "CPU", tmp_path) == 8192
    assert len(list(tmp_path.iterdir())) == 1


def test_memory_that_runs_out_halves_the_batch_and_loses_no_signal(
    settings: EngineSettings, caplog: pytest.LogCaptureFixture
) -> None:
    samples = pulses(300)
    expected = answers(BatchedEngine(settings, 256), samples)
    with caplog.at_level(logging.WARNING):
        engine = BatchedEngine(replace(settings, row_limit=50), 256)
    assert (engine.batch, engine.device_batch) == (256, 32)
    assert "batches of 32 signals" in caplog.text
    found = answers(engine, samples)
    np.testing.assert_array_equal(found["label"], expected["label"])
    np.testing.assert_allclose(found["probability"], expected["probability"], atol=1e-6)
    np.testing.assert_allclose(found["charge_long"], expected["charge_long"], rtol=1e-6)


def test_memory_that_runs_out_later_in_several_threads_halves_once_for_all(settings: EngineSettings) -> None:
    engine = BatchedEngine(settings, 64)
    batches = [pulses(64, seed=seed) for seed in range(8)]
    expected = [answers(engine, batch) for batch in batches]
    limited = replace(settings, row_limit=20)  # another program takes the memory away
    engine._settings = limited
    engine._engine.settings = limited
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda batch: answers(engine, batch), batches))
    assert engine.device_batch == 16
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one["label"], other["label"])
        np.testing.assert_allclose(one["probability"], other["probability"], atol=1e-6)


def test_one_signal_is_the_smallest_batch(settings: EngineSettings) -> None:
    engine = BatchedEngine(replace(settings, row_limit=1), 4)
    assert engine.device_batch == 1
    assert answers(engine, pulses(3))["label"].max() < 2
    with pytest.raises(OutOfMemoryError, match="not even one signal"):
        BatchedEngine(replace(settings, row_limit=0), 4)


def test_a_buffer_of_the_engine_takes_raw_signals(settings: EngineSettings) -> None:
    engine = BatchedEngine(settings, 32)
    buffer = engine.buffer(32)
    assert (buffer.shape, buffer.dtype) == ((32, 40), np.int16)
    buffer[:] = pulses(32)
    np.testing.assert_array_equal(answers(engine, buffer)["label"], answers(engine, pulses(32))["label"])


def test_threads_share_one_engine(settings: EngineSettings, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        engines = list(threads.map(lambda _: engine_for(settings, 128, tmp_path), range(8)))
    assert len({id(engine) for engine in engines}) == 1
    assert engines[0].batch == 128
    assert engines[0].device == "CPU" or engines[0].device.startswith("GPU")
    assert engine_for(replace(settings, samples=50), 128, tmp_path) is not engines[0]


def test_a_measured_engine_answers(settings: EngineSettings, tmp_path: Path) -> None:
    engine = engine_for(replace(settings, row_limit=512), "auto", tmp_path)
    assert engine.batch <= 512
    assert answers(engine, pulses(700))["label"].max() < 2


def test_an_engine_that_cannot_be_made_is_an_error_every_time(settings: EngineSettings, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ModelError, match="signals have only 12"):
            engine_for(replace(settings, samples=12), 64, tmp_path)
