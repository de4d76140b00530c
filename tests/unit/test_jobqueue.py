"""What importing dask-jobqueue must not change."""

import subprocess
import sys


def test_ctrl_c_stays_an_interruption() -> None:
    program = (
        "import signal, psdbatch.cluster.farm; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
