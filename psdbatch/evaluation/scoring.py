"""A frozen model on one part of a training set; also a process of its own, ``python -m psdbatch.evaluation.scoring``.

The command line stays without TensorFlow: it starts this process, which leaves arrays in a file.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.columns import charge_ratio
from psdbatch.config import ModelSource, PileUp, Preparation
from psdbatch.errors import ModelError, PsdbatchError, TrainingSetError
from psdbatch.evaluation.errors import EvaluationError
from psdbatch.evaluation.evaluation import Scored
from psdbatch.models.card import ModelCard
from psdbatch.models.engine_settings import EngineSettings
from psdbatch.models.facts import ModelFacts
from psdbatch.training_set.facts import SetFacts
from psdbatch.training_set.store import Part, open_set

Array = NDArray[Any]

BATCH = 4096
"""Signals in a model call, and in a chunk of a set."""

WORTH_COMPILING = 500_000
"""From this many signals on, compiling the model pays."""

COLUMNS = ("label", "amplitude", "energy", "charge_long", "charge_short")


def score_in_subprocess(
    model: Path, path: Path, part: str, signals: int | None = None
) -> tuple[ModelFacts, dict[str, Array]]:
    """Facts of a model and its answers for a part of the set at ``path``, found by another process.

    Parameters
    ----------
    model
        Frozen model with a card.
    signals
        Signals at most; default: all of the part.

    Returns
    -------
    facts
        What the model is.
    found
        Arrays by name, as :func:`score` gives them, or :func:`psdbatch.evaluation.reconstructing.reconstruct` for a model
        that does not classify.

    Raises
    ------
    ModelError
        The model cannot be used, or the process dies.
    EvaluationError
        Model and set do not fit.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise ModelError(
            f"{model}: TensorFlow is needed to run the model and is not installed here; install it with: pip install 'psdbatch[cpu]'"
        )
    with tempfile.TemporaryDirectory(prefix="psdbatch-evaluate-") as folder:
        request = {"model": str(model), "set": str(path), "part": part, "signals": signals, "folder": folder}
        command = [sys.executable, "-m", "psdbatch.evaluation.scoring"]
        done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=False)
        if done.returncode:
            raise _error(model, done)
        with np.load(Path(folder) / "answers.npz") as arrays:
            return ModelFacts.read(Path(folder) / "model.json"), dict(arrays)


def check_fit(card: ModelCard, facts: SetFacts, model: str) -> tuple[str, ...]:
    """What is to be known about a model on a set it was not trained with; one note each.

    Raises
    ------
    EvaluationError
        The two speak of other classes, or of pulses in the other direction.
    """
    if card.classes and {*card.classes} != {*facts.classes}:
        raise EvaluationError(
            f"{model}: the model knows the classes {', '.join(card.classes)}, the set holds {', '.join(facts.classes)}; evaluate it on a set of its own classes"
        )
    if card.signals.polarity != facts.signals.polarity:
        raise EvaluationError(
            f"{model}: the model was made for {card.signals.polarity} pulses, those of the set are {facts.signals.polarity}"
        )
    notes = []
    if card.signals.sampling_period != facts.signals.sampling_period:
        notes.append(
            f"the model was trained with samples of {card.signals.sampling_period:g} ns, the set has {facts.signals.sampling_period:g} ns"
        )
    trained = card.training.get("set")
    if isinstance(trained, Mapping) and trained.get("digest") not in (None, facts.digest):
        notes.append("the model was trained with another set than this one")
    return tuple(notes)


def engine_settings(facts: ModelFacts, of: SetFacts, signals: int) -> EngineSettings:
    """How the model runs on signals of a set."""
    card = known_card(facts)
    classifies = card.task == "classifier"
    return EngineSettings(
        facts=facts,
        source=ModelSource(
            path=facts.source,
            classes=(card.classes or None) if classifies else None,
            classifier=classifies,
        ),
        signals=of.signals,
        preparation=Preparation(enabled=False) if card.complete else card.preparation,
        charge=of.charge,
        pile_up=PileUp(),
        samples=of.samples,
        sample_dtype=of.sample_dtype,
        xla=signals >= WORTH_COMPILING,
    )


