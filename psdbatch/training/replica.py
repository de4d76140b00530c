"""One replica of a training: ``python -m psdbatch.training.replica``, started by a worker's task.

A fresh process, because the strategy must be made before any other operation of TensorFlow.  It is told over its standard
input what to do (:mod:`psdbatch.training.talk`).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from typing import Any

from psdbatch.errors import PsdbatchError
from psdbatch.training.talk import Assignment, Ending, Talk


def main() -> int:
    """Do what the watcher says; how it ended is said last."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    talk = Talk()
    ending, reason = _train(talk)
    talk.say("end", ending=str(ending), reason=reason)
    sys.stdout.flush()
    # Other replicas may be gone or go at any moment, and TensorFlow would wait for them in its own end.
    os._exit(0 if ending in (Ending.FINISHED, Ending.STOPPED) else 1)


def _train(talk: Talk) -> tuple[Ending, str]:
    batches = False
    try:
        together = _begin(talk.assignment)
        from psdbatch.training.loop import Diverged, Training

        try:
            training = Training(talk.assignment, together, talk)
            training.resume()
            batches = True
            return training.run(), ""
        except Diverged as error:
            return Ending.DIVERGED, str(error)
    except PsdbatchError as error:
        return Ending.REFUSED, str(error)
    except Exception as error:
        traceback.print_exc()
        first = (str(error).strip() or "no message").split("\n")[0]
        if type(error).__name__ == "ResourceExhaustedError":
            if batches:
                return Ending.OUT_OF_MEMORY, first
            return Ending.FAILED, f"out of memory before the first batch, where a smaller batch does not help: {first}"
        return Ending.FAILED, f"{type(error).__name__}: {first}"


def _begin(assignment: Assignment) -> Any:
    """TensorFlow with its strategy, before anything else is done with it."""
    several = len(assignment.places) > 1
    if several:
        cluster = {"worker": list(assignment.places)}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": assignment.rank}})
    from psdbatch.models.quiet import tf

    tf.config.threading.set_intra_op_parallelism_threads(assignment.threads)
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:  # a job has one, whatever its node shows
        tf.config.set_visible_devices(gpus[0], "GPU")
        tf.config.experimental.set_memory_growth(gpus[0], True)
    strategy = tf.distribute.MultiWorkerMirroredStrategy() if several else tf.distribute.get_strategy()
    from psdbatch.training.together import Together

    return Together(strategy, assignment.rank, len(assignment.places))


if __name__ == "__main__":
    sys.exit(main())
