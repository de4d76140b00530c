"""The campaign's model: described once, in a process of its own, and kept beside the plan."""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path

from psdbatch import __version__
from psdbatch.acquisition.index import default_cache
from psdbatch.campaign import files
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.config import CampaignConfig, ModelSource
from psdbatch.errors import ModelError
from psdbatch.models.describing import describe_in_subprocess
from psdbatch.models.facts import ModelFacts

FACTS_VERSION = 2
"""Part of what a description is kept under: raise it when it says something new."""

FACTS, FROZEN, QUESTION = "model.json", "model.pb", "question"


def find_model(config: CampaignConfig, directory: CampaignDirectory) -> ModelFacts:
    """Facts of the model that the configuration names.

    The campaign's own copy serves as long as the source has not changed; else the source is frozen and described,
    which needs TensorFlow and therefore happens in another process, once per model and user.

    Raises
    ------
    ModelError
        The model cannot be used.
    """
    source = Path(config.model.path)
    kept = directory.model
    if not source.exists() and (kept / FACTS).exists():
        return ModelFacts.read(kept / FACTS)
    question = _question(config.model)
    if (kept / QUESTION).exists() and (kept / QUESTION).read_text() == question:
        return ModelFacts.read(kept / FACTS)
    folder = default_cache() / "models" / question
    if not (folder / FACTS).exists():
        folder.mkdir(parents=True, exist_ok=True)
        describe_in_subprocess(config.model, folder)
        (folder / QUESTION).write_text(question)
    return ModelFacts.read(folder / FACTS)


def keep_model(facts: ModelFacts, directory: CampaignDirectory) -> None:
    """Copy the frozen model and its facts into the campaign, once."""
    source = Path(facts.path).parent
    if (directory.model / FACTS).exists() or source == directory.model:
        return
    partial = directory.path / f".model.{uuid.uuid4().hex}"
    files.make_directory(partial)
    try:
        for name in (FROZEN, FACTS, QUESTION):
            files.write_durably(partial / name, [(source / name).read_bytes()])
        files.sync_directory(partial)
        files.rename(partial, directory.model)
        files.sync_directory(directory.path)
    except OSError:
        if not (directory.model / FACTS).exists():  # else another coordinator has kept it in the same moment
            raise
    finally:
        files.remove_tree(partial)


def _question(source: ModelSource) -> str:
    """Digest of the source's bytes and of how it is to be read."""
    path = Path(source.path)
    digest = hashlib.sha256(json.dumps([__version__, FACTS_VERSION, source.input, source.outputs]).encode())
    try:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                digest.update(str(file.relative_to(path)).encode())
                with file.open("rb") as content:
                    digest.update(hashlib.file_digest(content, "sha256").digest())
    except OSError as error:
        raise ModelError(f"{path}: the model cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()[:32]
