"""How long conversations are kept: as many days after their last change as the operator, or their owner, says. The shorter
of the two holds. Functions over one connection each.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

DAY = 86400.0
CHOICES = (1, 7, 30, 90, 365)  # days, that the page offers
LONGEST = 3650  # days


@dataclass(frozen=True, slots=True)
class Retention:
    """Days after the last change; None: as long as nobody deletes them."""

    operator: int | None
    chosen: int | None

    @property
    def days(self) -> int | None:
        """What holds."""
        return min((days for days in (self.operator, self.chosen) if days is not None), default=None)


def chosen(db: sqlite3.Connection, owner: str) -> int | None:
    row = db.execute("SELECT days FROM retention WHERE owner = ?", (owner,)).fetchone()
    return row["days"] if row else None


def choose(db: sqlite3.Connection, owner: str, days: int | None, now: float) -> None:
    """Keep the choice of `owner`, who must be known. `now`: of two copies of a choice the newer one counts."""
    db.execute(
        "INSERT INTO retention (owner, days, changed_at) VALUES (:owner, :days, :now) ON CONFLICT (owner) DO UPDATE"
        " SET days = excluded.days, changed_at = excluded.changed_at WHERE excluded.changed_at >= changed_at",
        {"owner": owner, "days": days, "now": now},
    )


def choice(db: sqlite3.Connection, owner: str) -> tuple[int | None, float] | None:
    """The days and when they were chosen; None: nothing ever was."""
    row = db.execute("SELECT days, changed_at FROM retention WHERE owner = ?", (owner,)).fetchone()
    return (row["days"], row["changed_at"]) if row else None


def move(db: sqlite3.Connection, old: str, new: str) -> None:
    """What either of two owners chose, who turn out to be one, counts by its time."""
    if found := choice(db, old):
        choose(db, new, *found)


def expired(
    db: sqlite3.Connection, operator: int | None, now: float, limit: int, among: Sequence[str] | None = None
) -> list[str]:
    """Ids of conversations whose time is over, at most `limit` (`among` these). One in which an answer is being written
    has time."""
    # Without the operator's days, only the lists of those who chose some are looked at.
    join = "JOIN" if operator is None else "LEFT JOIN"
    rows = db.execute(
        f"SELECT c.id FROM conversations AS c {join} retention AS r ON r.owner = c.owner"
        " WHERE c.updated_at < :now - :day * min(coalesce(r.days, :longest), :operator) AND c.deletes_at IS NULL"
        " AND (r.days IS NOT NULL OR :limited)"
        f" {'' if among is None else 'AND c.id IN (SELECT value FROM json_each(:among))'}"
        " AND NOT EXISTS (SELECT 1 FROM messages WHERE conversation = c.id AND state = 'running') LIMIT :limit",
        {
            "now": now,
            "day": DAY,
            "longest": 10 * LONGEST,
            "operator": operator or 10 * LONGEST,
            "limited": operator is not None,
            "limit": limit,
            "among": json.dumps(among),
        },
    )
    return [row["id"] for row in rows]
