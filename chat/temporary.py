"""Temporary chats: in this process's memory and nowhere else, until their page is closed.

They are turns like any other, by the same service, over a database that is no file. Nothing copies from it: no backup, no
search, no title by a model, no view that sharing reads.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping

from chat.db import CHAT_MIGRATIONS, MemoryDatabase
from chat.engines.pool import EnginePool
from chat.feedback import FeedbackBook
from chat.generation import Ending, Generations
from chat.models.catalog import Catalog
from chat.service import ChatService
from chat.store import Store
from chat.stored import NotFound

# The page says every few minutes that it is still open. One that cannot (a lost connection, a crash) has closed.
GONE_AFTER = 3600.0  # seconds
EXPIRE_EVERY = 300.0
MOST_EACH = 20  # conversations of one owner
MOST_BYTES = 256_000_000  # of all of them together


class TemporaryChats:
    """`service`, `generations` and `book` work as those of kept conversations do. `clock` gives Unix seconds."""

    def __init__(
        self,
        catalog: Catalog,
        pool: EnginePool,
        unavailable: Mapping[str, str],
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._db = MemoryDatabase({"chat": CHAT_MIGRATIONS})
        self._clock = clock
        store = Store(self._db, clock)
        self.generations = Generations(store.checkpoint, monotonic)
        self.service = ChatService(store, catalog, pool, self.generations, unavailable)
        self.book = FeedbackBook(self._db, clock)

    async def welcome(self, owner: str) -> None:
        """Make room for another turn of `owner`, whom no file need know. What was left longest goes first."""
        now = self._clock()

        def write(db: sqlite3.Connection) -> list[str]:
            db.execute("INSERT OR IGNORE INTO owners VALUES (?, 'anonymous', ?, ?)", (owner, now, now))
            idle = "SELECT id FROM conversations WHERE updated_at < ?"
            old = [row["id"] for row in db.execute(idle, (now - GONE_AFTER,))]
            mine = "SELECT id FROM conversations WHERE owner = ? ORDER BY updated_at DESC LIMIT -1 OFFSET ?"
            old += [row["id"] for row in db.execute(mine, (owner, MOST_EACH - 1))]
            if _bytes(db) > MOST_BYTES:
                oldest = "SELECT id FROM conversations ORDER BY updated_at LIMIT 1 + (SELECT count(*) FROM conversations) / 10"
                old += [row["id"] for row in db.execute(oldest)]
            return _delete(db, old)

        await self._stop(await self._db.write(write))

    async def still_open(self, owner: str, conversation: str) -> None:
        """The page is there. Raises `NotFound`."""
        now = self._clock()
        found = await self._db.write(
            lambda db: (
                db.execute(
                    "UPDATE conversations SET updated_at = ? WHERE id = ? AND owner = ?", (now, conversation, owner)
                ).rowcount
            )
        )
        if not found:
            raise NotFound

    async def close(self, owner: str, conversation: str) -> None:
        """The page was closed: nothing is left of it. Raises `NotFound`."""

        def write(db: sqlite3.Connection) -> list[str]:
            if not db.execute(
                "SELECT 1 FROM conversations WHERE id = ? AND owner = ?", (conversation, owner)
            ).fetchone():
                raise NotFound
            return _delete(db, [conversation])

        await self._stop(await self._db.write(write))

    async def run(self) -> None:
        """`expire` every few minutes, for ever."""
        while True:
            await asyncio.sleep(EXPIRE_EVERY)
            await self.expire()

    async def expire(self) -> None:
        """Close what no page has been open for."""
        left = self._clock() - GONE_AFTER

        def write(db: sqlite3.Connection) -> list[str]:
            rows = db.execute("SELECT id FROM conversations WHERE updated_at < ?", (left,))
            return _delete(db, [row["id"] for row in rows])

        await self._stop(await self._db.write(write))

    async def aclose(self) -> None:
        await self.generations.stop_all(Ending("stopped"))
        self._db.close()

    async def _stop(self, answers: list[str]) -> None:
        """Deleted first, stopped after: whatever they still write finds nothing to write to."""
        for answer in answers:
            if generation := self.generations.get(answer):
                await generation.stop()


def _delete(db: sqlite3.Connection, conversations: list[str]) -> list[str]:
    """Returns the ids of the answers that were running in them."""
    running = []
    for id in conversations:
        rows = db.execute("SELECT id FROM messages WHERE conversation = ? AND state = 'running'", (id,))
        running += [row["id"] for row in rows]
        db.execute("DELETE FROM conversations WHERE id = ?", (id,))
    return running


def _bytes(db: sqlite3.Connection) -> int:
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size
