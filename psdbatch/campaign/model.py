"""The campaign's models: described once, in a process of their own, and kept beside the plan."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from psdbatch import __version__
from psdbatch.acquisition.index import default_cache
from psdbatch.campaign import files
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.config import CampaignConfig, ModelSource
from psdbatch.errors import ChangedError, ModelError
from psdbatch.models.describing import describe_in_subprocess
from psdbatch.models.facts import ModelFacts, source_digest

FACTS_VERSION = 3
"""Part of what a description is kept under: raise it when it says something new."""

FACTS, FROZEN, QUESTION = "model.json", "model.pb", "question"


@dataclass(frozen=True)
class CampaignModels:
    """What is known of a campaign's networks.

    Attributes
    ----------
    model
        The one whose answers are wanted.
    quality
        The quality monitor; None where there is none.
    """

    model: ModelFacts
    quality: ModelFacts | None = None


def find_models(config: CampaignConfig, directory: CampaignDirectory) -> CampaignModels:
    """Facts of the models that the configuration names.

    The campaign's own copy serves as long as the source has not changed; else the source is frozen and described,
    which needs TensorFlow and therefore happens in another process, once per model and user.

    Raises
    ------
    ModelError
        A model cannot be used.
    """
    quality = None if config.quality is None else _find(config.quality.source, directory.quality)
    return CampaignModels(_find(config.model, directory.model), quality)


def kept_models(config: CampaignConfig, directory: CampaignDirectory) -> CampaignModels:
    """The campaign's own copies of its models.

    Raises
    ------
    ModelError
        One is missing or damaged.
    """
    quality = ModelFacts.read(directory.quality / FACTS) if config.quality is not None else None
    return CampaignModels(ModelFacts.read(directory.model / FACTS), quality)


def keep_models(models: CampaignModels, directory: CampaignDirectory) -> None:
    """Copy the frozen models and their facts into the campaign, once."""
    _keep(models.model, directory.model, directory)
    if models.quality is not None:
        _keep(models.quality, directory.quality, directory)


def _find(source: ModelSource, kept: Path) -> ModelFacts:
    if not Path(source.path).exists() and (kept / FACTS).exists():
        return ModelFacts.read(kept / FACTS)
    question = _question(source)
    if (kept / QUESTION).exists() and (kept / QUESTION).read_text(encoding="ascii") == question:
        return ModelFacts.read(kept / FACTS)
    folder = default_cache() / "models" / question
    if not (folder / QUESTION).exists():
        _describe_into(source, question, folder)
    # Whoever asked first may have named another file with the same bytes.
    return replace(ModelFacts.read(folder / FACTS), source=source.path)


def _describe_into(source: ModelSource, question: str, folder: Path) -> None:
    """Describe the model aside and rename: the folder holds everything or is not there."""
    partial = folder.with_name(f".{question}.{uuid.uuid4().hex}")
    try:
        partial.mkdir(parents=True)
        describe_in_subprocess(source, partial)
        (partial / QUESTION).write_text(question, encoding="ascii")
        shutil.rmtree(folder, ignore_errors=True)  # half-made by an older version
        with suppress(OSError):  # another process was first
            partial.rename(folder)
    except OSError as error:
        raise ModelError(f"{folder}: the model's description cannot be kept: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _keep(facts: ModelFacts, kept: Path, directory: CampaignDirectory) -> None:
    source = Path(facts.path).parent
    if source == kept:
        return
    if (kept / FACTS).exists():
        if ModelFacts.read(kept / FACTS).digest == facts.digest:
            return
        if directory.plan.exists():
            raise ChangedError(f"{kept}: holds another model than the campaign was planned with")
        files.remove_tree(kept)  # left by a start that ended before there was a plan
    partial = directory.path / f".{kept.name}.{uuid.uuid4().hex}"
    files.make_directory(partial)
    try:
        for name in (FROZEN, QUESTION):
            files.write_durably(partial / name, [(source / name).read_bytes()])
        files.write_durably(partial / FACTS, [facts.to_bytes()])
        files.sync_directory(partial)
        files.rename(partial, kept)
        files.sync_directory(directory.path)
    except OSError:
        if not (kept / FACTS).exists():  # else another coordinator has kept it in the same moment
            raise
    finally:
        files.remove_tree(partial)


def _question(source: ModelSource) -> str:
    """Digest of the source's bytes and of how it is to be read."""
    path = Path(source.path)
    try:
        asked = [__version__, FACTS_VERSION, source.input, source.outputs, source_digest(path)]
    except OSError as error:
        raise ModelError(f"{path}: the model cannot be read: {error.strerror or error}") from error
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]
