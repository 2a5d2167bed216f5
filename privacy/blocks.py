"""Organisations that decide for their members: who is in one agrees to nothing, and what they agreed to before is over."""

from __future__ import annotations

import sqlite3

from chat.db import Database
from privacy.ledger import Choice, record
from privacy.policy import without_text

# Those who said yes after the last time that an organisation took it back.
UNBLOCKED = """
    SELECT s.owner FROM subjects AS s JOIN consent_events AS e USING (subject) WHERE e.kind IN ('grant', 'org_block')
    GROUP BY s.owner HAVING max(iif(e.kind = 'grant', e.at, 0)) > max(iif(e.kind = 'org_block', e.at, 0))
        AND (SELECT standing FROM owner_standing WHERE owner = s.owner) = 'managed'
"""


async def block_members(db: Database, now: float) -> None:
    """Write down of everybody whose organisation decides that it took back what they agreed to. So when they leave it, they
    are asked again: their standing alone would bring the old yes back."""
    owners = await db.read(lambda one: [row["owner"] for row in one.execute(UNBLOCKED)])

    def write(one: sqlite3.Connection) -> None:
        for owner in owners:
            record(one, owner, Choice("org_block"), without_text("operator"), now)

    if owners:
        await db.write(write)
