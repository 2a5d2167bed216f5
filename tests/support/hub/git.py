"""What the Hub does inside a bare repository: revisions, listings, commits, squashing, rewriting."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import FileMode, ObjectType, SortMode

from .wire import HubError

_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d+)\n\Z")
_POINTER_LIMIT = 200  # bytes; a pointer is about 130


@dataclass(frozen=True)
class Pointer:
    """The content of a large file in git: its sha256 and its size in bytes."""

    oid: str
    size: int
    pointer_size: int = 0

    def encode(self) -> bytes:
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.oid}\nsize {self.size}\n".encode()


@dataclass(frozen=True)
class Entry:
    """A file or folder at a revision; `size` is the git object's, in bytes."""

    path: str
    oid: str
    is_folder: bool
    size: int = 0
    pointer: Pointer | None = None

    @property
    def key(self) -> str:
        """Orders a recursive listing as git orders it."""
        return f"{self.path}/" if self.is_folder else self.path


def commit_at(git: pygit2.Repository, revision: str) -> pygit2.Commit:
    """The commit of a branch, tag, full ref name or commit id that is still in the repository."""
    for name in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
        if pygit2.reference_is_valid_name(name) and name.startswith("refs/") and name in git.references:
            return git.references[name].peel(pygit2.Commit)
    if re.fullmatch("[0-9a-f]{7,40}", revision):
        found = git.get(revision)
        if isinstance(found, pygit2.Commit):
            return found
    raise HubError(404, f"Invalid rev id: {revision}", code="RevisionNotFound")


def entry_missing(path: str, commit: pygit2.Commit) -> HubError:
    return HubError(404, f"Entry not found: {path}", code="EntryNotFound", headers={"X-Repo-Commit": str(commit.id)})


def entry_at(git: pygit2.Repository, commit: pygit2.Commit, path: str) -> Entry:
    try:
        found = commit.tree[path] if path else commit.tree
    except (KeyError, ValueError):
        raise entry_missing(path, commit) from None
    return _entry(git, path, found.id, found.type == ObjectType.TREE)


def _entry(git: pygit2.Repository, path: str, oid: pygit2.Oid, is_folder: bool) -> Entry:
    if is_folder:
        return Entry(path, str(oid), True)
    size = git.odb.read_header(oid)[1]
    pointer = lfs_pointer(git[oid]) if size <= _POINTER_LIMIT else None
    return Entry(path, str(oid), False, size, pointer)


def walk(
    git: pygit2.Repository, commit: pygit2.Commit, folder: str = "", recursive: bool = True, after: str = ""
) -> Iterator[Entry]:
    """Entries under `folder` in git's order, those whose key is beyond `after`."""
    if entry_at(git, commit, folder).is_folder is False:
        raise entry_missing(folder, commit)

    def inside(tree: pygit2.Tree, prefix: str) -> Iterator[Entry]:
        for item in tree:
            path, is_folder = f"{prefix}{item.name}", item.type == ObjectType.TREE
            key = f"{path}/" if is_folder else path
            if key > after:
                yield _entry(git, path, item.id, is_folder)
            if is_folder and recursive and (key > after or after.startswith(key)):
                yield from inside(item, key)

    yield from inside(commit.tree[folder] if folder else commit.tree, f"{folder}/" if folder else "")


def last_commits(git: pygit2.Repository, commit: pygit2.Commit, paths: Iterable[str]) -> dict[str, pygit2.Commit]:
    """For each path the newest commit that changed it."""
    found: dict[str, pygit2.Commit] = {}
    open_paths = set(paths)

    def oid(at: pygit2.Commit | None, path: str) -> pygit2.Oid | None:
        try:
            return at.tree[path].id if at is not None else None
        except KeyError:
            return None

    for candidate in git.walk(commit.id, SortMode.TOPOLOGICAL):
        parent = candidate.parents[0] if candidate.parents else None
        changed = {path for path in open_paths if oid(candidate, path) != oid(parent, path)}
        found.update(dict.fromkeys(changed, candidate))
        open_paths -= changed
        if not open_paths:
            break
    return found


