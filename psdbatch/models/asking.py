"""Questions to a process of its own that loads TensorFlow, so that this one need not."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from psdbatch.errors import ModelError, PsdbatchError


def ask(module: str, request: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Run ``python -m module`` with the request as JSON on its standard input; its answer, as :func:`answer` gives it.

    Parameters
    ----------
    model
        What the question is about, for messages.

    Raises
    ------
    ModelError
        TensorFlow is not installed here, the question cannot be answered, or the process died.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise ModelError(
            f"{model}: TensorFlow is needed to look into the model and is not installed here; "
            "install it with: pip install 'psdbatch[cpu]'"
        )
    done = subprocess.run(
        [sys.executable, "-m", module], input=json.dumps(request), capture_output=True, text=True, check=False
    )
    try:
        said = json.loads(done.stdout.strip().split("\n")[-1])
    except ValueError:
        said = None
    if isinstance(said, dict) and done.returncode == 0:
        return said
    if isinstance(said, dict) and "error" in said:
        raise ModelError(str(said["error"]))
    last = (done.stderr.strip().split("\n") or ["no message"])[-1]
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
    raise ModelError(f"{model}: looking into the model ended with {how}: {last}")


def answer(respond: Callable[[dict[str, Any]], Mapping[str, Any]]) -> int:
    """The asked process: read the request, print what ``respond(request)`` gives as the last line; the exit status.

    An error meant for the user is printed as ``{"error": ...}``.
    """
    try:
        said = respond(json.load(sys.stdin))
    except PsdbatchError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    print(json.dumps(said))
    return 0
