"""What was written in a report, and where its writer can be answered, is erased a while after the decision: here, in the
private dataset, and in its history. That a row was reported stays, and how it was decided."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable

from chat.db import Database
from privacy.notes import FORGETTING, note, set_note

KEPT = 30 * 86400.0  # seconds after the decision
_ERASE = "UPDATE reports SET about = '-', reason = '-', contact = '' WHERE (about, reason, contact) <> ('-', '-', '')"


def forget_written(db: sqlite3.Connection, now: float) -> int:
    """Erase what is due, and note that the history of the private dataset has it still; of how many reports."""
    count = db.execute(f"{_ERASE} AND state <> 'open' AND decided_at <= ?", (now - KEPT,)).rowcount
    if count:
        set_note(db, FORGETTING, "yes")
    return count


def forgotten_elsewhere(db: sqlite3.Connection, id: str, about: str, reason: str, contact: str) -> None:
    """Another machine has this report as it says here: what that one erased is erased here, too."""
    if (about, reason, contact) == ("-", "-", ""):
        db.execute(f"{_ERASE} AND state <> 'open' AND id = ?", (id,))


async def forget_reports(
    db: Database,
    now: float,
    save: Callable[[], Awaitable[None]],
    purge: Callable[[], Awaitable[None]],
    holds_lease: Callable[[], bool],
) -> None:
    """Erase what is due, and see that no version of the private dataset has it; what was cut off goes on the next time.

    `save` returns once the dataset holds what is here, `purge` once its history is gone, which the holder of the lease
    alone may do. Both may raise `RepoError`.
    """
    await db.write(lambda connection: forget_written(connection, now))
    if await db.read(lambda connection: note(connection, FORGETTING)) is None:
        return
    await save()  # which takes the lease, where nobody has it
    if holds_lease():
        await purge()
        await db.write(lambda connection: set_note(connection, FORGETTING, None))
