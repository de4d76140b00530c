"""How the coordinator hears of a finished block: the worker sends the record by itself."""

from __future__ import annotations

import pickle
from collections.abc import Callable

from distributed import get_worker

from psdbatch.campaign.commit import CommitRecord
from psdbatch.processing.process import BlockTask


def work_and_tell(work: Callable[[BlockTask], list[CommitRecord]], task: BlockTask) -> list[CommitRecord]:
    """What a worker runs: ``work``, whose record it sends to the coordinator on its own.

    Fetching a result takes the scheduler a request to the worker, as long as all its other work for a task.  Long
    chains are fetched, for the scheduler keeps the last thousand of what it is told.
    """
    records = work(task)
    if len(records) == 1:
        worker = get_worker()
        group, name = worker.get_current_task()
        worker.log_event(group, {"task": name, "records": pickle.dumps(records)})
    return records
