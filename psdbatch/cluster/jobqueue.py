"""dask-jobqueue's job classes.

Importing dask-jobqueue (0.9.0, ``runner.py``) makes Ctrl-C leave the interpreter with exit code 0 and no word; the
handler that was there is put back.
"""

from __future__ import annotations

import signal

_handler = signal.getsignal(signal.SIGINT)
try:
    from dask_jobqueue.core import Job
    from dask_jobqueue.sge import SGEJob
    from dask_jobqueue.slurm import SLURMJob
finally:
    signal.signal(signal.SIGINT, _handler)

__all__ = ["Job", "SGEJob", "SLURMJob"]
