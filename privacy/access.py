"""Who has been let into a sharing dataset, looked at every few minutes: whoever was named for it and asks is let in, and
the page can say that nobody has been, yet."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from chat.dataset_repo import DatasetRepo, RepoError, Threads
from chat.db import Database
from privacy.notes import FAILED, note

EVERY = 120.0  # seconds between two looks
FRESH = 300.0  # seconds for which one is believed
OWN_ERROR = "Who may read {} could not be looked at: an error of this app ({}). It is tried again."


def invited(readers: Collection[str], recipient: str) -> frozenset[str]:
    """Of `readers` ("author:user", or a user for all) those named for this author's datasets, in lower case."""
    named = (reader.lower().partition(":") for reader in readers)
    return frozenset(user for author, colon, user in named if colon and author == recipient.lower())


def may_read(readers: Collection[str], recipient: str) -> frozenset[str]:
    """These, and those who may have been let in by hand anywhere."""
    return invited(readers, recipient) | let_in_anywhere(readers)


def let_in_anywhere(readers: Collection[str]) -> frozenset[str]:
    """Of `readers` those named for no author, in lower case."""
    return frozenset(reader.lower() for reader in readers if ":" not in reader)


class Seen(NamedTuple):
    """A dataset at a look. `let_in`: through its gate, None where that is not known. `is_there`: or not made yet."""

    is_read: bool
    let_in: frozenset[str] | None
    is_there: bool
    at: float


class Access:
    """`open_repo(id)` gives a dataset, of which nothing is changed but who may read it. `clock`: Unix seconds.
    `readers`: as in `invited`; while an audit finds something wrong, nobody is let in. `offered`: dataset -> author of those
    that rows may go to, whether they are there already or not."""

    def __init__(
        self,
        db: Database,
        open_repo: Callable[[str], DatasetRepo],
        clock: Callable[[], float],
        readers: Collection[str] = (),
        offered: Mapping[str, str] | None = None,
    ) -> None:
        self._db, self._open_repo, self._clock, self._readers = db, open_repo, clock, readers
        self._offered = offered or {}
        self._threads = Threads(1)
        self._seen: dict[str, Seen] = {}
        self._problems: list[str] = []  # of the last look, sentences for the operator

    async def run(self, every: float = EVERY) -> None:
        """Look, again and again, until cancelled."""
        while True:
            try:
                await self.look()
            except Exception as error:
                self._problems = [OWN_ERROR.format("what is shared", type(error).__name__)]
            await asyncio.sleep(every)

    async def look(self) -> None:
        """Look at every dataset that has had rows or may get some, and let in who may. One that cannot be looked at counts as
        read."""
        ever, shared, failed = await self._db.read(lambda db: (_ever(db), _with_rows(db), note(db, FAILED)))
        seen, problems = {}, []
        for id, recipient in sorted({**self._offered, **ever}.items()):
            names = invited(self._readers, recipient) if id in shared and not failed else frozenset()
            is_read, let_in, is_there = True, None, True
            try:
                is_read, let_in, is_there = await self._threads.run(_look_at, self._open_repo(id), recipient, names)
            except RepoError as error:
                problems.append(str(error))
            except Exception as error:
                problems.append(OWN_ERROR.format(id, type(error).__name__))
            seen[id] = Seen(is_read, let_in, is_there, self._clock())
        self._seen, self._problems = seen, list(dict.fromkeys(problems))

    async def nobody_in(self) -> frozenset[str]:
        """Datasets that nobody was let into, as of the last minutes, those that are not made yet included. One of which it is
        not known is not among them."""
        now = self._clock()
        return frozenset(id for id, one in self._seen.items() if not one.is_read and now - one.at <= FRESH)

    def figures(self) -> dict[str, Any]:
        """For the operator: what is wrong, and who was let into which dataset, as of the last look."""
        return {
            "problems": list(self._problems),
            "readers": {
                id: None if one.let_in is None else sorted(one.let_in) for id, one in self._seen.items() if one.is_there
            },
        }


def _ever(db: sqlite3.Connection) -> dict[str, str]:
    return {row["id"]: row["recipient"] for row in db.execute("SELECT id, recipient FROM sharing_datasets")}


def _with_rows(db: sqlite3.Connection) -> set[str]:
    return {row["dataset"] for row in db.execute("SELECT DISTINCT dataset FROM outbox WHERE state = 'published'")}


def _look_at(repo: DatasetRepo, recipient: str, names: frozenset[str]) -> tuple[bool, frozenset[str] | None, bool]:
    """Whether somebody but those who keep the dataset can read it, who was let in, once `names` are, and whether it is there."""
    seen_by = repo.visibility()
    if seen_by == "gated":
        if names:
            repo.accept(names)
        readers = repo.readers()
        return readers is None or bool(readers), None if readers is None else frozenset(readers), True
    # One that is not there yet will be made private.
    is_read = seen_by == "public" or repo.id.partition("/")[0] == recipient
    return is_read, frozenset(), seen_by is not None
