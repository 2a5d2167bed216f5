"""What the owner of a conversation thinks of an answer: a thumb, reasons, a comment. Theirs as the answer is: seen, and gone, with it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from chat.db import Database
from chat.store import NotFound

Rating = Literal["up", "down"]

# What may be picked beside each thumb, by the name that is kept. Names that were kept once are never given another meaning.
REASONS: dict[str, dict[str, str]] = {
    "up": {
        "correct": "Correct",
        "clear": "Clear",
        "complete": "Complete",
        "to_the_point": "To the point",
        "well_written": "Well written",
    },
    "down": {
        "wrong": "Not correct",
        "not_followed": "Not what I asked for",
        "incomplete": "Incomplete",
        "unclear": "Hard to follow",
        "wrong_language": "Wrong language",
        "harmful": "Harmful or offensive",
    },
}
LONGEST_COMMENT = 2_000  # characters
RUNNING = "This answer is still being written. Rate it when it is complete."


@dataclass(frozen=True, slots=True)
class Feedback:
    """Raises `ValueError`, with a sentence, for a reason that is not on the list of its thumb or a comment too long."""

    rating: Rating
    reasons: tuple[str, ...] = ()
    comment: str = ""

    def __post_init__(self) -> None:
        if self.rating not in REASONS:
            raise ValueError("A rating is up or down.")
        if not set(self.reasons) <= REASONS[self.rating].keys():
            raise ValueError(f"The reasons for {self.rating} are: {', '.join(REASONS[self.rating])}.")
        if len(self.comment) > LONGEST_COMMENT:
            raise ValueError(f"This comment has {len(self.comment):,} characters; at most {LONGEST_COMMENT:,} fit.")
        # In the order of the list and each once, so that the same choice is the same value.
        object.__setattr__(self, "reasons", tuple(name for name in REASONS[self.rating] if name in self.reasons))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"reasons": list(self.reasons)}


class FeedbackBook:
    """The ratings that are kept. Every method names the owner it works for; another owner's answer does not exist for it."""

    def __init__(self, db: Database, clock: Callable[[], float]) -> None:
        self._db = db
        self._clock = clock

    async def of(self, owner: str, answers: Iterable[str]) -> dict[str, Feedback]:
        """What `owner` gave to these answers, by id; those without are left out."""
        sql = (
            "SELECT answer_id, rating, reasons, comment FROM answer_feedback"
            " WHERE owner = ? AND answer_id IN (SELECT value FROM json_each(?))"
        )
        ids = json.dumps(list(answers))
        rows = await self._db.read(lambda db: db.execute(sql, (owner, ids)).fetchall())
        return {row["answer_id"]: _as_feedback(row) for row in rows}

    async def give(self, owner: str, answer: str, feedback: Feedback) -> None:
        """Keep it in the place of what was given before. Raises `NotFound`, and `ValueError` while the answer runs."""
        values = (answer, feedback.rating, json.dumps(feedback.reasons), feedback.comment, self._clock())

        def write(db: sqlite3.Connection) -> None:
            if _touch(db, owner, answer) == "running":
                raise ValueError(RUNNING)
            db.execute(
                "INSERT OR REPLACE INTO feedback (answer, rating, reasons, comment, given_at) VALUES (?, ?, ?, ?, ?)",
                values,
            )

        await self._db.write(write)

    async def remove(self, owner: str, answer: str) -> None:
        """Take it back; nothing is left of it. Raises `NotFound`."""

        def write(db: sqlite3.Connection) -> None:
            _touch(db, owner, answer)
            db.execute("DELETE FROM feedback WHERE answer = ?", (answer,))

        await self._db.write(write)


def _as_feedback(row: sqlite3.Row) -> Feedback:
    # A reason that another version knew and this one does not is kept, and not shown.
    known = (name for name in json.loads(row["reasons"]) if name in REASONS[row["rating"]])
    return Feedback(row["rating"], tuple(known), row["comment"])


def _touch(db: sqlite3.Connection, owner: str, answer: str) -> str:
    """Count a change of the answer's conversation, so that it is saved anew, and return the answer's state."""
    row = db.execute(
        "SELECT m.conversation, m.state FROM messages AS m JOIN conversations AS c ON c.id = m.conversation"
        " WHERE m.id = ? AND m.role = 'assistant' AND c.owner = ? AND c.deletes_at IS NULL",
        (answer, owner),
    ).fetchone()
    if row is None:
        raise NotFound
    db.execute("UPDATE conversations SET revision = revision + 1 WHERE id = ?", (row["conversation"],))
    return row["state"]
