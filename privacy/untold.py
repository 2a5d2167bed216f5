"""What became of shared rows and is not told yet, in the audit repository and in a discussion, or not audited."""

from __future__ import annotations

import sqlite3

from privacy.notes import UNAUDITED, UNTOLD, note


def is_untold(db: sqlite3.Connection) -> bool:
    """Whether the audit repository, or a discussion, may not say yet what became of rows that left or came from here, or
    no audit has proved it."""
    return note(db, UNTOLD) is not None or note(db, UNAUDITED) is not None


def lost_rows(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """(dataset, day) of those that lost rows on a day later than the one that was announced last."""
    rows = db.execute(
        "SELECT dataset, max(day) AS day FROM ("
        " SELECT dataset, date(retracted_at, 'unixepoch') AS day FROM outbox WHERE state = 'retracted'"
        " UNION ALL SELECT dataset, date(done_to, 'unixepoch') FROM unsquashed WHERE done_to IS NOT NULL) GROUP BY dataset"
    )
    return [
        (row["dataset"], row["day"]) for row in rows if (note(db, f"announced {row['dataset']}") or "") < row["day"]
    ]
