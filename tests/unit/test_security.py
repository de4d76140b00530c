"""Certificates of one start: for the owner alone, good among themselves, gone afterwards."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed.comm import connect, listen
from distributed.security import Security

from psdbatch.cluster.security import read_security, temporary_security


@pytest.fixture(params=[0o000, 0o022, 0o277], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """What users set, and worse."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in [directory, *directory.iterdir()]}


@pytest.mark.usefixtures("umask")
def test_only_the_owner_may_look_whatever_the_umask(tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    with temporary_security(folder):
        found = modes(folder)
        assert found.pop("certificates") == 0o700
        assert sorted(found) == ["ca.pem", "certificate.pem", "key.pem"]
        assert all(mode & 0o077 == 0 and mode & 0o400 for mode in found.values())


def test_a_directory_left_open_by_an_earlier_start_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    for name in ("key.pem", "planted"):
        (folder / name).touch(0o666)
    with temporary_security(folder):
        assert set(modes(folder).values()) == {0o700, 0o600}
        assert not (folder / "planted").exists()


def test_nothing_is_left_behind_not_even_by_a_failure(tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    with temporary_security(folder):
        pass
    assert not folder.exists()
    with pytest.raises(RuntimeError), temporary_security(folder):
        raise RuntimeError
    assert not folder.exists()


def answer(server: Security, client: Security | None) -> str:
    """What a client hears from a server, over a real connection."""

    async def talk() -> str:
        async def reply(comm: object) -> None:
            await comm.write("welcome")  # type: ignore[attr-defined]

        protocol = "tls" if client else "tcp"
        options = client.get_connection_args("worker") if client else {}
        async with listen("tls://127.0.0.1:0", reply, **server.get_listen_args("scheduler")) as listener:
            address = f"{protocol}://{listener.contact_address.partition('://')[2]}"
            comm = await connect(address, timeout=1, **options)
            try:
                return str(await asyncio.wait_for(comm.read(), 5))
            finally:
                comm.abort()

    return asyncio.run(talk())


def test_a_worker_that_reads_the_files_is_let_in_and_nobody_else(tmp_path: Path) -> None:
    with temporary_security(tmp_path / "one") as own, temporary_security(tmp_path / "two") as stranger:
        assert answer(own, read_security(tmp_path / "one")) == "welcome"
        for intruder in (stranger, None):  # the certificate of another start, and none at all
            with pytest.raises(OSError):  # noqa: PT011 - which one depends on who notices first
                answer(own, intruder)
        with pytest.raises(RuntimeError, match="encryption required"):
            asyncio.run(connect("tcp://127.0.0.1:1", timeout=1, **own.get_connection_args("client")))  # type: ignore[arg-type]
