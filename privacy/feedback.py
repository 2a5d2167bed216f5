"""What owners said about answers, as far as the chat keeps it: read from its view `answer_feedback`, if there is one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Said:
    """About one answer, by its owner. `rating`: the chat's own word for it."""

    answer: str
    rating: str | None
    reasons: tuple[str, ...]
    comment: str | None


def said_about(db: sqlite3.Connection, owners: Collection[str], answers: Collection[str]) -> list[Said]:
    """What these owners said about these answers; in the order of the answers' ids, the same whenever it is asked."""
    if not db.execute(
        "SELECT 1 FROM sqlite_master WHERE type IN ('view', 'table') AND name = 'answer_feedback'"
    ).fetchone():
        return []
    rows = db.execute(
        "SELECT answer, rating, reasons, comment FROM answer_feedback WHERE answer IN (SELECT value FROM json_each(?))"
        " AND owner IN (SELECT value FROM json_each(?)) ORDER BY updated_at, answer",
        (json.dumps(list(answers)), json.dumps(list(owners))),
    )
    return [
        Said(
            row["answer"],
            None if row["rating"] is None else str(row["rating"]),
            _reasons(row["reasons"]),
            row["comment"],
        )
        for row in rows
    ]


def _reasons(kept: str | None) -> tuple[str, ...]:
    """The view gives a JSON array; anything else is one reason."""
    try:
        found = json.loads(kept or "[]")
    except ValueError:
        found = [kept]
    return tuple(str(reason) for reason in found) if isinstance(found, list) else (str(found),)
