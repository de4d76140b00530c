"""All file operations that a commit rests on, and nothing else.

Every one of them goes through this module, so that the tests can stop, fail or tear each single operation and see that
nothing is lost.  Needs a POSIX file system with ``link`` and ``rename`` inside one mount.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterable
from contextlib import suppress
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


def make_below(base: Path, *names: str) -> Path:
    """Make ``base/names[0]/names[1]/...``, all names on the disk, and return it; existing ones are fine.

    ``base`` must be there: where a campaign directory has vanished, a commit must not begin another one in its place.

    Raises
    ------
    OSError
        ``base`` is not there, or the file system refuses.
    """
    for name in names:
        path = base / name
        with suppress(FileExistsError):
            os.mkdir(path)  # noqa: PTH102
        sync_directory(base)  # an existing one too: whoever made it may not have come to that yet
        base = path
    return base


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


def remove_directory(path: Path) -> None:
    """Remove a directory if nothing is in it."""
    try:
        os.rmdir(path)  # noqa: PTH106
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            raise


def remove_tree(path: Path) -> None:
    """Remove a directory with all that is in it, whoever else removes it or adds to it at the same time."""
    try:
        with os.scandir(path) as listing:
            entries = list(listing)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            remove_tree(path / entry.name)
        else:
            remove_file(path / entry.name)
    remove_directory(path)


def append_line(path: Path, line: str) -> None:
    """Append one line in a single write, so that lines of several writers do not mix.

    A line that a crash has torn is ended first, so that it takes no other with it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, ("\n" * torn + line + "\n").encode())
    finally:
        os.close(descriptor)
