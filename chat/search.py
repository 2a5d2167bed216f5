"""Full-text search over an owner's titles and messages, newest first.

What is said is put into the index a moment after it has settled, by whoever runs `index_some`, so that nobody's turn waits
for it. Functions over one connection each; the caller runs them through `Database.read` and `Database.write`.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from chat.words import Query, tokens

PAGE_OF_HITS = 30
# Of one write: enough to be quick about a restored store, little enough for a turn to wait for.
MOST_INDEXED = 64
MOST_CHARACTERS = 200_000
IN_TURN = 8  # entries that are tried one after the other


@dataclass(frozen=True, slots=True)
class Hit:
    """A title (`message` None) or a message of an owner that holds what was looked for."""

    entry: int
    conversation: str
    title: str
    archived: bool
    message: str | None
    role: str | None
    content: str
    kept: bool
    at: float


FIND = """
    SELECT s.rowid AS entry, c.id AS conversation, c.title, c.archived, m.id AS message, m.role,
           coalesce(m.content, c.title) AS content, coalesce(m.kept, 1) AS kept, coalesce(m.created_at, c.updated_at) AS at
    FROM search AS s
    LEFT JOIN messages AS m ON m.search_entry = s.rowid
    LEFT JOIN conversations AS t ON t.title_entry = s.rowid
    JOIN conversations AS c ON c.id = coalesce(m.conversation, t.id)
    WHERE s.words MATCH ? AND s.rowid < ? AND c.owner = ? AND c.deletes_at IS NULL AND coalesce(m.kept, 1) = 1
    ORDER BY s.rowid DESC LIMIT ?
"""


def find(
    db: sqlite3.Connection, owner: str, query: Query, before: int | None = None, limit: int = PAGE_OF_HITS
) -> tuple[list[Hit], int | None]:
    """One page of hits, newest first, and what to give as `before` for the next (None: no more)."""
    if not query:
        return [], None
    newest = before if before is not None else 2**62
    rows = db.execute(FIND, (query.match(owner), newest, owner, limit + 1)).fetchall()
    hits = [Hit(**{**dict(row), "archived": bool(row["archived"]), "kept": bool(row["kept"])}) for row in rows[:limit]]
    return hits, hits[-1].entry if len(rows) > limit else None


def is_behind(db: sqlite3.Connection) -> bool:
    """Whether something that was said, or a title, is not in the index yet."""
    return bool(db.execute(f"SELECT EXISTS ({UNINDEXED}) OR EXISTS ({UNTITLED})").fetchone()[0])


UNINDEXED = """
    SELECT m.id, m.conversation, m.content, m.created_at FROM messages AS m
    WHERE m.search_entry IS NULL AND m.content <> '' AND coalesce(m.state, '') <> 'running' ORDER BY m.created_at
"""
UNTITLED = "SELECT id, owner, title, updated_at FROM conversations WHERE title_entry IS NULL ORDER BY updated_at"


def index_some(db: sqlite3.Connection) -> int:
    """Put some of what is not in the index into it, oldest first. Returns how much that was: 0 when all is in it."""
    done, room = 0, MOST_CHARACTERS
    for row in db.execute(f"{UNINDEXED} LIMIT {MOST_INDEXED}").fetchall():
        if room <= 0:
            break
        room -= len(row["content"])
        owner = db.execute("SELECT owner FROM conversations WHERE id = ?", (row["conversation"],)).fetchone()["owner"]
        entry = _add(db, row["created_at"], owner, row["content"])
        db.execute("UPDATE messages SET search_entry = ? WHERE id = ?", (entry, row["id"]))
        done += 1
    for row in db.execute(f"{UNTITLED} LIMIT {MOST_INDEXED}").fetchall():
        entry = _add(db, row["updated_at"], row["owner"], row["title"])
        db.execute("UPDATE conversations SET title_entry = ? WHERE id = ?", (entry, row["id"]))
        done += 1
    return done


def _near(entry: int) -> Iterator[int]:
    """It, then the next few in turn, then any in a room that doubles: where thousands were said in one millisecond, a
    search for the end of them would cost each as much as there are."""
    yield from range(entry, entry + IN_TURN)
    room = IN_TURN
    while True:
        room *= 2
        yield entry + random.randrange(room)


def _add(db: sqlite3.Connection, at: float, owner: str, text: str) -> int:
    taken = (
        "SELECT EXISTS (SELECT 1 FROM messages WHERE search_entry = :entry)"
        " OR EXISTS (SELECT 1 FROM conversations WHERE title_entry = :entry)"
    )
    entry = next(entry for entry in _near(int(at * 1000)) if not db.execute(taken, {"entry": entry}).fetchone()[0])
    db.execute("INSERT INTO search (rowid, words) VALUES (?, ?)", (entry, tokens(owner, text)))
    return entry
