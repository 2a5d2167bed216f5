"""All that is kept of one owner's conversations, one after the other: for a copy that they take away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from chat import backup_rows
from chat.db import Database


async def conversations_of(db: Database, owner: str) -> AsyncIterator[Mapping[str, Any]]:
    """Every conversation of `owner` with all its messages, newest first, as the private dataset holds them.

    One that changes meanwhile comes once; one that is deleted meanwhile does not come.
    """
    ids = await db.read(
        lambda connection: [
            row["id"]
            for row in connection.execute(
                "SELECT id FROM conversations WHERE owner = ? ORDER BY updated_at DESC, id", (owner,)
            )
        ]
    )
    for id in ids:
        found = await db.read(lambda connection, id=id: backup_rows.conversation(connection, id))
        if found is not None and found.owner == owner:
            yield found.model_dump(exclude={"format", "owner"})
