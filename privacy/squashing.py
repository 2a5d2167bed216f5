"""Which sharing datasets hold, in their history, what must not be there."""

from __future__ import annotations

import sqlite3

_LATER = 0.001  # s by which what is found after a squash is later, whatever the clock says


def must_squash(db: sqlite3.Connection, dataset: str, now: float) -> None:
    """From here on the dataset waits for a squash; one that waits already goes on waiting."""
    db.execute(
        "INSERT INTO unsquashed VALUES (:dataset, :now, NULL) ON CONFLICT DO UPDATE"
        " SET found_at = max(:now, done_to + :later) WHERE done_to >= found_at",
        {"dataset": dataset, "now": now, "later": _LATER},
    )


def squashed(db: sqlite3.Connection, dataset: str) -> None:
    """All that was found there is out of the history."""
    db.execute("UPDATE unsquashed SET done_to = found_at WHERE dataset = ? AND done_to IS NOT found_at", (dataset,))


def to_squash(db: sqlite3.Connection) -> set[str]:
    """The datasets that wait for it, for what was found there or for rows that nothing here explains."""
    rows = db.execute(
        "SELECT dataset FROM unsquashed WHERE done_to IS NULL OR done_to < found_at"
        " UNION SELECT dataset FROM strays WHERE gone_at IS NULL"
    )
    return {row["dataset"] for row in rows}
