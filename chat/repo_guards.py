"""What stands between the app and a repository of the Hub: one counts commits, one keeps a duplicate out."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from chat.dataset_repo import DatasetRepo, Denied, TooMany, Visibility
from chat.slots import Slots

SPACE_FILE = "space.json"


class Repo:
    """Hands every call on to `repo`."""

    def __init__(self, repo: DatasetRepo) -> None:
        self.id = repo.id
        self._repo = repo

    def head(self) -> str | None:
        return self._repo.head()

    def files(self, prefix: str, revision: str) -> dict[str, str]:
        return self._repo.files(prefix, revision)

    def paths(self, prefix: str, revision: str) -> list[str]:
        return self._repo.paths(prefix, revision)

    def read(self, path: str, revision: str) -> bytes:
        return self._repo.read(path, revision)

    def commit(self, add: Mapping[str, bytes], delete: Sequence[str], parent: str | None, message: str) -> str:
        return self._repo.commit(add, delete, parent, message)

    def create(self, card: str, private: bool = True) -> str:
        return self._repo.create(card, private)

    def visibility(self) -> Visibility | None:
        return self._repo.visibility()

    def owned(self) -> bool:
        return self._repo.owned()

    def squash(self, message: str) -> str:
        return self._repo.squash(message)

    def purge(self) -> None:
        self._repo.purge()

    def history(self) -> list[str]:
        return self._repo.history()

    def readers(self) -> set[str] | None:
        return self._repo.readers()

    def accept(self, names: Collection[str]) -> None:
        self._repo.accept(names)

    def announce(self, title: str, text: str) -> None:
        self._repo.announce(title, text)


class Counted(Repo):
    """Takes each commit, whatever came of it, from `slots`. Whoever calls asks `slots` beforehand whether it may wait."""

    def __init__(self, repo: DatasetRepo, slots: Slots) -> None:
        super().__init__(repo)
        self._slots = slots

    def commit(self, add: Mapping[str, bytes], delete: Sequence[str], parent: str | None, message: str) -> str:
        with self._slot():
            return super().commit(add, delete, parent, message)

    def create(self, card: str, private: bool = True) -> str:
        with self._slot():
            return super().create(card, private)

    def squash(self, message: str) -> str:
        with self._slot():
            return super().squash(message)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        self._slots.spend()
        try:
            yield
        except TooMany as error:
            self._slots.refused(error.after)
            raise


class OfOneSpace(Repo):
    """A repository that belongs to the Space which first wrote there; `space.json` in it says which.

    A duplicate of a Space takes the original's variables along. With this it neither reads nor writes what they name:
    `Denied`. A repository without the file becomes that of whoever writes there next.
    """

    def __init__(self, repo: DatasetRepo, space: str) -> None:
        super().__init__(repo)
        self._space = space
        self._marked = False

    def head(self) -> str | None:
        head = super().head()
        if head is not None and not self._marked:
            self._look(head)
        return head

    def commit(self, add: Mapping[str, bytes], delete: Sequence[str], parent: str | None, message: str) -> str:
        if self._marked:
            return super().commit(add, delete, parent, message)
        if (head := self.head()) is not None and not self._marked:
            # On the head that was looked at: another Space may be marking it at this moment.
            add, parent = {**add, SPACE_FILE: space_file(self._space)}, parent or head
        done = super().commit(add, delete, parent, message)
        self._marked = True
        return done

    def create(self, card: str, private: bool = True) -> str:
        self.head()
        created = super().create(card, private)
        return created if self._marked else self.commit({}, (), created, "Say whose this is")

    def accept(self, names: Collection[str]) -> None:
        self.head()
        super().accept(names)

    def _look(self, head: str) -> None:
        try:
            owner = space_of(super().read(SPACE_FILE, head))
        except KeyError:
            return
        if owner != self._space:
            raise Denied(not_yours(self.id, owner, self._space))
        self._marked = True


def space_file(space: str) -> bytes:
    return json.dumps({"space": space}).encode() + b"\n"


def space_of(content: bytes) -> str | None:
    """Which Space such a file names; None where it says nothing of the kind."""
    try:
        found = json.loads(content)
        return found["space"] if isinstance(found["space"], str) else None
    except (ValueError, TypeError, KeyError):
        return None


def not_yours(id: str, owner: str | None, space: str) -> str:
    return (
        f"{id} belongs to the Space {owner or 'of another app'}, and this is {space}. Nothing is read or written there. A "
        "duplicate takes the original's variables along: remove STORE_DATASET, WAL_BUCKET and SHARE_NAMESPACE, or name "
        f"your own. If the Space was only renamed, correct {SPACE_FILE} there."
    )
