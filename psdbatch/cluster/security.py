"""Encryption and mutual authentication between coordinator and workers, with certificates made for one start."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed.security import Security

_FILES = {"tls_ca_file": "ca.pem", "tls_worker_cert": "certificate.pem", "tls_worker_key": "key.pem"}


@contextmanager
def temporary_security(directory: Path) -> Iterator[Security]:
    """A certificate for this start of the campaign, as files that the owner alone can read; removed at the end.

    Whoever cannot read the files can neither connect to the coordinator nor pass for it or for a worker.

    Parameters
    ----------
    directory
        Made with permissions 0700; on a file system that the workers see.
    """
    made = Security.temporary()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True)
    directory.chmod(0o700)  # whatever the umask
    for key, name in _FILES.items():
        _write_private(directory / name, getattr(made, key))
    try:
        yield read_security(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def read_security(directory: Path) -> Security:
    """Security with the certificate in ``directory`` for all roles; nothing unencrypted is accepted."""
    ca, certificate, key = (str(directory / name) for name in _FILES.values())
    return Security(
        require_encryption=True,
        tls_ca_file=ca,
        tls_client_cert=certificate,
        tls_client_key=key,
        tls_scheduler_cert=certificate,
        tls_scheduler_key=key,
        tls_worker_cert=certificate,
        tls_worker_key=key,
    )


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