def known_card(facts: ModelFacts) -> ModelCard:
    """The card of a model.

    Raises
    ------
    EvaluationError
        It has none.
    """
    if facts.card is None:
        raise EvaluationError(
            f"{facts.source}: the model has no card, so nobody knows its classes and preparation; freeze it with 'psdbatch freeze'"
        )
    return facts.card


def score(engine: Any, part: Part, signals: int, order: tuple[int, ...]) -> dict[str, Array]:
    """Class scores of the first ``signals`` of ``part``, float32 ``(n, classes)``, and its columns of :data:`COLUMNS`.

    Parameters
    ----------
    engine
        :class:`psdbatch.models.batching.BatchedEngine`.
    order
        For each class of the set its number in the model's output.
    """
    found = {"scores": np.empty((signals, len(order)), np.float32)}
    found |= part.read(0, signals, COLUMNS)
    for start in range(0, signals, BATCH):
        raw = part.read(start, min(start + BATCH, signals), ["samples"])["samples"]
        out = {"probability": np.empty((len(raw), len(order)), np.float32)}
        out |= unused(len(raw))
        engine.infer(raw, out)
        found["scores"][start : start + len(raw)] = out["probability"][:, list(order)]
    return found


def unused(rows: int) -> dict[str, Array]:
    """Room for the column of an engine that nobody asks for here."""
    return {"flags": np.zeros(rows, np.uint16)}


def as_scored(found: Mapping[str, Array]) -> Scored:
    """Signals with their scores, from what :func:`score` gave."""
    ratio = charge_ratio(found["charge_long"], found["charge_short"])
    return Scored(found["scores"], found["label"].astype(np.int64), found["amplitude"], found["energy"], ratio)


def score_model(
    model: Path, path: Path, name: str, wanted: int | None, folder: Path
) -> tuple[ModelFacts, dict[str, Array]]:
    """As :func:`score_in_subprocess`, in this process; the frozen graph is copied to ``folder``.  Needs TensorFlow."""
    from psdbatch.models.batching import BatchedEngine
    from psdbatch.models.describe import describe
    from psdbatch.models.engine import configure_tensorflow, device_name

    stored = open_set(path)
    facts = describe(ModelSource(path=str(model)), folder)
    card, part = known_card(facts), stored.part(name)
    check_fit(card, stored.facts, facts.source)
    signals = len(part) if wanted is None else min(len(part), wanted)
    configure_tensorflow(1)
    engine = BatchedEngine(engine_settings(facts, stored.facts, signals), min(BATCH, signals), device_name())
    if card.task == "classifier":
        names = card.classes or stored.facts.classes
        return facts, score(engine, part, signals, tuple(names.index(entry) for entry in stored.facts.classes))
    from psdbatch.evaluation.reconstructing import reconstruct

    return facts, reconstruct(engine, facts, stored.facts, part, signals)


def _error(model: Path, done: subprocess.CompletedProcess[str]) -> PsdbatchError:
    try:
        record = json.loads(done.stdout.strip().split("\n")[-1])
        return (EvaluationError if record["about_set"] else ModelError)(str(record["error"]))
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip().split("\n") or ["no message"])[-1]
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        return ModelError(f"{model}: running the model ended with {how}: {last}")


def main() -> int:
    """Read ``{"model", "set", "part", "signals", "folder"}`` from standard input; an error goes to standard output as JSON."""
    request = json.load(sys.stdin)
    folder = Path(request["folder"])
    try:
        _, answers = score_model(
            Path(request["model"]), Path(request["set"]), request["part"], request["signals"], folder
        )
        found: dict[str, Any] = answers
        np.savez(folder / "answers.npz", **found)
    except PsdbatchError as error:
        print(json.dumps({"error": str(error), "about_set": isinstance(error, (EvaluationError, TrainingSetError))}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
