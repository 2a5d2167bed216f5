"""What owners do with their conversations as a whole: find, rename, pin, archive, delete and take that back, keep for so
many days. And what follows by itself: `run()` deletes what is due, and keeps the search up with what is said.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress

from chat import retention, search
from chat.generation import Generations
from chat.lists import Deletion, bury
from chat.retention import Retention
from chat.service import BadInput, check_characters
from chat.store import Store
from chat.stored import StoredConversation
from chat.titles import Titles
from chat.words import Query, parse

LONGEST_TITLE = 200  # characters
MOST_AT_ONCE = 1000  # conversations that one request may name
UNDO_SECONDS = 10.0
FINISH_SECONDS = 2.0
TICK_SECONDS = 0.5
SWEEP_SECONDS = 3600.0


class Library:
    """`retention_days`: the operator's, None for none. `report` gets a sentence for the operator, which quotes nothing."""

    def __init__(
        self,
        store: Store,
        generations: Generations,
        titles: Titles | None = None,
        retention_days: int | None = None,
        undo_seconds: float = UNDO_SECONDS,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.store = store
        self.generations = generations
        self.titles = titles
        self.retention_days = retention_days
        self.undo_seconds = undo_seconds
        self._db = store.db
        self._report = report
        self._swept_at = float("-inf")

    # -- what an owner does -----------------------------------------------------------------------------------------

    async def find(
        self, owner: str, text: str, before: int | None = None
    ) -> tuple[Query, list[search.Hit], int | None]:
        """One page of what holds `text`, newest first, and what to give as `before` for the next. No text is an error."""
        query = parse(text)
        hits, following = await self._db.read(lambda db: search.find(db, owner, query, before))
        return query, hits, following

    async def rename(self, owner: str, id: str, title: str) -> StoredConversation:
        """Raises `BadInput`, `NotFound`."""
        title = " ".join(title.split())
        if not title:
            raise BadInput("A title needs at least one character.")
        if len(title) > LONGEST_TITLE:
            raise BadInput(f"This title has {len(title)} characters; at most {LONGEST_TITLE} fit.")
        check_characters(title)
        self._no_title_for(owner, [id])
        return await self.store.rename(owner, id, title)

    async def arrange(
        self, owner: str, id: str, pinned: bool | None = None, archived: bool | None = None
    ) -> StoredConversation:
        """Pin or archive it, or the reverse. Raises `NotFound`."""
        return await self.store.arrange(owner, id, pinned, archived)

    async def delete(self, owner: str, ids: Sequence[str] | None) -> Deletion:
        """Delete conversations, None: all. Nobody sees them from here on, their answers stop at once, and until the
        `undo_seconds` are over `undo` brings them back. Raises `NotFound`, `BadInput`."""
        if ids is not None and len(ids) > MOST_AT_ONCE:
            raise BadInput(f"These are {len(ids)} conversations; at most {MOST_AT_ONCE} can be deleted at once.")
        for id in ids or ():
            check_characters(id)
        deletion = await self.store.hide(owner, ids, self.undo_seconds)
        self._no_title_for(owner, ids)
        for answer in deletion.running:
            if generation := self.generations.get(answer):
                await generation.stop()
        return deletion

    async def undo(self, owner: str, deletion: str) -> int:
        """Bring back what was deleted together, and return how many. Raises `NotFound` where it is final."""
        return await self.store.bring_back(owner, deletion)

    async def retention(self, owner: str) -> Retention:
        return Retention(self.retention_days, await self._db.read(lambda db: retention.chosen(db, owner)))

    async def keep_for(self, owner: str, days: int | None) -> Retention:
        """Have the conversations of `owner` deleted so many days after their last change; None: no choice of theirs.
        Raises `BadInput`."""
        if days is not None and not 1 <= days <= retention.LONGEST:
            raise BadInput(f"Conversations can be kept for 1 to {retention.LONGEST} days, not {days}.")
        now = self.store.clock()
        await self._db.write(lambda db: retention.choose(db, owner, days, now))
        self._swept_at = float("-inf")
        return await self.retention(owner)

    def _no_title_for(self, owner: str, ids: Sequence[str] | None) -> None:
        if self.titles:
            self.titles.cancel(owner, ids)

    # -- what follows -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Finish the deletions whose time has come meanwhile; the others can still be undone, though no longer than ever,
        whatever became of the clock. Call once, before anybody is served."""
        until = self.store.clock() + self.undo_seconds
        sql = "UPDATE conversations SET deletes_at = ? WHERE deletes_at > ?"
        await self._db.write(lambda db: db.execute(sql, (until, until)))
        while await self.store.finish_deletions():
            pass

    async def finish(self) -> None:
        """Delete for good what could still be undone, as far as `FINISH_SECONDS` last: where the disk goes with the app,
        nothing else would. What fails is left to the next start, where there is one."""
        with suppress(TimeoutError, sqlite3.Error):
            async with asyncio.timeout(FINISH_SECONDS):
                while await self.store.finish_deletions(due=float("inf")):
                    pass

    async def run(self) -> None:
        """Do what is due, until cancelled. What fails is told once and tried again."""
        failed = False
        while True:
            try:
                await self.tidy()
                failed = False
            except Exception as error:
                if not failed:
                    self._report(
                        f"What is due could not be deleted or indexed ({type(error).__name__}); it is tried again."
                    )
                failed = True
            await asyncio.sleep(TICK_SECONDS)

    async def tidy(self) -> None:
        """Finish deletions, delete what is too old, index what was said: each as far as it is due."""
        while await self.store.finish_deletions():
            pass
        now = self.store.clock()
        if now - self._swept_at >= SWEEP_SECONDS:
            await self._delete_expired(now)
            self._swept_at = now
        if await self._db.read(search.is_behind):
            # Turns that arrive meanwhile take their place between two of these writes.
            while await self._db.write(search.index_some):
                pass

    async def _delete_expired(self, now: float) -> None:
        while ids := await self._db.read(lambda db: retention.expired(db, self.retention_days, now, limit=100)):
            # Looked at again where nothing else writes: somebody may have gone on with one.
            def delete(db: sqlite3.Connection, ids: list[str] = ids) -> int:
                due = retention.expired(db, self.retention_days, now, len(ids), among=ids)
                return sum(bury(db, "id = ?", [id], now) for id in due)

            if not await self._db.write(delete):
                return
