"""Dask's settings for coordinator and workers."""

SETTINGS = {
    # The coordinator decides about retries; the scheduler must report the first death of a task's worker.
    "distributed.scheduler.allowed-failures": 0,
    # Tasks write to disk and return little: nothing to spill, nothing to move between workers.
    "distributed.scheduler.work-stealing": True,
    "distributed.scheduler.worker-saturation": 1.0,  # a task waits at the scheduler until a thread is free
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.admin.log-format": "%(asctime)s %(name)s %(levelname)s %(message)s",
    "distributed.nanny.pre-spawn-environ.TF_CPP_MIN_LOG_LEVEL": "3",
    # Dask makes workers give freed memory back at once, which here means page faults in every batch: half the pace
    # (docs/design/threads.md).  Batches are all alike, so memory that is kept is used again.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 30,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 1 << 25,
    "distributed.scheduler.validate": False,
    # A worker needs no web server of its own: fewer open ports, and none that a stranger could reach.
    "distributed.worker.http.routes": [],
    # Whether a job is lost, its batch system says; Dask would cancel the job of a worker that restarts slowly.
    "distributed.deploy.lost-worker-timeout": "1 d",
}
