"""Ask another process about a model, so that this one need not load TensorFlow."""

from __future__ import annotations

from pathlib import Path

from psdbatch.config import ModelSource
from psdbatch.models.asking import ask
from psdbatch.models.facts import ModelFacts


def describe_in_subprocess(source: ModelSource, directory: Path) -> ModelFacts:
    """Freeze and describe ``source`` into ``directory`` (``model.pb``, ``model.json``).

    Raises
    ------
    ModelError
        The model cannot be used, or TensorFlow is not installed here.
    """
    request = {"source": source.model_dump(mode="json"), "directory": str(directory)}
    ask("psdbatch.models.describe", request, source.path)
    return ModelFacts.read(directory / "model.json")
