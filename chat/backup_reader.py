"""Bringing back what the private dataset holds: in the order in which it must be known, each file in a transaction with
the note that it was read, so that it may be broken off anywhere and goes on where it was.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from chat import backup_incoming as incoming
from chat import backup_rows as rows
from chat import formats
from chat.arrivals import Arrivals
from chat.dataset_repo import DatasetRepo, Doubtful, Threads
from chat.db import Database
from chat.formats import BadFile, SavedConversation, SavedOwner, SavedTombstone
from chat.lease import PATH as LEASE
from chat.lease import Lease

READS_AT_ONCE = 48  # of at most 512 small files that everybody waits for: a second at 100 ms each
LONGEST_PAUSE = 0.5  # seconds after a file of conversations that nobody waits for


class Extra(Protocol):
    """Files that another part keeps in the private dataset: those whose path begins with `prefix`, and no others.

    They come back before any conversation. `merge` may be called with the same files again.
    """

    prefix: str

    async def files(self) -> Mapping[str, bytes]:
        """All of them, as they should be. One that is no longer among them is deleted."""

    async def merge(self, files: Mapping[str, bytes]) -> None:
        """Take over what the dataset holds, by path. Raises `BadFile` for what cannot be read: it is left as it is."""


class Reader:
    """Merges what a commit holds into `db`. `left`: path of a file that cannot be read -> why; it is left as it is.

    `owners_back`: until then a visitor's cookie may be one that is not yet known again. `restored`: all is back. `read`: all
    that can be read is.
    """

    def __init__(
        self,
        db: Database,
        clock: Callable[[], float],
        threads: Threads,
        extras: Sequence[Extra],
        report: Callable[[str], None],
        lease: Lease,
        head_start: float,
    ) -> None:
        self.left: dict[str, str] = {}
        self.owners_back = asyncio.Event()
        self.restored = asyncio.Event()
        self.arrivals = Arrivals(lambda path: (formats.owner_and_part(path) or ("",))[0], head_start)
        self.read = asyncio.Event()
        self._db = db
        self._clock = clock
        self._threads = threads
        self._extras = tuple(extras)
        self._report = report
        self._lease = lease

    async def catch_up(self, repo: DatasetRepo) -> None:
        """Take over whatever in the head differs from what was last written or read here. Raises `RepoError`."""
        if not self.restored.is_set():
            self.arrivals.begin()
        try:
            await self._catch_up(repo)
        finally:
            self.arrivals.end()

    async def _catch_up(self, repo: DatasetRepo) -> None:
        head = await self._threads.run(repo.head)
        if head is None:
            raise Doubtful(f"The dataset {repo.id} was just made and is not there yet.")
        there = await self._threads.run(repo.files, "", head)
        known = await self._db.read(rows.saved_files)
        changed = {path: id for path, id in there.items() if known.get(path) != id}
        self.left = {}
        gone = [path for path in known if path not in there]
        await self._db.write(lambda db: [incoming.file_gone(db, path) for path in gone])
        # Who may open what, what is deleted and what was agreed to come before the first conversation does.
        await self._take_what_all_wait_for(repo, head, changed)
        self.owners_back.set()
        for extra in self._extras:
            await self._take_extra(repo, head, changed, extra)
        await self._take_owners(repo, head, changed)
        # After everything else: who finds that it holds the lease has read what came before.
        await self._look_at_lease(repo, head, there.get(LEASE))
        if "README.md" not in there:
            card = {"README.md": formats.card().encode()}
            head = await self._threads.run(repo.commit, card, (), head, "Describe this dataset")
        await self._db.write(lambda db: rows.set_state(db, "head", head))
        needed = ("users/", "tombstones/", *(extra.prefix for extra in self._extras))
        self.read.set()
        if any(path.startswith(needed) for path in self.left):
            self.restored.clear()
        else:
            self.restored.set()

    async def _take_what_all_wait_for(self, repo: DatasetRepo, head: str, changed: Mapping[str, str]) -> None:
        """Take over the changed files of tombstones and accounts, many at once; the tombstones first: who closed their account
        and signed in again is somebody new, and becomes nobody who is gone."""
        at_once = asyncio.Semaphore(READS_AT_ONCE)

        async def take(
            path: str, kind: type[formats.L], merge: Callable[[sqlite3.Connection, str, list[formats.L]], None]
        ) -> None:
            async with at_once:
                content = await self._threads.run(repo.read, path, head)
            await self._merge(path, content, changed[path], kind, merge)

        kinds: list[tuple[Callable[[str], str | None], Callable[[str], Awaitable[None]]]] = [
            (formats.prefix_of_tombstones, lambda path: take(path, SavedTombstone, self._tombstones)),
            (formats.prefix_of_accounts, lambda path: take(path, SavedOwner, self._owners)),
        ]
        for prefix_of, read in kinds:
            try:
                async with asyncio.TaskGroup() as group:
                    for path in sorted(path for path in changed if prefix_of(path) is not None):
                        group.create_task(read(path))
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None

    async def _take_owners(self, repo: DatasetRepo, head: str, changed: Mapping[str, str]) -> None:
        """Take over the conversations. Threads that compute hold up the one that answers the page, so it is one at a time,
        and where nobody waits for it no more than half of the time."""
        turns = {gently: asyncio.Lock() for gently in (False, True)}
        now = asyncio.get_running_loop().time

        async def take(path: str, gently: bool) -> None:
            content = await self._threads.run(repo.read, path, head)
            async with turns[gently]:
                began = now()
                await self._merge(path, content, changed[path], SavedConversation, self._users)
                await asyncio.sleep(min(now() - began, LONGEST_PAUSE) if gently else 0.0)

        await self.arrivals.take(sorted(path for path in changed if formats.owner_and_part(path)), take)

    async def _merge(
        self,
        path: str,
        content: bytes,
        id: str,
        kind: type[formats.L],
        merge: Callable[[sqlite3.Connection, str, list[formats.L]], None],
    ) -> None:
        """Merge a file in one transaction with the note that it was read; leave it where it cannot be."""
        try:
            found = await asyncio.to_thread(formats.decode, kind, path, content)

            def write(db: sqlite3.Connection) -> None:
                merge(db, path, found)
                incoming.read_file(db, path, id)

            await self._db.write(write)
        except BadFile as error:
            self._leave(path, str(error))
        except (sqlite3.IntegrityError, KeyError, ValueError):
            self._leave(path, f"{path} holds what cannot be kept. It is left as it is: correct it in the dataset.")

    async def _take_extra(self, repo: DatasetRepo, head: str, changed: Mapping[str, str], extra: Extra) -> None:
        paths = [path for path in changed if path.startswith(extra.prefix)]
        if not paths:
            return
        files = {path: await self._threads.run(repo.read, path, head) for path in paths}
        try:
            await extra.merge(files)
        except BadFile as error:
            for path in paths:
                self._leave(path, str(error))
        else:
            await self._db.write(lambda db: [incoming.read_file(db, path, changed[path]) for path in paths])

    async def _look_at_lease(self, repo: DatasetRepo, head: str, id: str | None) -> None:
        self._lease.before = await self._db.read(lambda db: rows.state(db, "lease"))
        if self._lease.unread(id):
            try:
                self._lease.look(id, await self._threads.run(repo.read, LEASE, head) if id else None)
            except BadFile as error:
                self._leave(LEASE, str(error))

    def _leave(self, path: str, why: str) -> None:
        self.left[path] = why
        self._report(why)

    @staticmethod
    def _owners(db: sqlite3.Connection, path: str, found: list[SavedOwner]) -> None:
        incoming.merge_owners(db, formats.prefix_of_accounts(path), found)

    @staticmethod
    def _tombstones(db: sqlite3.Connection, path: str, found: list[SavedTombstone]) -> None:
        incoming.merge_tombstones(db, formats.prefix_of_tombstones(path), found)

    def _users(self, db: sqlite3.Connection, path: str, found: list[SavedConversation]) -> None:
        incoming.merge_users(db, path, found, self._clock())
