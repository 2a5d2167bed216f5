"""A store with two owners, and turns in it: for the tests of the list and the search."""

from __future__ import annotations

from chat.conversation import SamplingParams
from chat.db import Database
from chat.store import Author, Store
from tests.support.fakes import TickingClock

OWNER, OTHER = "1" * 32, "2" * 32
AUTHOR = Author("starter", None, SamplingParams(temperature=0.2))


async def store_in(folder) -> Store:
    """A store whose clock ticks. The caller closes its `db`."""
    database = Database.open(folder)
    for owner in (OWNER, OTHER):
        await database.write(
            lambda c, id=owner: c.execute("INSERT INTO owners VALUES (?, 'anonymous', 1.0, 1.0)", (id,))
        )
    return Store(database, TickingClock())


async def turn(store: Store, text: str, answer: str = "ok", conversation: str | None = None, owner: str = OWNER) -> str:
    """Keep a turn, and return its conversation's id."""
    found, _, running = await store.begin_turn(owner, conversation, text, AUTHOR, "", "page")
    await store.finish_turn(running.id, answer, "done", "stop")
    return found.id
