"""Freeze and describe a model; also run as a process of its own, ``python -m psdbatch.models.describe``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from psdbatch.config import ModelSource
from psdbatch.errors import ModelError
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
    """Read ``{"source", "directory"}`` from standard input; an error goes to standard output as JSON."""
    request = json.load(sys.stdin)
    try:
        describe(ModelSource(**request["source"]), Path(request["directory"]))
    except ModelError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
