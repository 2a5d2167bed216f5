"""The write-ahead objects' side of the database: what is not safe yet, which objects there are, which may go.

Functions over one connection each; the caller runs them through `Database.read` and `Database.write`.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from chat import backup_rows as rows
from chat import formats
from chat.backup_incoming import merge_change, merge_owner
from chat.formats import SavedOwner, SavedTombstone
from chat.write_ahead_formats import SavedChange, SavedLines

LARGEST_GROUP = 400  # objects in one batch
UNSAFE = "revision > safe_revision AND revision > saved_revision"


@dataclass(frozen=True, slots=True)
class Unsafe:
    """What is kept here alone. `oldest`: unix seconds since when, at the earliest; None where there is nothing."""

    conversations: int
    deletions: int
    oldest: float | None

    @property
    def backlog(self) -> int:
        return self.conversations + self.deletions


@dataclass(slots=True)
class Group:
    """The objects of one batch and what will be true once they are there; and the objects that may go."""

    add: dict[str, bytes] = field(default_factory=dict)
    objects: list[tuple[str, str, str, int]] = field(default_factory=list)  # path, kind, subject, revision
    messages: list[tuple[str, str, int]] = field(default_factory=list)  # conversation, message, marks
    marks: list[tuple[str, str, int]] = field(default_factory=list)  # kind, subject, marks
    delete: list[str] = field(default_factory=list)

    def put(self, replica: str, kind: str, subject: str, revision: int, content: bytes) -> None:
        path = f"{replica}/{kind}-{secrets.token_hex(12)}.jsonl"
        self.add[path] = content
        self.objects.append((path, kind, subject, revision))


def unsafe(db: sqlite3.Connection) -> Unsafe:
    row = db.execute(f"SELECT count(*) AS n, min(updated_at) AS oldest FROM conversations WHERE {UNSAFE}").fetchone()
    deleted = db.execute(
        "SELECT count(*) AS n, min(deleted_at) AS oldest FROM tombstones WHERE saved = 0 AND safe = 0"
    ).fetchone()
    since = [found["oldest"] for found in (row, deleted) if found["oldest"] is not None]
    return Unsafe(row["n"], deleted["n"], min(since) if since else None)


# -- going out ----------------------------------------------------------------------------------------------------------


def next_group(
    db: sqlite3.Connection, replica: str, extras: Sequence[tuple[str, int, SavedLines]], sweep: bool
) -> Group:
    """What to put next, and what may go; all of one moment. `extras`: (prefix, marks, what is new), of other parts.
    `sweep`: whether to look for what may go, which costs as much as there are objects; a deletion has it done anyway."""
    group = Group()
    db.execute("BEGIN")
    try:
        _add_tombstones(db, group, replica)
        sweep = sweep or bool(group.add)
        for prefix, marks, lines in extras:
            group.put(replica, "extra", prefix, marks, formats.encode([lines]))
            group.marks.append(("extra", prefix, marks))
        _add_owners(db, group, replica)
        _add_conversations(db, group, replica)
        group.delete = free(db) if sweep else []
    finally:
        db.execute("ROLLBACK")
    return group


def _add_tombstones(db: sqlite3.Connection, group: Group, replica: str) -> None:
    for row in db.execute(
        "SELECT conversation, owner, deleted_at FROM tombstones WHERE saved = 0 AND safe = 0 LIMIT ?", (LARGEST_GROUP,)
    ):
        line = SavedTombstone(**dict(row))
        group.put(replica, "tombstone", line.conversation, 0, formats.encode([line]))


def _add_owners(db: sqlite3.Connection, group: Group, replica: str) -> None:
    for owner, marks in db.execute(
        "SELECT s.owner, s.marks FROM stale_accounts AS s LEFT JOIN safe_marks AS m ON m.kind = 'owner' AND m.subject = s.owner"
        " WHERE m.marks IS NOT s.marks LIMIT ?",
        (LARGEST_GROUP,),
    ).fetchall():
        line = rows.owner_line(db, owner)
        if line is not None:
            group.put(replica, "owner", owner, marks, formats.encode([line]))
        group.marks.append(("owner", owner, marks))


def _add_conversations(db: sqlite3.Connection, group: Group, replica: str) -> None:
    for (id,) in db.execute(f"SELECT id FROM conversations WHERE {UNSAFE} LIMIT ?", (LARGEST_GROUP,)).fetchall():
        marked = db.execute("SELECT conversation, message, marks FROM unsafe_messages WHERE conversation = ?", (id,))
        marked = [tuple(row) for row in marked]
        change = rows.conversation(db, id, [message for _, message, _ in marked])
        group.put(replica, "conversation", id, change.revision, formats.encode([change]))
        group.messages += marked


def unsafe_extras(db: sqlite3.Connection) -> list[tuple[str, int]]:
    """(prefix, marks) of the other parts that have something which no object holds."""
    return [
        tuple(row)
        for row in db.execute(
            "SELECT s.prefix, s.marks FROM stale_extras AS s LEFT JOIN safe_marks AS m"
            " ON m.kind = 'extra' AND m.subject = s.prefix WHERE m.marks IS NOT s.marks"
        )
    ]


def free(db: sqlite3.Connection) -> list[str]:
    """The objects that nothing rests on: the dataset holds what they do, or it is deleted, or they were never told of."""
    return [
        row["path"]
        for row in db.execute(
            "SELECT path FROM write_ahead_objects AS o WHERE put = 0 OR CASE kind"
            " WHEN 'conversation' THEN NOT EXISTS"
            "   (SELECT 1 FROM conversations WHERE id = o.subject AND saved_revision < o.revision)"
            " WHEN 'tombstone' THEN NOT EXISTS (SELECT 1 FROM tombstones WHERE conversation = o.subject AND saved = 0)"
            " WHEN 'owner' THEN NOT EXISTS (SELECT 1 FROM stale_accounts WHERE owner = o.subject)"
            " ELSE NOT EXISTS (SELECT 1 FROM stale_extras WHERE prefix = o.subject) END LIMIT ?",
            (LARGEST_GROUP,),
        )
    ]


def intend(db: sqlite3.Connection, group: Group) -> None:
    """Note the objects before they are sent, so that none is there unknown."""
    db.executemany("INSERT INTO write_ahead_objects VALUES (?, ?, ?, ?, 0)", group.objects)


def done(db: sqlite3.Connection, group: Group) -> None:
    """All of `group` is there. What changed since it was read stays to be written."""
    db.executemany("UPDATE write_ahead_objects SET put = 1 WHERE path = ?", [(path,) for path in group.add])
    db.executemany("DELETE FROM unsafe_messages WHERE conversation = ? AND message = ? AND marks = ?", group.messages)
    for _, kind, subject, revision in group.objects:
        if kind == "conversation":
            # With a message left that no object holds it is not safe, whatever its number says.
            db.execute(
                "UPDATE conversations SET safe_revision = max(safe_revision, ?) WHERE id = ?"
                " AND NOT EXISTS (SELECT 1 FROM unsafe_messages WHERE conversation = id)",
                (revision, subject),
            )
        elif kind == "tombstone":
            db.execute("UPDATE tombstones SET safe = 1 WHERE conversation = ?", (subject,))
    for kind, subject, marks in group.marks:
        table, name = ("stale_accounts", "owner") if kind == "owner" else ("stale_extras", "prefix")
        db.execute(
            f"INSERT OR REPLACE INTO safe_marks SELECT ?, ?, ? WHERE EXISTS (SELECT 1 FROM {table} WHERE {name} = ?)",
            (kind, subject, marks, subject),
        )
    forget(db, group.delete)


def forget(db: sqlite3.Connection, paths: Iterable[str]) -> None:
    db.executemany("DELETE FROM write_ahead_objects WHERE path = ?", [(path,) for path in paths])


# -- what is there ------------------------------------------------------------------------------------------------------


def objects(db: sqlite3.Connection) -> dict[str, bool]:
    """Path -> whether it is known to be there."""
    return {row["path"]: bool(row["put"]) for row in db.execute("SELECT path, put FROM write_ahead_objects")}


def gone(db: sqlite3.Connection, paths: Iterable[str]) -> None:
    """These objects are not there any more: what they alone made safe no longer is."""
    paths = list(paths)
    waiting = set(paths) - set(free(db))
    for path in waiting:
        row = db.execute("SELECT kind, subject FROM write_ahead_objects WHERE path = ?", (path,)).fetchone()
        if row is None:
            continue
        if row["kind"] == "conversation":
            unsafe_again(db, row["subject"])
        elif row["kind"] == "tombstone":
            db.execute("UPDATE tombstones SET safe = 0 WHERE conversation = ?", (row["subject"],))
        else:
            db.execute("DELETE FROM safe_marks WHERE kind = ? AND subject = ?", (row["kind"], row["subject"]))
    forget(db, paths)


def unsafe_again(db: sqlite3.Connection, conversation: str) -> None:
    db.execute("UPDATE conversations SET safe_revision = 0 WHERE id = ?", (conversation,))
    db.execute(
        "INSERT INTO unsafe_messages (conversation, message) SELECT conversation, id FROM messages WHERE conversation = ?"
        " ON CONFLICT DO UPDATE SET marks = marks + 1",
        (conversation,),
    )


# -- coming in ----------------------------------------------------------------------------------------------------------


def found(db: sqlite3.Connection, path: str, kind: str, subject: str, revision: int) -> None:
    """An object that another disk wrote is taken over: it goes when the dataset holds what it does."""
    db.execute("INSERT OR REPLACE INTO write_ahead_objects VALUES (?, ?, ?, ?, 1)", (path, kind, subject, revision))


def left_over(db: sqlite3.Connection, paths: Iterable[str]) -> None:
    """Objects of this disk that it does not count on: they are to go."""
    db.executemany(
        "INSERT OR IGNORE INTO write_ahead_objects VALUES (?, 'conversation', '', 0, 0)", [(path,) for path in paths]
    )


def take_tombstones(db: sqlite3.Connection, lines: Iterable[tuple[str, SavedTombstone]]) -> None:
    for path, line in lines:
        db.execute(
            "INSERT INTO tombstones (conversation, owner, deleted_at, safe) VALUES (?, ?, ?, 1)"
            " ON CONFLICT DO UPDATE SET safe = 1",
            (line.conversation, line.owner, line.deleted_at),
        )
        db.execute("DELETE FROM conversations WHERE id = ?", (line.conversation,))
        found(db, path, "tombstone", line.conversation, 0)


def take_owners(db: sqlite3.Connection, lines: Iterable[tuple[str, SavedOwner]]) -> None:
    for path, line in lines:
        before, waits = rows.owner_line(db, line.owner), _account_waits(db, line.owner)
        merge_owner(db, line)
        after = rows.owner_line(db, line.owner)
        if before != after or waits is not None:
            # The dataset need not hold it: merging takes what it is given for a file of the dataset.
            rows.mark_account(db, line.owner)
            if after == line and waits is not True:
                marks = "SELECT 'owner', owner, marks FROM stale_accounts WHERE owner = ?"
                db.execute(f"INSERT OR REPLACE INTO safe_marks {marks}", (line.owner,))
        found(db, path, "owner", line.owner, 0)


def _account_waits(db: sqlite3.Connection, owner: str) -> bool | None:
    """Whether an account is in no object (True), or in one and not in the dataset (False); None: the dataset has it."""
    row = db.execute(
        "SELECT m.marks IS NOT s.marks AS unsafe FROM stale_accounts AS s"
        " LEFT JOIN safe_marks AS m ON m.kind = 'owner' AND m.subject = s.owner WHERE s.owner = ?",
        (owner,),
    ).fetchone()
    return None if row is None else bool(row["unsafe"])


def take_changes(db: sqlite3.Connection, parts: Sequence[tuple[str, SavedChange]], now: float) -> None:
    """The changes of one conversation. Raises `ValueError` where they do not fit what is here."""
    id = parts[0][1].id
    row = db.execute(f"SELECT {UNSAFE} AS unsafe FROM conversations WHERE id = ?", (id,)).fetchone()
    try:
        revision = merge_change(db, together([change for _, change in parts]), now)
    except sqlite3.IntegrityError:
        raise ValueError("a message of this conversation has the id of another's") from None
    if revision is not None and (row is None or not row["unsafe"]):
        # All of it is in objects that are there, or in the dataset: it need not be put again.
        db.execute("DELETE FROM unsafe_messages WHERE conversation = ?", (id,))
        db.execute("UPDATE conversations SET safe_revision = revision WHERE id = ?", (id,))
    for path, _ in parts:
        found(db, path, "conversation", id, revision or 0)


def together(parts: Sequence[SavedChange]) -> SavedChange:
    """The changes of one conversation as one change: every message as far as it came, the rest of the newest."""
    newest_first = sorted(parts, key=lambda part: (part.revision, part.updated_at), reverse=True)
    messages = formats.furthest(message for part in newest_first for message in part.messages)
    return newest_first[0].model_copy(update={"messages": tuple(messages.values())})
