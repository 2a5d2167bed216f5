"""Letting one's sharing rest: nothing new leaves, what is public stays, and what is written meanwhile is nobody's later."""

from __future__ import annotations

import json
import sqlite3

from privacy.ledger import made_subjects_of, next_moment, subjects_of


def pause(db: sqlite3.Connection, owner: str, now: float) -> None:
    """From here on nothing new of `owner` leaves. Repeatable. Of somebody of whom nothing is known here either: what they
    agreed to may not have been read yet."""
    at = next_moment(db, owner, now)
    for subject in made_subjects_of(db, owner):
        open_one = "SELECT 1 FROM pauses WHERE subject = ? AND ended_at IS NULL"
        if db.execute(open_one, (subject,)).fetchone() is None:
            db.execute("INSERT INTO pauses (subject, begun_at) VALUES (?, ?)", (subject, at))


def resume(db: sqlite3.Connection, owner: str, now: float) -> None:
    """What was agreed to holds again, for what is written from here on and what waited from before the pause."""
    db.execute(
        "UPDATE pauses SET ended_at = ? WHERE ended_at IS NULL AND subject IN (SELECT value FROM json_each(?))",
        (next_moment(db, owner, now), json.dumps(subjects_of(db, owner))),
    )


def rests(db: sqlite3.Connection, subjects: tuple[str, ...]) -> bool:
    """Whether one of them goes on."""
    sql = "SELECT 1 FROM pauses WHERE subject IN (SELECT value FROM json_each(?)) AND ended_at IS NULL"
    return db.execute(sql, (json.dumps(subjects),)).fetchone() is not None


def pauses_of(db: sqlite3.Connection, subjects: tuple[str, ...]) -> tuple[tuple[float, float], ...]:
    """(begun, ended) of each; one that goes on ends at infinity."""
    rows = db.execute(
        "SELECT begun_at, ended_at FROM pauses WHERE subject IN (SELECT value FROM json_each(?))",
        (json.dumps(subjects),),
    )
    return tuple((row["begun_at"], float("inf") if row["ended_at"] is None else row["ended_at"]) for row in rows)
