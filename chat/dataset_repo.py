"""A repository of files that the app keeps: on the Hub (`chat.hub.HubRepo`) or in a folder (`FolderRepo`).

RepoError
  Conflict      the parent is no longer the head: read it again, compare again
  Doubtful      no clear answer: it may have been applied, so read the head before doing it again
  Denied        it will not be allowed until somebody changes something; the sentence says what
  Unreachable   not now; the same may work later
    TooMany     the quota of requests or commits is used up
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Literal, ParamSpec, Protocol, TypeVar

Visibility = Literal["private", "public", "gated"]
P = ParamSpec("P")
T = TypeVar("T")

CALL_SECONDS = 120.0  # that one call may take, whatever the client's own patience


class RepoError(Exception):
    """What was asked of a repository did not happen, as far as is known; `str(error)` is a sentence for the page."""


class Conflict(RepoError):
    """The parent is not the head: somebody else wrote. Nothing was applied."""


class Doubtful(RepoError):
    """The answer was lost, late or an error of the server: it may have been applied."""


class Denied(RepoError):
    """Not with this token, this name or this repository. Nothing was applied."""


class Unreachable(RepoError):
    """Nobody answers there, or asks to come back later. Nothing was applied."""


class TooMany(Unreachable):
    """The quota is used up. `after`: seconds until the same may work, where the server said so. Nothing was applied."""

    def __init__(self, sentence: str, after: float | None = None) -> None:
        super().__init__(sentence)
        self.after = after


class DatasetRepo(Protocol):
    """A branch of commits, each a set of files. Every method blocks and may raise any `RepoError`.

    A revision is the id of a commit, as `head`, `commit`, `create` and `squash` return it. Paths are relative, with "/".
    """

    id: str

    def head(self) -> str | None:
        """The newest commit, or None where there is no such repository."""

    def files(self, prefix: str, revision: str) -> dict[str, str]:
        """The paths that begin with `prefix`, each with git's id of its bytes (of the pointer, for a large file)."""

    def paths(self, prefix: str, revision: str) -> list[str]:
        """The paths that begin with `prefix`, sorted."""

    def read(self, path: str, revision: str) -> bytes:
        """A file's bytes. Raises `KeyError` where there is none."""

    def commit(self, add: Mapping[str, bytes], delete: Sequence[str], parent: str | None, message: str) -> str:
        """Write and delete files in one commit on top of `parent` (None: whatever the head is), all or nothing."""

    def create(self, card: str, private: bool = True) -> str:
        """Make the repository, with `card` as its README.md, and return its head. One that exists gets the card alone."""

    def visibility(self) -> Visibility | None:
        """Who may read it: "gated" is whom somebody let in by hand. None where there is no such repository."""

    def owned(self) -> bool:
        """Whether its name is under the namespace of this token's user or of one of their organisations."""

    def squash(self, message: str) -> str:
        """Replace the history by one commit with the files of the head, and return that commit."""

    def purge(self) -> None:
        """Delete what squashing leaves: large files the head does not name, and other branches, tags and references.
        Raises `Denied` where one stays: what was deleted may be in it."""

    def history(self) -> list[str]:
        """Every commit that a branch, a tag or any other reference still reaches."""

    def readers(self) -> set[str] | None:
        """Who was let in through its gate, by name; None where it has none."""

    def accept(self, names: Collection[str]) -> None:
        """Let those of `names` (in lower case) in who ask at its gate, and nobody else. Raises `Denied` without a gate."""

    def announce(self, title: str, text: str) -> None:
        """Open a discussion, unless there is one with this title."""


class Threads:
    """At most `most` calls of a repository at once, each in a thread of its own and for at most `seconds`.

    Not the threads that `asyncio.to_thread` shares out: those are few, and whoever sends a message waits for them. A call
    that takes longer is given up as `Doubtful`; its thread ends when the client's own patience does, and holds up nobody,
    the end of the process included.
    """

    def __init__(self, most: int, seconds: float = CALL_SECONDS) -> None:
        self._room = asyncio.Semaphore(most)
        self._seconds = seconds

    async def run(self, fn: Callable[P, T], *arguments: P.args) -> T:
        async with self._room:
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[T] = loop.create_future()
            threading.Thread(target=_answer, args=(loop, answer, fn, arguments), name="repo", daemon=True).start()
            try:
                async with asyncio.timeout(self._seconds):
                    return await answer
            except TimeoutError:
                raise Doubtful(f"There was no answer within {self._seconds:.0f} s. It is asked again.") from None


def _answer(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[T], fn: Callable[P, T], arguments: P.args) -> None:
    def tell(result: T | None, error: BaseException | None) -> None:
        if answer.done():
            return  # given up meanwhile
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)

    try:
        outcome = fn(*arguments), None
    except BaseException as error:
        outcome = None, error
    with suppress(RuntimeError):  # the loop is closed: the app has ended
        loop.call_soon_threadsafe(tell, *outcome)


