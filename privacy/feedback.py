"""What owners said about answers, read from the chat's view `answer_feedback`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from privacy.ledger import Event


@dataclass(frozen=True, slots=True)
class Said:
    """About one answer, by its owner. `rating`: "up" or "down". `given_at`: Unix seconds."""

    answer: str
    rating: str
    reasons: tuple[str, ...]
    comment: str
    given_at: float


def said_about(db: sqlite3.Connection, owners: Collection[str], answers: Collection[str]) -> list[Said]:
    """What these owners said about these answers; in the order of the answers' ids, the same whenever it is asked."""
    rows = db.execute(
        "SELECT answer_id, rating, reasons, comment, given_at FROM answer_feedback"
        " WHERE answer_id IN (SELECT value FROM json_each(?)) AND owner IN (SELECT value FROM json_each(?))"
        " ORDER BY answer_id",
        (json.dumps(list(answers)), json.dumps(list(owners))),
    )
    return [
        Said(row["answer_id"], row["rating"], tuple(json.loads(row["reasons"])), row["comment"], row["given_at"])
        for row in rows
    ]


def said_under(event: Event, said: Sequence[Said]) -> Sequence[Said]:
    """What of it goes along under this yes: with the share of a conversation, what had been said when its rows were shown."""
    return said if event.conversation is None else [one for one in said if one.given_at <= event.at]
