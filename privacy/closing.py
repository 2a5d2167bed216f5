"""Closing an account: an event that ends it, and once nothing of it is public any more, nobody can say whose numbers those
were."""

from __future__ import annotations

import sqlite3

# Owners who closed their account, whatever another machine heard after that, and of whom nothing is, or may be, public.
_OUT = """
    SELECT DISTINCT owner FROM subjects AS s
    WHERE (owner IN (SELECT owner FROM erased_owners)
           OR EXISTS (SELECT 1 FROM consent_events AS e JOIN subjects AS own ON own.subject = e.subject
                      WHERE own.owner = s.owner AND e.scope = 'account' AND e.kind = 'delete'))
      AND NOT EXISTS (SELECT 1 FROM outbox AS o JOIN subjects AS own ON own.subject = o.subject
                      WHERE own.owner = s.owner AND o.state <> 'retracted')
      AND NOT EXISTS (SELECT 1 FROM accounts WHERE owner = s.owner)
"""


def erase_closed(db: sqlite3.Connection) -> list[str]:
    """Erase the mapping of everybody who closed their account and whose rows are out; returns those owners. Events stay."""
    owners = [row["owner"] for row in db.execute(_OUT)]
    for owner in owners:
        db.execute("INSERT OR IGNORE INTO erased_owners VALUES (?)", (owner,))
        db.execute("DELETE FROM subjects WHERE owner = ?", (owner,))
        db.execute(
            "DELETE FROM owners WHERE id = ? AND NOT EXISTS (SELECT 1 FROM conversations WHERE owner = owners.id)",
            (owner,),
        )
    return owners