def blob_id(content: bytes) -> str:
    """Git's id of a file with these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class FolderRepo:
    """The same in a folder of this machine, for one who has no token. It has no history: only the head can be read.

    A commit is written beside the files first and then named in `.parley/intent`; from then on it is carried out, by
    whoever opens the folder next if need be, so that it is there whole or not at all. All files are the user's alone.
    """

    def __init__(self, path: Path) -> None:
        self.id = str(path)
        self._root = path
        self._own = path / ".parley"

    def head(self) -> str | None:
        with self._locked():
            return self._head()

    def files(self, prefix: str, revision: str) -> dict[str, str]:
        with self._at(revision):
            return {path: blob_id((self._root / path).read_bytes()) for path in self._walk() if path.startswith(prefix)}

    def paths(self, prefix: str, revision: str) -> list[str]:
        with self._at(revision):
            return sorted(path for path in self._walk() if path.startswith(prefix))

    def read(self, path: str, revision: str) -> bytes:
        with self._at(revision):
            try:
                return (self._root / _checked(path)).read_bytes()
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                raise KeyError(path) from None

    def commit(self, add: Mapping[str, bytes], delete: Sequence[str], parent: str | None, message: str) -> str:
        for path in (*add, *delete):
            _checked(path)
        with self._locked():
            if self._head() is None:
                raise Denied(
                    f"The folder {self.id} holds no dataset. Make it again, or set DATA_DIR to another folder."
                )
            if parent is not None and parent != self._head():
                raise Conflict(f"Somebody else wrote to the folder {self.id}.")
            if not all((self._root / path).is_file() for path in delete):
                raise Conflict(f"A file to delete is no longer in the folder {self.id}.")
            return self._apply(add, delete)

    def create(self, card: str, private: bool = True) -> str:
        with self._locked():
            return self._head() or self._apply({"README.md": card.encode()}, ())

    def visibility(self) -> Visibility | None:
        return "private" if self.head() else None

    def owned(self) -> bool:
        return True

    def squash(self, message: str) -> str:
        head = self.head()
        if head is None:
            raise Denied(f"The folder {self.id} holds no dataset.")
        return head

    def purge(self) -> None:
        with self._locked():
            self._sweep()

    def history(self) -> list[str]:
        head = self.head()
        return [head] if head else []

    def readers(self) -> set[str] | None:
        return None

    def accept(self, names: Collection[str]) -> None:
        raise Denied(f"The folder {self.id} has no gate.")

    def announce(self, title: str, text: str) -> None:
        """Nobody reads a folder's discussions."""

    # -- inside the lock --------------------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            # The root shuts others out, whatever stands below it.
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._own.mkdir(exist_ok=True, mode=0o700)
            lock = os.open(self._own / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._carry_out()
                yield
            finally:
                os.close(lock)
        except OSError as error:
            raise Unreachable(
                f"The folder {self.id} cannot be used ({error.strerror}). Make room there, or make it writable."
            ) from None

    @contextmanager
    def _at(self, revision: str) -> Iterator[None]:
        with self._locked():
            if revision != self._head():
                raise Conflict(f"The folder {self.id} holds another version by now.")
            yield

    def _head(self) -> str | None:
        try:
            return (self._own / "head").read_text()
        except FileNotFoundError:
            return None

    def _walk(self) -> Iterator[str]:
        for path in sorted(self._root.rglob("*")):
            relative = path.relative_to(self._root)
            if relative.parts[0] != ".parley" and path.is_file():
                yield relative.as_posix()

    def _sweep(self) -> None:
        """Remove what was staged for a commit that was never decided on."""
        for staged in self._own.glob("staged-*"):
            shutil.rmtree(staged)

    def _apply(self, add: Mapping[str, bytes], delete: Sequence[str]) -> str:
        self._sweep()
        head = secrets.token_hex(20)
        staged = self._own / f"staged-{head}"
        staged.mkdir(mode=0o700)
        for number, content in enumerate(add.values()):
            _write(staged / str(number), content)
        _sync(staged)
        intent = {"head": head, "add": list(add), "delete": [path for path in delete if path not in add]}
        _write(self._own / "intent.partial", json.dumps(intent).encode())
        (self._own / "intent.partial").replace(self._own / "intent")
        _sync(self._own)
        self._carry_out()
        return head

    def _carry_out(self) -> None:
        """Finish the commit that was decided on, from whatever point a crash left it at."""
        try:
            intent = json.loads((self._own / "intent").read_bytes())
        except FileNotFoundError:
            return
        staged = self._own / f"staged-{intent['head']}"
        changed = set()
        for path in intent["delete"]:
            (self._root / path).unlink(missing_ok=True)
            changed.add((self._root / path).parent)
        for number, path in enumerate(intent["add"]):
            target = self._root / path
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Gone from the staging place: it was moved before the crash.
            if (staged / str(number)).exists():
                (staged / str(number)).replace(target)
            changed.add(target.parent)
        for folder in changed:
            if folder.is_dir():
                _sync(folder)
        _write(self._own / "head.partial", intent["head"].encode())
        (self._own / "head.partial").replace(self._own / "head")
        _sync(self._own)
        shutil.rmtree(staged, ignore_errors=True)
        (self._own / "intent").unlink()


def _checked(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or parts[0] in ("/", ".parley") or ".." in parts or "\0" in path:
        raise ValueError(f"{path!r} is no path inside a repository.")
    return path


def _write(path: Path, content: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
