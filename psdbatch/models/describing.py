"""Ask another process about a model, so that this one need not load TensorFlow."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from psdbatch.config import ModelSource
from psdbatch.errors import ModelError
from psdbatch.models.facts import ModelFacts


def describe_in_subprocess(source: ModelSource, directory: Path) -> ModelFacts:
    """Freeze and describe ``source`` into ``directory`` (``model.pb``, ``model.json``).

    Raises
    ------
    ModelError
        The model cannot be used, or TensorFlow is not installed here.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise ModelError(
            f"{source.path}: TensorFlow is needed to look into the model and is not installed here; "
            "install it with: pip install 'psdbatch[cpu]'"
        )
    request = json.dumps({"source": source.model_dump(mode="json"), "directory": str(directory)})
    done = subprocess.run(
        [sys.executable, "-m", "psdbatch.models.describe"], input=request, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ModelError(_reason(source, done))
    return ModelFacts.read(directory / "model.json")


def _reason(source: ModelSource, done: subprocess.CompletedProcess[str]) -> str:
    try:
        return str(json.loads(done.stdout.strip().split("\n")[-1])["error"])
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip().split("\n") or ["no message"])[-1]
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        return f"{source.path}: looking into the model ended with {how}: {last}"
