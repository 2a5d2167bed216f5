"""What an owner deleted lately, without a word of it: when it was deleted here, whether that holds though this machine were
lost, and when it was deleted from the backup and its history."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from chat.backup_rows import UNPURGED

MOST = 20
# Another machine may have purged it before this one, which was cut off, put its copy into the bucket.
LEAVING = f"({UNPURGED} OR conversation IN (SELECT subject FROM write_ahead_objects WHERE kind = 'conversation'))"


@dataclass(frozen=True, slots=True)
class Deletion:
    """Conversations that were deleted at once. Times are unix seconds; `purged_at` None: not all of them are purged.
    `survives`: dataset or bucket know of all of it. Before that they come back where this disk is lost."""

    conversations: int
    deleted_at: float
    purged_at: float | None
    survives: bool


def recent(db: sqlite3.Connection, owner: str) -> list[Deletion]:
    """The newest first, also of who became this owner by signing in, and what can still be taken back."""
    rows = db.execute(
        "WITH gone AS ("
        f" SELECT deleted_at, purged_at, {LEAVING} AS unpurged, max(saved, safe) AS elsewhere FROM tombstones"
        " WHERE owner = :owner OR owner IN"
        " (SELECT substr(name, 8) FROM backup_state WHERE name LIKE 'became:%' AND value = :owner)"
        " UNION ALL SELECT deletes_at, NULL, 1, 0 FROM conversations WHERE owner = :owner AND deletes_at IS NOT NULL)"
        " SELECT count(*) AS conversations, deleted_at, CASE WHEN sum(unpurged) = 0 THEN max(purged_at) END AS purged_at,"
        " min(elsewhere) AS elsewhere"
        " FROM gone GROUP BY deleted_at ORDER BY deleted_at DESC LIMIT :most",
        {"owner": owner, "most": MOST},
    )
    return [Deletion(count, at, purged, bool(elsewhere)) for count, at, purged, elsewhere in rows]
