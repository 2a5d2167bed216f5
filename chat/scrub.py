"""After something was deleted: its words leave the database's files too.

`secure_delete` overwrites a row that goes. Its words then still stand in a full-text index, whose deletions are entries of
their own until its parts are merged, and in pages of the write-ahead log that was written before. So: merge the indexes,
in small steps that turns can come between, then copy the log into the file and cut it to nothing.

One thing is left: where a row that grows has its page split, SQLite moves the others and leaves copies of them in the space
between, which `secure_delete` knows nothing of (of 1,500 rows deleted amid such moves, 3 were found). Only writing the file
anew takes these away. Turns wait for that, so it is done for a thousandth of the time at most: within a minute for a small
file, within an hour or so for one of 100,000 conversations (270 MB: 4 seconds).

That something is to be scrubbed is a row that the deletion itself writes (table `scrubbing`): a crash forgets nothing.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable

from chat.db import Database

STEP = 200  # pages of an index that are merged at once: milliseconds
ROUNDS = 100_000  # of one index: more than any needs
PATIENCE = 0.2  # seconds for which the log waits for its readers before it is tried again later
APART = 60.0  # seconds between two times that the file is written anew, at least
SHARE = 1000  # times as long as it took the last time
MERGE_SHARE = 20  # the same for merging the indexes, which reads and writes all of them: a deletion on its own is quick


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


async def rewrite(db: Database) -> bool:
    """Write the file anew, without any space that held something. False where a reader kept the log from being cut."""
    await db.alone(lambda c: c.execute("VACUUM"))
    return await db.alone(_cut_log)


async def scrub_forever(
    db: Database,
    tick: float = 1.0,
    elapsed: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Scrub within seconds of a deletion, or within `MERGE_SHARE` times as long as it took the last time, and write the file
    anew now and then, until cancelled."""
    rewritten, soonest = 1, elapsed() + APART  # before anything is deleted there is one mark
    took = 0.0
    while True:
        await sleep(max(tick, MERGE_SHARE * took))
        try:
            began = elapsed()
            scrubbed = await scrub(db)
            took = elapsed() - began
            marks = await db.read(lambda c: c.execute("SELECT marks FROM scrubbing").fetchone()[0])
            if scrubbed and marks != rewritten and elapsed() >= soonest:
                began = elapsed()
                rewritten = marks if await rewrite(db) else rewritten
                soonest = elapsed() + max(APART, SHARE * (elapsed() - began))
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
