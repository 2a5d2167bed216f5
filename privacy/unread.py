"""When what was agreed to and taken back was not all here: after a start, until everything is read.

Whoever wrote then was told that it is being looked up. An older yes does not cover it: the no that came after it may have
been among what was not read, or lost with a disk.
"""

from __future__ import annotations

import sqlite3


def open_unread(db: sqlite3.Connection, since: float) -> None:
    """Not all is here since `since`, Unix seconds, unless that is noted already."""
    if db.execute("SELECT 1 FROM unread WHERE ended_at IS NULL AND replica = (SELECT id FROM replica)").fetchone():
        return
    db.execute("INSERT OR IGNORE INTO unread SELECT id, ?, NULL FROM replica", (since,))


def close_unread(db: sqlite3.Connection, now: float) -> None:
    """All is here. What another machine left open ended when this one took over, and is closed too."""
    db.execute("UPDATE unread SET ended_at = max(?, begun_at) WHERE ended_at IS NULL", (now,))


def unread_spans(db: sqlite3.Connection) -> list[tuple[float, float]]:
    """(from, until) in Unix seconds, of all of them."""
    rows = db.execute("SELECT begun_at, ended_at FROM unread ORDER BY begun_at")
    return [(row["begun_at"], float("inf") if row["ended_at"] is None else row["ended_at"]) for row in rows]