class TreeEdit:
    """A tree that is being changed by a commit's operations, in their order."""

    def __init__(self, git: pygit2.Repository, base: pygit2.Commit | None) -> None:
        self._git = git
        self._index = pygit2.Index()
        self._folders: Counter[str] = Counter()  # how many files stand under each folder
        if base is not None:
            self._index.read_tree(base.tree)
            for entry in self._index:
                self._folders.update(_parents(entry.path))

    def add(self, path: str, content: bytes) -> str:
        """Puts a file there and returns its git oid."""
        _check_path(path)
        parents = _parents(path)
        if any(parent in self._index for parent in parents):
            raise HubError(400, f"A file stands where {path} needs a folder.")
        if self._folders[path]:
            raise HubError(400, f"A folder stands where the file {path} should go.")
        if path not in self._index:
            self._folders.update(parents)
        oid = self._git.create_blob(content)
        self._index.add(pygit2.IndexEntry(path, oid, FileMode.BLOB))
        return str(oid)

    def delete_file(self, path: str) -> None:
        if path not in self._index:
            raise HubError(404, f"A file with this name doesn't exist: {path}", code="EntryNotFound")
        self._index.remove(path)
        self._folders.subtract(_parents(path))

    def delete_folder(self, path: str) -> None:
        path = path.rstrip("/")
        if not self._folders[path]:
            raise HubError(404, f"A folder with this name doesn't exist: {path}", code="EntryNotFound")
        for name in [entry.path for entry in self._index if entry.path.startswith(f"{path}/")]:
            self.delete_file(name)

    def write(self) -> pygit2.Oid:
        return self._index.write_tree(self._git)


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _check_path(path: str) -> None:
    parts = path.split("/")
    if any(part in {"", ".", ".."} or part.lower() == ".git" or "\0" in part for part in parts):
        raise HubError(400, f"Invalid path in the commit: {path!r}")


def signature(name: str, seconds: float) -> pygit2.Signature:
    return pygit2.Signature(name, f"{name}@users.noreply.hub.test", int(seconds), 0)


def squash(git: pygit2.Repository, branch: str, message: str, author: pygit2.Signature) -> None:
    """Replaces the branch by one commit with the same tree. Old objects stay until `prune`."""
    head = commit_at(git, f"refs/heads/{branch}")
    oid = git.create_commit(None, author, author, message, head.tree.id, [])
    git.references.create(f"refs/heads/{branch}", oid, force=True)


def rewrite(git: pygit2.Repository, keep: Callable[[pygit2.Blob], bool]) -> None:
    """Rewrites every ref's history without the files whose blob is not kept. Old objects stay until `prune`."""
    trees: dict[pygit2.Oid, pygit2.Oid] = {}
    commits: dict[pygit2.Oid, pygit2.Oid] = {}

    def clean(tree: pygit2.Tree) -> pygit2.Oid:
        if tree.id not in trees:
            builder = git.TreeBuilder(tree)
            for item in tree:
                if item.type == ObjectType.TREE:
                    inner = clean(item)
                    builder.remove(item.name)
                    if len(git[inner]):
                        builder.insert(item.name, inner, FileMode.TREE)
                elif not keep(item):
                    builder.remove(item.name)
            trees[tree.id] = builder.write()
        return trees[tree.id]

    for name in list(git.references):
        head = git.references[name].peel(pygit2.Commit)
        for commit in git.walk(head.id, SortMode.TOPOLOGICAL | SortMode.REVERSE):
            if commit.id not in commits:
                parents = [commits[parent] for parent in commit.parent_ids]
                tree = clean(commit.tree)
                unchanged = tree == commit.tree.id and parents == list(commit.parent_ids)
                commits[commit.id] = (
                    commit.id
                    if unchanged
                    else git.create_commit(None, commit.author, commit.committer, commit.message, tree, parents)
                )
        if commits[head.id] != head.id:
            git.references.create(name, commits[head.id], force=True)


def prune(path: Path) -> None:
    """Removes every object that no ref reaches. The caller holds the repository's lock."""
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    commands = [["prune", "--expire=now"]]
    if any((path / "objects" / "pack").glob("*.pack")):
        # The Hub itself never packs, as that takes long; a person may have.
        commands.insert(0, ["repack", "-a", "-d", "-q", "--window=0"])
    for command in commands:
        subprocess.run(["git", "-C", str(path), *command], check=True, env=environment, capture_output=True)


def lfs_pointer(blob: pygit2.Blob) -> Pointer | None:
    found = _POINTER.match(blob.data) if blob.size <= _POINTER_LIMIT else None
    return Pointer(found[1].decode(), int(found[2]), blob.size) if found else None
