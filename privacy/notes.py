"""What the comparison remembers from one time to the next: a value by name."""

from __future__ import annotations

import sqlite3

HELD = "held"  # how many rows the last plan held back, because nothing explains that they should leave
CONFIRMED = "confirmed"  # how many of them an operator lets leave, once
BATCH = "batch"  # the hour, since 1970, in which the last batch of new rows left
FAILED = "failed"  # what the last audit found wrong, a JSON array of sentences; nothing new leaves meanwhile
AUDITED = "audited"  # when that was, Unix seconds
UNTOLD = "untold"  # a push came as far as its commits, and not to what tells of them
UNAUDITED = "unaudited"  # nor to an audit that was finished


def confirm_held(db: sqlite3.Connection) -> str | None:
    """Let as many rows leave as are held back now, once; how many these are, None: none is held back."""
    held = note(db, HELD)
    if held is not None:
        set_note(db, CONFIRMED, held)
    return held


def note(db: sqlite3.Connection, name: str) -> str | None:
    row = db.execute("SELECT value FROM sharing_notes WHERE name = ?", (name,)).fetchone()
    return row["value"] if row else None


def set_note(db: sqlite3.Connection, name: str, value: str | None) -> None:
    if value is None:
        db.execute("DELETE FROM sharing_notes WHERE name = ?", (name,))
    else:
        db.execute("INSERT OR REPLACE INTO sharing_notes VALUES (?, ?)", (name, value))
