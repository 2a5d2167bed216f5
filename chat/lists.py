"""An owner's conversations as a list: its pages, and what is done with whole conversations."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from chat.db import Database
from chat.stored import SELECT_CONVERSATION, NotFound, StoredConversation, as_conversation, one_conversation

PAGE_OF_CONVERSATIONS = 50


class Lists:
    """`clock` gives Unix seconds. Every method names the owner it works for."""

    def __init__(self, db: Database, clock: Callable[[], float]) -> None:
        self.db = db
        self.clock = clock

    async def conversations(
        self, owner: str, before: str | None = None, limit: int = PAGE_OF_CONVERSATIONS
    ) -> tuple[list[StoredConversation], str | None]:
        """One page, newest first, and the key of the next (None: no more). `before` is such a key.

        Raises `ValueError` when `before` is no key.
        """
        at, id = _page_key(before) if before else (float("inf"), "")

        def read(db: sqlite3.Connection):
            rows = db.execute(
                f"{SELECT_CONVERSATION} WHERE owner = ? AND (updated_at, c.id) < (?, ?) "
                "ORDER BY updated_at DESC, c.id DESC LIMIT ?",
                (owner, at, id, limit + 1),
            ).fetchall()
            items = [as_conversation(row) for row in rows[:limit]]
            return items, f"{items[-1].updated_at!r}:{items[-1].id}" if len(rows) > limit else None

        return await self.db.read(read)

    async def conversation(self, owner: str, id: str) -> StoredConversation:
        return await self.db.read(lambda db: one_conversation(db, owner, id))

    async def rename(self, owner: str, id: str, title: str) -> StoredConversation:
        def write(db: sqlite3.Connection) -> StoredConversation:
            db.execute(
                "UPDATE conversations SET title = ?, revision = revision + 1 WHERE id = ? AND owner = ?",
                (title, id, owner),
            )
            return one_conversation(db, owner, id)

        return await self.db.write(write)

    async def delete(self, owner: str, id: str | None = None) -> tuple[int, list[str]]:
        """Delete one conversation, or with None all of the owner's. A tombstone stands in its place for ever.

        Returns how many there were and the ids of their running answers: from here on those can write nothing, and the
        caller stops them. Raises `NotFound` where `id` is given and not the owner's.
        """
        now = self.clock()
        which, values = "owner = ?", [owner]
        if id is not None:
            which, values = "owner = ? AND id = ?", [owner, id]

        def write(db: sqlite3.Connection) -> tuple[int, list[str]]:
            running = db.execute(
                "SELECT id FROM messages WHERE state = 'running' AND "
                f"conversation IN (SELECT id FROM conversations WHERE {which})",
                values,
            ).fetchall()
            db.execute(
                "INSERT INTO tombstones (conversation, owner, deleted_at)"
                f" SELECT id, owner, ? FROM conversations WHERE {which}",
                [now, *values],
            )
            deleted = db.execute(f"DELETE FROM conversations WHERE {which}", values).rowcount
            if id is not None and not deleted:
                raise NotFound
            return deleted, [row["id"] for row in running]

        return await self.db.write(write)


def _page_key(key: str) -> tuple[float, str]:
    at, _, id = key.partition(":")
    return float(at), id
