"""An owner's conversations as a list: its pages, and what is done with whole conversations.

A conversation that is being deleted is hidden at once, from here and from every look-up in `chat/stored.py`. For some
seconds its owner may take that back; then it is deleted, and a tombstone stands in its place for ever.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chat.db import Database
from chat.stored import (
    SELECT_CONVERSATION,
    NotFound,
    StoredConversation,
    TitleBy,
    as_conversation,
    new_id,
    one_conversation,
)

PAGE_OF_CONVERSATIONS = 50
DELETED_AT_ONCE = 200  # conversations in one write, so that nobody's turn waits for a list of thousands


@dataclass(frozen=True, slots=True)
class Deletion:
    """What was deleted together. `id` names it to whoever takes it back before `until` (unix seconds). `running`: answers
    that were being written in it, to be stopped."""

    id: str
    conversations: int
    until: float
    running: tuple[str, ...]


class Lists:
    """`clock` gives Unix seconds. Every method names the owner it works for."""

    def __init__(self, db: Database, clock: Callable[[], float]) -> None:
        self.db = db
        self.clock = clock

    async def conversations(
        self, owner: str, before: str | None = None, limit: int = PAGE_OF_CONVERSATIONS, archived: bool = False
    ) -> tuple[list[StoredConversation], str | None]:
        """One page, the pinned ones first, then the newest, and the key of the next (None: no more). `before` is such a
        key. The archived ones are a list of their own. Raises `ValueError` when `before` is no key.
        """
        pinned, at, id = _page_key(before) if before else (2, 0.0, "")

        def read(db: sqlite3.Connection):
            rows = db.execute(
                f"{SELECT_CONVERSATION} WHERE owner = ? AND archived = ? AND (pinned, updated_at, c.id) < (?, ?, ?)"
                " AND deletes_at IS NULL ORDER BY pinned DESC, updated_at DESC, c.id DESC LIMIT ?",
                (owner, archived, pinned, at, id, limit + 1),
            ).fetchall()
            items = [as_conversation(row) for row in rows[:limit]]
            last = items[-1] if len(rows) > limit else None
            return items, f"{last.pinned:d}:{last.updated_at!r}:{last.id}" if last else None

        return await self.db.read(read)

    async def conversation(self, owner: str, id: str) -> StoredConversation:
        return await self.db.read(lambda db: one_conversation(db, owner, id))

    async def rename(self, owner: str, id: str, title: str, by: TitleBy = "visitor") -> StoredConversation:
        """Give it a title. One that its owner chose is not replaced by the model's. Raises `NotFound`."""
        chosen = "" if by == "visitor" else " AND title_by <> 'visitor'"

        def write(db: sqlite3.Connection) -> StoredConversation:
            one_conversation(db, owner, id)
            db.execute(
                f"UPDATE conversations SET title = ?, title_by = ?, revision = revision + 1 WHERE id = ?{chosen}",
                (title, by, id),
            )
            return one_conversation(db, owner, id)

        return await self.db.write(write)

    async def arrange(
        self, owner: str, id: str, pinned: bool | None = None, archived: bool | None = None
    ) -> StoredConversation:
        """Pin or archive it, or the reverse; None leaves it as it is. Raises `NotFound`."""

        def write(db: sqlite3.Connection) -> StoredConversation:
            found = one_conversation(db, owner, id)
            wanted = (
                found.pinned if pinned is None else pinned,
                found.archived if archived is None else archived,
            )
            if wanted == (found.pinned, found.archived):
                return found
            db.execute(
                "UPDATE conversations SET pinned = ?, archived = ?, revision = revision + 1 WHERE id = ?", (*wanted, id)
            )
            return one_conversation(db, owner, id)

        return await self.db.write(write)

    # -- deleting ---------------------------------------------------------------------------------------------------

    async def delete(self, owner: str, id: str | None = None) -> tuple[int, list[str]]:
        """Delete one conversation for good, or with None all of the owner's. A tombstone stands in its place for ever.

        Returns how many there were and the ids of their running answers: from here on those can write nothing, and the
        caller stops them. Raises `NotFound` where `id` is given and not the owner's.
        """
        now = self.clock()
        which, values = "owner = ?", [owner]
        if id is not None:
            which, values = "owner = ? AND id = ?", [owner, id]

        def write(db: sqlite3.Connection) -> tuple[int, list[str]]:
            running = _running(db, which, values)
            deleted = bury(db, which, values, now)
            if id is not None and not deleted:
                raise NotFound
            return deleted, running

        return await self.db.write(write)

    async def hide(self, owner: str, ids: Sequence[str] | None, seconds: float) -> Deletion:
        """Begin to delete conversations, None: all of the owner's. Nobody sees them from here on, and `seconds` later
        `finish_deletions` deletes them. Raises `NotFound` where one is not the owner's, and then hides none."""
        until, deletion = self.clock() + seconds, new_id()

        def write(db: sqlite3.Connection) -> Deletion:
            if ids is None:
                sql = "UPDATE conversations SET deletion = ?, deletes_at = ? WHERE owner = ? AND deletes_at IS NULL"
                hidden = db.execute(sql, (deletion, until, owner)).rowcount
            else:
                hidden = 0
                for id in dict.fromkeys(ids):
                    one_conversation(db, owner, id)
                    db.execute(
                        "UPDATE conversations SET deletion = ?, deletes_at = ? WHERE id = ?", (deletion, until, id)
                    )
                    hidden += 1
            running = _running(db, "deletes_at IS NOT NULL AND deletion = ?", [deletion])
            return Deletion(deletion, hidden, until, tuple(running))

        return await self.db.write(write)

    async def bring_back(self, owner: str, deletion: str) -> int:
        """Take a deletion back, and return how many conversations it was. Raises `NotFound` where it is final."""
        now = self.clock()

        def write(db: sqlite3.Connection) -> int:
            back = db.execute(
                "UPDATE conversations SET deletion = NULL, deletes_at = NULL"
                " WHERE deletes_at > ? AND deletion = ? AND owner = ?",
                (now, deletion, owner),
            ).rowcount
            if not back:
                raise NotFound
            return back

        return await self.db.write(write)

    async def finish_deletions(self, due: float | None = None, limit: int = DELETED_AT_ONCE) -> int:
        """Delete what was to be deleted by `due` (unix seconds, default: now), some of it. Returns how many went; call it
        again until none does."""
        now = self.clock()

        def write(db: sqlite3.Connection) -> int:
            rows = db.execute(
                "SELECT id FROM conversations WHERE deletes_at <= ? ORDER BY deletes_at LIMIT ?",
                (now if due is None else due, limit),
            ).fetchall()
            for row in rows:
                bury(db, "id = ?", [row["id"]], now)
            return len(rows)

        return await self.db.write(write)


def _running(db: sqlite3.Connection, which: str, values: list) -> list[str]:
    rows = db.execute(
        f"SELECT id FROM messages WHERE state = 'running' AND conversation IN (SELECT id FROM conversations WHERE {which})",
        values,
    )
    return [row["id"] for row in rows]


def bury(db: sqlite3.Connection, which: str, values: list, now: float) -> int:
    """Delete the conversations that `which` (SQL) names; tombstones stand in their place. Returns how many."""
    db.execute(
        f"INSERT INTO tombstones (conversation, owner, deleted_at) SELECT id, owner, ? FROM conversations WHERE {which}",
        [now, *values],
    )
    return db.execute(f"DELETE FROM conversations WHERE {which}", values).rowcount


def _page_key(key: str) -> tuple[int, float, str]:
    pinned, at, id = key.split(":")
    if pinned not in ("0", "1"):
        raise ValueError("a key begins with 0 or 1")
    return int(pinned), float(at), id
