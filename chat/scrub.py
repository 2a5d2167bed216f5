"""After something was deleted: its words leave the database's files too.

`secure_delete` overwrites a row that goes. Its words then still stand in a full-text index, whose deletions are entries of
their own until its parts are merged, and in pages of the write-ahead log that was written before. So: merge the indexes,
in small steps that turns can come between, then copy the log into the file and cut it to nothing.

That something is to be scrubbed is a row that the deletion itself writes (table `scrubbing`): a crash forgets nothing.
"""

from __future__ import annotations

import asyncio
import sqlite3

from chat.db import Database

STEP = 200  # pages of an index that are merged at once: milliseconds
ROUNDS = 100_000  # of one index: more than any needs
PATIENCE = 0.2  # seconds for which the log waits for its readers before it is tried again later


async def scrub(db: Database) -> bool:
    """Clean the files of `db` where something was deleted since the last time. False where a reader kept the log from
    being cut: call it again."""
    marks, done = await db.read(lambda c: tuple(c.execute("SELECT marks, done FROM scrubbing").fetchone()))
    if marks == done:
        return True
    for table in await db.read(_indexes):
        pages = -STEP  # the first step has all parts of the index merged, however few there are
        for _ in range(ROUNDS):
            if not await db.write(lambda c, table=table, pages=pages: _merge(c, table, pages)):
                break
            pages = STEP
    if not await db.alone(_cut_log):
        return False
    await db.write(lambda c: c.execute("UPDATE scrubbing SET done = ?", (marks,)))
    return True


async def scrub_forever(db: Database, tick: float = 1.0) -> None:
    """Scrub within seconds of a deletion, until cancelled."""
    while True:
        await asyncio.sleep(tick)
        try:
            await scrub(db)
        except sqlite3.Error:
            continue  # the disk is full, or gone: turns say so, and it is tried again


def _indexes(db: sqlite3.Connection) -> list[str]:
    rows = db.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL TABLE%USING fts5%'"
    )
    return [row["name"] for row in rows]


def _merge(db: sqlite3.Connection, table: str, pages: int) -> bool:
    """One step of what `optimize` does at once, see section 6.8 of SQLite's description of FTS5. False: it is done."""
    before = db.total_changes
    name = table.replace('"', '""')
    db.execute(f'INSERT INTO "{name}" ("{name}", rank) VALUES (\'merge\', ?)', (pages,))
    return db.total_changes - before >= 2


def _cut_log(db: sqlite3.Connection) -> bool:
    db.execute(f"PRAGMA busy_timeout = {int(PATIENCE * 1000)}")
    try:
        busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        db.execute("PRAGMA busy_timeout = 10000")
    return not busy
