"""Answers of the plain graph: uncompiled, on a CPU; here, or in a process of its own.

``python -m psdbatch.golden.answers`` is that process: the coordinator never imports TensorFlow, and a
process that has a GPU must not use it for this.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from psdbatch.campaign.model import CampaignModels
from psdbatch.campaign.schema import SignalKind, engine_settings
from psdbatch.columns import FLAGS, RESIDUAL, SHAPE
from psdbatch.config import CampaignConfig
from psdbatch.errors import ModelError, PsdbatchError
from psdbatch.golden.batch import Array, Reference
from psdbatch.golden.software import software
from psdbatch.models.engine_settings import EngineSettings
from psdbatch.models.facts import ModelFacts
from psdbatch.models.outputs import output_columns

Answers = dict[str, Array]
Started = Callable[["subprocess.Popen[str]"], None]


def empty_answers(settings: EngineSettings, signals: int) -> Answers:
    """Arrays that an engine fills: the models' columns, the classical quantities, and ``flags`` without a bit."""
    residual = () if settings.quality is None else (RESIDUAL,)
    columns = (*output_columns(settings.facts, settings.source, settings.reserved), *residual, *SHAPE)
    return {**{column.name: column.empty(signals) for column in columns}, "flags": np.zeros(signals, FLAGS.dtype)}


def answers_here(settings: EngineSettings, samples: Array) -> Reference:
    """Answers of the plain graph to ``samples``, computed by this process.

    Raises
    ------
    ModelError
        The model does not fit.
    """
    from psdbatch.models.engine import Engine

    answers = empty_answers(settings, len(samples))
    if len(samples):
        Engine(replace(settings, xla=False), len(samples)).infer(samples, answers)
    return Reference(samples, answers, {"versions": software()})


def answers_elsewhere(
    config: CampaignConfig, facts: CampaignModels, questions: Sequence[Array], started: Started | None = None
) -> list[Reference]:
    """Answers of the plain graph to signals of several kinds, computed by another process without a GPU.

    Parameters
    ----------
    questions
        Raw signals, ``(n, samples)`` each.
    started
        Is given the process, to end it.

    Raises
    ------
    ModelError
        The model does not fit, or TensorFlow is not installed here.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise ModelError(
            f"{facts.model.source}: TensorFlow is needed for the reference answers that all workers must agree with, and is not installed "
            "here; install it with: pip install 'psdbatch[cpu]'"
        )
    with tempfile.TemporaryDirectory(prefix="psdbatch-golden-") as folder:
        for number, samples in enumerate(questions):
            np.save(Path(folder, f"question-{number}.npy"), samples)
        request = {
            "model": _description(facts.model),
            "quality": facts.quality and _description(facts.quality),
            "config": config.model_dump(mode="json"),
            "folder": folder,
            "count": len(questions),
        }
        _run(json.dumps(request), facts.model.source, started)
        return [Reference.read(Path(folder, f"answer-{number}.npz")) for number in range(len(questions))]


def _description(facts: ModelFacts) -> str:
    return str(Path(facts.path).with_name("model.json"))


def _run(request: str, source: str, started: Started | None) -> None:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen(
        [sys.executable, "-m", "psdbatch.golden.answers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        if started is not None:
            started(process)
        said, complaints = process.communicate(request)
    if process.returncode:
        raise ModelError(_reason(source, process.returncode, said, complaints))


def _reason(source: str, status: int, said: str, complaints: str) -> str:
    try:
        return str(json.loads(said.strip().split("\n")[-1])["error"])
    except (ValueError, KeyError, TypeError):
        last = (complaints.strip().split("\n") or ["no message"])[-1]
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return f"{source}: computing the reference answers ended with {how}: {last}"


def main() -> int:
    """Read a request from standard input; an error goes to standard output as JSON."""
    request = json.load(sys.stdin)
    try:
        config = CampaignConfig.model_validate(request["config"])
        quality = ModelFacts.read(Path(request["quality"])) if request["quality"] else None
        facts = CampaignModels(ModelFacts.read(Path(request["model"])), quality)
        for number in range(request["count"]):
            samples = np.load(Path(request["folder"], f"question-{number}.npy"), allow_pickle=False)
            settings = engine_settings(config, facts, SignalKind(samples.shape[1], samples.dtype.name))
            Path(request["folder"], f"answer-{number}.npz").write_bytes(answers_here(settings, samples).to_bytes())
    except PsdbatchError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
