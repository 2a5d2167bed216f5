"""A dataset repository in memory that keeps its history, one that fails where a test says so, and one to look at only."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping, Sequence

import pyarrow.parquet as pq

from chat.dataset_repo import Conflict, DatasetRepo, Denied, Visibility, blob_id


def text_of(content: bytes) -> str:
    """What a reader finds in a file: the cells of a Parquet file, else its characters."""
    if content[:4] == b"PAR1":
        return repr(pq.read_table(io.BytesIO(content)).to_pylist())
    return content.decode(errors="replace")


class MemoryRepo:
    """`kept`: (id, files) of every commit that can be reached, oldest first. `limbo`: what was squashed away, and
    is readable until it is purged."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.kept: list[tuple[str, dict[str, bytes]]] = []
        self.limbo: list[bytes] = []
        self.seen_by: Visibility = "private"
        self.commits = 0
        self.let_in: set[str] | None = None
        self.asking: set[str] = set()
        self.announced: dict[str, str] = {}

    def _files(self, revision: str) -> dict[str, bytes]:
        found = dict(self.kept).get(revision)
        if found is None:
            raise Conflict("This version is gone.")
        return found

    def head(self) -> str | None:
        return self.kept[-1][0] if self.kept else None

    def files(self, prefix: str, revision: str) -> dict[str, str]:
        return {path: blob_id(content) for path, content in self._files(revision).items() if path.startswith(prefix)}

    def paths(self, prefix: str, revision: str) -> list[str]:
        return sorted(self.files(prefix, revision))

    def read(self, path: str, revision: str) -> bytes:
        return self._files(revision)[path]

    def commit(self, add: Mapping[str, bytes], delete: Sequence[str], parent: str | None, message: str) -> str:
        if not self.kept:
            raise Denied("There is no such repository.")
        if parent is not None and parent != self.head():
            raise Conflict("The parent is not the head.")
        files = self._files(self.kept[-1][0])
        if not set(delete) <= set(files):
            raise Conflict("A file to delete is not there.")
        return self._add({**{p: c for p, c in files.items() if p not in delete}, **add})

    def create(self, card: str, private: bool = True) -> str:
        self.seen_by = "private" if private else "public"
        return self._add({"README.md": card.encode()})

    def visibility(self) -> Visibility | None:
        return self.seen_by if self.kept else None

    def owned(self) -> bool:
        return True

    def squash(self, message: str) -> str:
        self.limbo += [content for _, files in self.kept for content in files.values()]
        head = self._files(self.kept[-1][0])
        self.kept.clear()
        return self._add(head)

    def purge(self) -> None:
        self.limbo.clear()

    def history(self) -> list[str]:
        return [id for id, _ in self.kept]

    def readers(self) -> set[str] | None:
        return self.let_in

    def accept(self, names: Collection[str]) -> None:
        if self.seen_by != "gated":
            raise Denied("It has no gate.")
        accepted = {name for name in self.asking if name.lower() in names}
        self.asking -= accepted
        self.let_in = (self.let_in or set()) | accepted

    def announce(self, title: str, text: str) -> None:
        self.announced.setdefault(title, text)

    def _add(self, files: dict[str, bytes]) -> str:
        self.commits += 1
        self.kept.append((f"{self.commits:040x}", files))
        return self.kept[-1][0]

    def now(self) -> dict[str, bytes]:
        return self.kept[-1][1] if self.kept else {}

    def everything(self) -> str:
        """All that anybody could still dig out of it."""
        return "".join(text_of(c) for _, files in self.kept for c in files.values()) + "".join(map(text_of, self.limbo))


class Crash(BaseException):
    """The process ends here."""


class Faulty:
    """Hands every call on to `repo`; `strike(call, before)` is asked before and after each and may raise."""

    def __init__(self, repo: MemoryRepo, strike: Callable[[str, bool], None]) -> None:
        self.id = repo.id
        self._repo, self._strike = repo, strike

    def __getattr__(self, name: str) -> object:
        method = getattr(self._repo, name)

        def call(*args: object, **named: object) -> object:
            self._strike(name, True)
            result = method(*args, **named)
            self._strike(name, False)
            return result

        return call


WRITES = {
    "create",
    "commit",
    "squash",
    "purge",
    "announce",
}  # all that changes a repository; `accept` lets somebody read


class LookedAt:
    """Hands every call on to `repo` but those that would change it: these are an error of whoever makes them."""

    def __init__(self, repo: DatasetRepo) -> None:
        self.id = repo.id
        self._repo = repo

    def __getattr__(self, name: str) -> object:
        assert name not in WRITES, f"The push alone may {name}."
        return getattr(self._repo, name)
