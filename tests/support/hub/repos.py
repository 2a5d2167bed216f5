"""The repositories: bare git repositories in a folder, each with a small file of settings beside its objects.

ROOT/datasets/NAMESPACE/NAME.git/           a bare repository, readable with `git -C ... log`
ROOT/datasets/NAMESPACE/NAME.git/hub.json   visibility, gating, creation, what was pushed as large files
ROOT/datasets/NAMESPACE/NAME.git/lfs/       the large files, where git-lfs keeps them
ROOT/datasets/NAMESPACE/NAME.moved          the new id of a repository that was renamed
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pygit2

from .wire import HubError, Redirect

Kind = Literal["model", "dataset", "space"]
KINDS: dict[str, Kind] = {"models": "model", "datasets": "dataset", "spaces": "space"}
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


def not_found(message: str = "Repository not found") -> HubError:
    return HubError(404, message, code="RepoNotFound")


@dataclass
class Settings:
    """What the Hub keeps of a repository beside its git objects.

    `large` maps the sha256 of every large file that is stored to what `lfs-files` lists of it.
    `access` maps users to their request (status, timestamp); `discussions` are in the order of their numbers.
    `extra` holds what was given at creation (a Space's sdk, for instance).
    """

    author: str
    created_at: float
    private: bool = False
    gated: bool | str = False
    large: dict[str, dict[str, Any]] = field(default_factory=dict)
    access: dict[str, dict[str, str]] = field(default_factory=dict)
    discussions: list[dict[str, Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


class Repo:
    """One repository. All reading and writing happens inside `open()`, which one thread at a time may enter."""

    def __init__(self, kind: Kind, repo_id: str, path: Path, lock: threading.RLock) -> None:
        self.kind = kind
        self.id = repo_id
        self.path = path
        self.lock = lock

    @property
    def namespace(self) -> str:
        return self.id.partition("/")[0]

    @property
    def url_path(self) -> str:
        return self.id if self.kind == "model" else f"{self.kind}s/{self.id}"

    @contextmanager
    def open(self) -> Iterator[pygit2.Repository]:
        with self.lock:
            if not self.path.is_dir():  # deleted or moved since it was found
                raise not_found()
            git = pygit2.Repository(str(self.path))
            try:
                yield git
            finally:
                git.free()

    def settings(self) -> Settings:
        with self.lock:
            if not self.path.is_dir():
                raise not_found()
            return Settings(**json.loads((self.path / "hub.json").read_text()))

    @contextmanager
    def changed(self) -> Iterator[Settings]:
        """The settings to change; written when the block ends well."""
        with self.lock:
            settings = self.settings()
            yield settings
            self.save(settings)

    def save(self, settings: Settings) -> None:
        partial = self.path / "hub.json.partial"
        partial.write_text(json.dumps(asdict(settings), indent=1))
        partial.replace(self.path / "hub.json")

    def large_file(self, oid: str) -> Path:
        if re.fullmatch("[0-9a-f]{64}", oid) is None:
            raise HubError(422, "Invalid LFS oid.")
        return self.path / "lfs" / "objects" / oid[:2] / oid[2:4] / oid


class Repos:
    """All repositories under a folder."""

    def __init__(self, root: Path, clock: Callable[[], float]) -> None:
        self._root = root
        self._clock = clock
        self._lock = threading.Lock()
        self._locks: dict[Path, threading.RLock] = {}

    def path(self, kind: Kind, repo_id: str) -> Path:
        if _ID.fullmatch(repo_id) is None or ".." in repo_id or repo_id.endswith((".git", ".moved")):
            raise not_found()
        return self._root / f"{kind}s" / f"{repo_id}.git"

    def at(self, kind: Kind, repo_id: str) -> Repo:
        """The repository of that name, whether or not it exists."""
        path = self.path(kind, repo_id)
        with self._lock:
            lock = self._locks.setdefault(path, threading.RLock())
        return Repo(kind, repo_id, path, lock)

    def find(self, kind: Kind, repo_id: str) -> Repo | None:
        """The repository, or None. Raises `Redirect` where it has moved."""
        repo = self.at(kind, repo_id)
        if repo.path.is_dir():
            return repo
        moved = repo.path.with_suffix(".moved")
        if moved.is_file():
            raise Redirect(f"/{repo_id}", f"/{moved.read_text()}")
        return None

    def all(self, kind: Kind) -> list[Repo]:
        found = sorted((self._root / f"{kind}s").glob("*/*.git"))
        return [self.at(kind, f"{path.parent.name}/{path.stem}") for path in found if (path / "hub.json").is_file()]

    def create(self, kind: Kind, repo_id: str, settings: Settings) -> Repo:
        """A new, empty repository. The caller holds no lock; 409 is raised where the name is taken."""
        repo = self.at(kind, repo_id)
        with repo.lock:
            if repo.path.exists():
                raise HubError(409, f"You already created this {kind} repo")
            repo.path.parent.mkdir(parents=True, exist_ok=True)
            repo.path.with_suffix(".moved").unlink(missing_ok=True)
            pygit2.init_repository(str(repo.path), bare=True, initial_head="main").free()
            repo.save(settings)
        return repo

    def delete(self, repo: Repo) -> None:
        with repo.lock:
            shutil.rmtree(repo.path)

    def move(self, repo: Repo, new_id: str) -> Repo:
        target = self.at(repo.kind, new_id)
        first, second = sorted((repo, target), key=lambda either: either.path)  # one order, so that no two moves wait
        with first.lock, second.lock:
            if not repo.path.is_dir():
                raise not_found()
            if target.path.exists():
                raise HubError(409, f"The repository {new_id} already exists.")
            target.path.parent.mkdir(parents=True, exist_ok=True)
            target.path.with_suffix(".moved").unlink(missing_ok=True)
            repo.path.rename(target.path)
            repo.path.with_suffix(".moved").write_text(new_id)
        return target
