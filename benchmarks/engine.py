"""The engine on data in memory: preparation, network and classical quantities from raw int16, in million signals/s.

One thread except in the last rows; the best call of a second counts.  ``network alone`` is the frozen graph from float32
windows, without preparation, charges or flags: what the preparation is measured against.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.material import dense_network, pulses
from psdbatch.config import Charge, ModelSource, PileUp, Preparation, SignalShape
from psdbatch.models.engine_settings import EngineSettings

BATCHES = (256, 1024, 4096, 8192, 16_384, 65_536)
SECONDS = 0.6
WINDOW = 75


def run(directory: Path, signals: int) -> list[dict[str, Any]]:
    """Rows for 75 and 232 samples; ``signals`` does not matter here."""
    from psdbatch.models.describe import describe
    from psdbatch.models.engine import configure_tensorflow

    configure_tensorflow(2)
    folder = directory / "engine"
    folder.mkdir(parents=True, exist_ok=True)
    source = ModelSource(path=str(dense_network(folder / "dense.pb", WINDOW)))
    facts = describe(source, folder)

    def settings(samples: int, align: Any, xla: bool = True) -> EngineSettings:
        offset = (0 if samples == WINDOW else 10) if align == "start" else -5
        preparation, charge = Preparation(align=align, offset=offset), Charge(align=align, offset=offset)
        return EngineSettings(facts, source, SignalShape(), preparation, charge, PileUp(), samples, "int16", xla)

    rows = [_row("network alone, uncompiled", WINDOW, lambda batch: _network(facts, batch, False))]
    rows.append(_row("network alone, XLA", WINDOW, lambda batch: _network(facts, batch, True)))
    for samples in (WINDOW, 232):
        plain = settings(samples, "start", xla=False)
        rows.append(_row("raw int16, start, uncompiled", samples, lambda batch, plain=plain: _engine(plain, batch)))
        for align in ("start", "threshold", "maximum"):
            compiled = settings(samples, align)
            rows.append(_row(f"raw int16, {align}, XLA", samples, lambda batch, given=compiled: _engine(given, batch)))
        complete = _complete(folder, samples)
        rows.append(
            _row(
                "raw int16, threshold, XLA, complete file", samples, lambda batch, given=complete: _engine(given, batch)
            )
        )
    for samples in (WINDOW, 232):
        for threads in (1, 2):
            rows.append(_threads_row(settings(samples, "threshold"), threads))
    return rows


def _complete(folder: Path, samples: int) -> EngineSettings:
    """The same network frozen with its preparation inside."""
    from psdbatch.models.card import ModelCard
    from psdbatch.models.complete import write_complete
    from psdbatch.models.describe import describe
    from psdbatch.models.loading import load_network

    inside, outside = Preparation(length=WINDOW, offset=-5), Preparation(enabled=False)
    card = ModelCard((), "classifier", True, samples, "int16", SignalShape(), inside, ())
    path = folder / f"complete-{samples}.pb"
    write_complete(load_network(folder / "dense.pb"), path, card)
    source = ModelSource(path=str(path))
    made = folder / f"complete-{samples}"
    made.mkdir(exist_ok=True)
    charge = Charge(align="threshold", offset=-5)
    return EngineSettings(describe(source, made), source, SignalShape(), outside, charge, PileUp(), samples, "int16")


def _row(what: str, samples: int, make: Callable[[int], Callable[[], Any]]) -> dict[str, Any]:
    paces = {f"{batch:,}": batch / _best(make(batch)) / 1e6 for batch in BATCHES}
    return {"samples": samples, "way": what, **paces}


def _best(call: Callable[[], Any]) -> float:
    """Seconds of the fastest call."""
    call()
    fastest, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        started = time.perf_counter()
        call()
        fastest = min(fastest, time.perf_counter() - started)
    return fastest


def _network(facts: Any, batch: int, xla: bool) -> Callable[[], Any]:
    from psdbatch.models.frozen import load
    from psdbatch.models.quiet import tf

    windows = tf.constant(np.random.default_rng(0).random((batch, WINDOW), np.float32))
    network = load(facts)
    signature = [tf.TensorSpec((batch, WINDOW), "float32")]
    function = tf.function(lambda given: network(given), input_signature=signature, jit_compile=xla or None)
    concrete = function.get_concrete_function()
    return lambda: concrete(windows)[0].numpy()


def _engine(settings: EngineSettings, batch: int) -> Callable[[], Any]:
    """A call of :meth:`Engine.infer`, results written to columns."""
    from psdbatch.models.engine import Engine, aligned

    engine = Engine(settings, batch)
    raw = aligned(batch, settings.samples, "int16")
    raw[:] = pulses(batch, settings.samples, 1).samples
    out = {name: np.zeros(batch, np.float32) for name in ("amplitude", "charge_long", "charge_short")}
    out |= {"label": np.zeros(batch, np.uint8), "flags": np.zeros(batch, np.uint16)}
    out["probability"] = np.zeros((batch, 2), np.float32)
    return lambda: engine.infer(raw, out)


def _threads_row(settings: EngineSettings, threads: int) -> dict[str, Any]:
    """Calls of several threads on one engine, over a second."""
    paces = {}
    for batch in BATCHES:
        calls = [_engine(settings, batch) for _ in range(threads)]
        for call in calls:
            call()
        end = time.perf_counter() + SECONDS

        def count(call: Callable[[], Any], end: float = end) -> int:
            done = 0
            while time.perf_counter() < end:
                call()
                done += 1
            return done

        started = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            done = sum(pool.map(count, calls))
        paces[f"{batch:,}"] = done * batch / (time.perf_counter() - started) / 1e6
    return {"samples": settings.samples, "way": f"raw int16, threshold, XLA, mean of {threads} thread(s)", **paces}
