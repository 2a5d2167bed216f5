"""What somebody reported and nobody has decided yet: hidden meanwhile. The reports themselves: `privacy/reports.py`."""

from __future__ import annotations

import sqlite3


def hidden(db: sqlite3.Connection) -> frozenset[str]:
    """The answers that no consent covers while somebody's report about them is open."""
    rows = db.execute("SELECT value FROM reports, json_each(answers) WHERE state = 'open'")
    return frozenset(row["value"] for row in rows)
