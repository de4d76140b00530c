"""All file operations that a commit rests on, and nothing else.

Every one of them goes through this module, so that the tests can stop, fail or tear each single operation and see that
nothing is lost.  Needs a POSIX file system with ``link`` and ``rename`` inside one mount.
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path


def make_directory(path: Path) -> None:
    """Make ``path`` and its parents, their names on the disk; an existing one is fine."""
    if path.is_dir():
        return
    make_directory(path.parent)
    try:
        os.mkdir(path)  # noqa: PTH102 - the tests intercept os
    except FileExistsError:
        return
    sync_directory(path.parent)


def write_file(path: Path, parts: Iterable[bytes]) -> None:
    """Write a new file; :func:`sync_file` has it on the disk.

    Raises
    ------
    OSError
        The file exists, or the file system refuses.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        for part in parts:
            _write_all(descriptor, part)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Have the content of a file on the disk before returning."""
    _sync(path, os.O_RDONLY)


def write_durably(path: Path, parts: Iterable[bytes]) -> None:
    """Write a new file and have it on the disk before returning."""
    write_file(path, parts)
    sync_file(path)


def _write_all(descriptor: int, part: bytes) -> None:
    rest = memoryview(part)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def replace_durably(path: Path, content: bytes) -> None:
    """Replace a small file as a whole: readers see the old content or the new one, also after a power cut."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        write_durably(partial, [content])
        os.replace(partial, path)  # noqa: PTH105
    except OSError:
        remove_file(partial)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Have the names in a directory on the disk before returning."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_once(source: Path, target: Path) -> bool:
    """Give ``source`` the second name ``target`` if that name is free; whether it was.

    The one atomic decision of a commit.  A network file system may have made the link and lost its reply: then the
    two names are one file all the same, which the comparison finds.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        return _same_file(source, target)
    except OSError:
        if _same_file(source, target):
            return True
        raise
    return True


def _same_file(one: Path, other: Path) -> bool:
    try:
        return os.path.samestat(os.stat(one), os.stat(other))  # noqa: PTH116
    except FileNotFoundError:
        return False


def rename(source: Path, target: Path) -> None:
    """Rename inside one file system; an existing file is replaced at once."""
    os.rename(source, target)  # noqa: PTH104


def remove_file(path: Path) -> None:
    """Remove a file; an absent one is fine."""
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        return


def remove_tree(path: Path) -> None:
    """Remove a directory with all that is in it, whoever else removes it at the same time."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
            raise


def append_line(path: Path, line: str) -> None:
    """Append one line in a single write, so that lines of several writers do not mix."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, (line + "\n").encode())
    finally:
        os.close(descriptor)
