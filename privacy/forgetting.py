"""What was written in a report, and where its writer can be answered, is erased a while after the decision: here, in the
private dataset, and in its history. That a row was reported stays, and how it was decided. Whose number it was, where an
account is closed (`privacy.closing`), leaves that history the same way."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from chat.db import Database

KEPT = 30 * 86400.0  # seconds after the decision
_ERASE = "UPDATE reports SET about = '-', reason = '-', contact = '' WHERE (about, reason, contact) <> ('-', '-', '')"


def forget_written(db: sqlite3.Connection, now: float) -> int:
    """Erase what is due, which the history of the private dataset has still; of how many reports."""
    return db.execute(f"{_ERASE} AND state <> 'open' AND decided_at <= ?", (now - KEPT,)).rowcount


def forgotten_elsewhere(db: sqlite3.Connection, report: Mapping[str, Any]) -> None:
    """Another machine has this report as it says here: what that one erased is erased here, too, and purged if it did."""
    if (report["about"], report["reason"], report["contact"]) == ("-", "-", ""):
        db.execute(f"{_ERASE} AND state <> 'open' AND id = ?", (report["id"],))
        db.execute(
            "UPDATE reports SET purged_at = :purged_at WHERE id = :id AND :purged_at < coalesce(purged_at, 9e999)",
            report,
        )


def to_purge(db: sqlite3.Connection) -> list[str]:
    """The reports whose words, and the numbers whose person, are erased, and may be in the history of the private dataset."""
    reports = "SELECT id FROM reports WHERE purged_at IS NULL AND about = '-' AND reason = '-' AND contact = ''"
    numbers = "SELECT subject FROM erased_subjects WHERE purged_at IS NULL"
    return [row["id"] for row in db.execute(f"{reports} AND state <> 'open' UNION ALL {numbers}")]


def purged(db: sqlite3.Connection, ids: Collection[str], now: float) -> None:
    """No version of the private dataset has what was erased of these."""
    for table, name in (("reports", "id"), ("erased_subjects", "subject")):
        db.executemany(f"UPDATE {table} SET purged_at = ? WHERE {name} = ?", [(now, id) for id in ids])


async def forget_reports(
    db: Database,
    now: float,
    save: Callable[[], Awaitable[None]],
    purge: Callable[[], Awaitable[None]],
    holds_lease: Callable[[], bool],
) -> None:
    """Erase what is due, and see that no version of the private dataset has what was erased, here or on a machine that is
    lost; what was cut off goes on the next time.

    `save` returns once the dataset holds what is here, `purge` once its history is gone, which the holder of the lease
    alone may do. Both may raise `RepoError`.
    """
    await db.write(lambda connection: forget_written(connection, now))
    going = await db.read(to_purge)
    if not going:
        return
    await save()  # which takes the lease, where nobody has it
    if holds_lease():
        await purge()
        await db.write(lambda connection: purged(connection, going, now))
