"""Everything that stands in a database, as text: for tests of what must not stand in it."""

from __future__ import annotations

import sqlite3


def all_rows(db: sqlite3.Connection) -> str:
    """All rows of all tables, the files of the search among them; bytes as SQLite writes them.

    `iterdump` cannot: a full-text index without content of its own lets nobody read its rows.
    """
    sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
    names = [row[0] for row in db.execute(sql)]
    return "\n".join(repr(tuple(row)) for name in names for row in db.execute(f'SELECT * FROM "{name}"'))
