"""A disk that forgets: what is not synced may or may not be there after the power came back.

The model is that of a journaling file system at its worst.  A name is safe once its directory is synced, content once the
file is; what came in between survives in any selection; a rename happens wholly or not at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import Operations


@dataclass(eq=False)
class Node:
    """A file or a directory: as it is now, and what of it is on the disk for certain."""

    directory: bool
    names: dict[str, Node] = field(default_factory=dict)
    safe_names: dict[str, Node] = field(default_factory=dict)
    content: bytes = b""
    safe_content: bytes | None = None


@dataclass(frozen=True)
class Change:
    """Names that change together: ``(directory, name, what has it now, None for nothing)``."""

    edits: tuple[tuple[Node, str, Node | None], ...]

    def touches(self, directory: Node) -> bool:
        return any(edit[0] is directory for edit in self.edits)

    def apply(self) -> None:
        for directory, name, node in self.edits:
            if node is None:
                directory.safe_names.pop(name, None)
            else:
                directory.safe_names[name] = node


Image = dict[str, bytes | None]
"""A tree of files: content by path, None for a directory."""


class ForgetfulDisk(Operations):
    """Does every operation, and remembers what of it would outlive a power cut.

    Parameters
    ----------
    root
        Below it all that exists is taken for safe.
    watch
        Called behind every operation that changes something.
    """

    def __init__(self, root: Path, watch: Callable[[], None] = lambda: None) -> None:
        self.root = root
        self.watch = watch
        self._tree = _safe(root)
        self._pending: list[Change] = []
        self._files: dict[int, tuple[Node, Path]] = {}

    def operate(self, name: str, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        before = [self._find(Path(path)) for path in args if isinstance(path, (str, Path))]
        outcome = real(*args, **kwargs)
        note = getattr(self, f"_after_{name}", None)
        if note is not None:
            note(outcome, before, *args)
            self.watch()
        return outcome

    def after_the_cut(self, seed: int) -> Image:
        """What is on the disk if the power fails now; the ``seed`` decides about what is not safe."""
        chance = random.Random(seed)
        later: dict[int, dict[str, Node | None]] = {}
        for change in self._pending:
            if chance.random() < 0.5:
                for directory, name, node in change.edits:
                    later.setdefault(id(directory), {})[name] = node
        image: Image = {}
        _collect(self._tree, "", later, chance, image)
        return image

    def _find(self, path: Path) -> Node | None:
        """Node at ``path``; what others than the observed modules have made is taken in, all of it unsafe."""
        node = self._tree
        if not path.is_relative_to(self.root):
            return None
        at = self.root
        for name in path.relative_to(self.root).parts:
            at = at / name
            if name not in node.names:
                if not at.exists():
                    return None
                self._change((node, name, Node(at.is_dir(), content=b"" if at.is_dir() else at.read_bytes())))
            node = node.names[name]
        return node

    def _parent(self, path: Any) -> Node:
        node = self._find(Path(path).parent)
        assert node is not None
        return node

    def _change(self, *edits: tuple[Node, str, Node | None]) -> None:
        self._pending.append(Change(edits))
        for directory, name, node in edits:
            if node is None:
                directory.names.pop(name, None)
            else:
                directory.names[name] = node

    def _after_mkdir(self, _: None, nodes: list[Node | None], path: Any) -> None:
        self._change((self._parent(path), Path(path).name, Node(directory=True)))

    def _after_link(self, _: None, nodes: list[Node | None], source: Any, target: Any) -> None:
        self._change((self._parent(target), Path(target).name, nodes[0]))

    def _after_rename(self, _: None, nodes: list[Node | None], source: Any, target: Any) -> None:
        self._change(
            (self._parent(source), Path(source).name, None), (self._parent(target), Path(target).name, nodes[0])
        )

    _after_replace = _after_rename

    def _after_unlink(self, _: None, nodes: list[Node | None], path: Any) -> None:
        self._change((self._parent(path), Path(path).name, None))

    _after_rmdir = _after_unlink

    def _after_open(self, descriptor: int, nodes: list[Node | None], path: Any, *_: Any) -> None:
        node = nodes[0] or self._find(Path(path))
        assert node is not None
        self._files[descriptor] = node, Path(path)

    def _after_write(self, count: int, _: list[Node | None], descriptor: int, data: Any) -> None:
        self._files[descriptor][0].content += bytes(data)[:count]

    def _after_fsync(self, _: None, __: list[Node | None], descriptor: int) -> None:
        node, path = self._files[descriptor]
        if node.directory:
            for entry in path.iterdir():
                self._find(entry)
            for change in [change for change in self._pending if change.touches(node)]:
                change.apply()
                self._pending.remove(change)
        else:
            node.safe_content = node.content


def _safe(path: Path) -> Node:
    if not path.is_dir():
        return Node(False, content=path.read_bytes(), safe_content=path.read_bytes())
    names = {entry.name: _safe(entry) for entry in path.iterdir()}
    return Node(True, names=dict(names), safe_names=dict(names))


def _collect(
    node: Node, path: str, later: dict[int, dict[str, Node | None]], chance: random.Random, image: Image
) -> None:
    if not node.directory:
        safe = node.safe_content or b""
        more = len(node.content) - len(safe)
        image[path] = safe if more <= 0 else node.content[: len(safe) + chance.choice([0, more // 2, more])]
        return
    image[path] = None
    for name, entry in {**node.safe_names, **later.get(id(node), {})}.items():
        if entry is not None:
            _collect(entry, f"{path}/{name}" if path else name, later, chance, image)


def write_image(image: Image, target: Path) -> None:
    """Make the tree of ``image`` at ``target``."""
    for path, content in image.items():
        if content is None:
            (target / path).mkdir()
        else:
            (target / path).write_bytes(content)
