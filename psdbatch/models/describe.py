"""Freeze and describe a model; also run as a process of its own, ``python -m psdbatch.models.describe``."""

from __future__ import annotations

import sys
from pathlib import Path

from psdbatch.config import ModelSource
from psdbatch.errors import ModelError
from psdbatch.models.asking import answer
from psdbatch.models.facts import ModelFacts, source_digest
from psdbatch.models.freezing import freeze_source
from psdbatch.models.frozen import describe_graph


def describe(source: ModelSource, directory: Path) -> ModelFacts:
    """Freeze the model into ``directory/model.pb`` and write what it is to ``directory/model.json``.

    Raises
    ------
    ModelError
        The model cannot be used.
    """
    named = Path(source.path)
    try:
        frozen = freeze_source(named, directory)
        facts = describe_graph(frozen, source, source_digest(named))
        facts.write(directory / "model.json")
    except OSError as error:
        raise ModelError(f"{named}: the model cannot be frozen into {directory}: {error.strerror or error}") from error
    return facts


def main() -> int:
    """Answer ``{"source", "directory"}`` with the facts; see :mod:`psdbatch.models.asking`."""
    return answer(
        lambda request: describe(ModelSource(**request["source"]), Path(request["directory"])).to_json(),
    )


if __name__ == "__main__":
    sys.exit(main())
