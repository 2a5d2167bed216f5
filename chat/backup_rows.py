"""What the backup knows in the database: what the private dataset lacks, and what each row looks like there.

Functions over one connection each; the caller runs them through `Database.read` and `Database.write`.
`backup_outgoing` makes commits of them, `backup_incoming` brings back what a commit holds.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

from chat import retention
from chat.formats import SavedConversation, SavedFeedback, SavedMessage, SavedOwner, SavedRetention, owner_and_part

DAY = 86400.0
UNPURGED = "purged_at IS NULL OR purged_at < deleted_at"


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is kept here and not yet in the private dataset. `oldest`: unix seconds since when, at the earliest."""

    conversations: int
    owners: int
    deletions: int
    parts: int
    extras: int
    accounts: int
    oldest: float | None

    @property
    def backlog(self) -> int:
        """What somebody did and would miss. That somebody was here, which accounts/ says too, is none of it."""
        return self.conversations + self.deletions + self.parts + self.extras

    def __bool__(self) -> bool:
        return bool(self.backlog or self.accounts)


def waiting(db: sqlite3.Connection) -> Waiting:
    row = db.execute(
        "SELECT count(*) AS n, count(DISTINCT owner) AS owners, min(updated_at) AS oldest"
        " FROM conversations WHERE revision > saved_revision"
    ).fetchone()
    deletions = db.execute("SELECT count(*) FROM tombstones WHERE saved = 0").fetchone()[0]
    others = (
        db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("stale_parts", "stale_extras", "stale_accounts")
    )
    return Waiting(row["n"], row["owners"], deletions, *others, row["oldest"])


def stale_extras(db: sqlite3.Connection) -> list[tuple[str, int]]:
    """(prefix, marks) of the other parts whose files changed since they were last written."""
    return [tuple(row) for row in db.execute("SELECT prefix, marks FROM stale_extras")]


def state(db: sqlite3.Connection, name: str) -> str | None:
    row = db.execute("SELECT value FROM backup_state WHERE name = ?", (name,)).fetchone()
    return row["value"] if row else None


def set_state(db: sqlite3.Connection, name: str, value: str | None) -> None:
    if value is None:
        db.execute("DELETE FROM backup_state WHERE name = ?", (name,))
    else:
        db.execute("INSERT OR REPLACE INTO backup_state VALUES (?, ?)", (name, value))


def saved_files(db: sqlite3.Connection, prefix: str = "") -> dict[str, str]:
    rows = db.execute(
        "SELECT path, content FROM saved_files WHERE path >= ? AND path < ? || char(1114111)", (prefix, prefix)
    )
    return {row["path"]: row["content"] for row in rows}


def conversation(db: sqlite3.Connection, id: str, only: Collection[str] | None = None) -> SavedConversation | None:
    """A conversation as the dataset keeps it, with all its messages, or with those named in `only`."""
    row = db.execute("SELECT * FROM conversations WHERE id = ?", (id,)).fetchone()
    if row is None:
        return None
    which, values = (
        ("", ()) if only is None else (" AND id IN (SELECT value FROM json_each(?))", (json.dumps(list(only)),))
    )
    rows = db.execute(
        f"SELECT * FROM messages WHERE conversation = ?{which} ORDER BY created_at, depth, id", (id, *values)
    )
    names = SavedMessage.model_fields.keys() - {"feedback"}
    given = _feedback(db, id)
    messages = tuple(
        SavedMessage.model_construct(
            **{name: _plain(name, message[name]) for name in SavedMessage.model_fields if name in names},
            feedback=given.get(message["id"]),
        )
        for message in rows
    )
    names = [name for name in SavedConversation.model_fields if name not in ("format", "messages")]
    return SavedConversation.model_construct(**{name: _plain(name, row[name]) for name in names}, messages=messages)


def _feedback(db: sqlite3.Connection, conversation: str) -> dict[str, SavedFeedback]:
    """What the owner thinks of the answers of a conversation, by the answer's id."""
    rows = db.execute(
        "SELECT f.* FROM feedback AS f JOIN messages AS m ON m.id = f.answer WHERE m.conversation = ?", (conversation,)
    )
    return {
        row["answer"]: SavedFeedback(
            rating=row["rating"],
            reasons=tuple(json.loads(row["reasons"])),
            comment=row["comment"],
            given_at=row["given_at"],
        )
        for row in rows
    }


def _plain(name: str, value):
    if name in ("pinned", "archived"):
        return bool(value)
    return json.loads(value) if name == "params" and value is not None else value


def owner_line(db: sqlite3.Connection, owner: str) -> SavedOwner | None:
    row = db.execute("SELECT * FROM owners WHERE id = ?", (owner,)).fetchone()
    if row is None:
        return None
    account = db.execute("SELECT hub_id, name, orgs, updated_at FROM accounts WHERE owner = ?", (owner,)).fetchone()
    sessions = db.execute(
        "SELECT hex(token_hash) AS token_hash, carrier, created_at, expires_at FROM sessions WHERE owner = ?"
        " ORDER BY token_hash",
        (owner,),
    )
    keys = db.execute(
        "SELECT hex(key_hash) AS key_hash, id, name, created_at, revoked_at FROM api_keys WHERE owner = ? ORDER BY id",
        (owner,),
    )
    ended = db.execute(
        "SELECT hex(token_hash) AS token_hash, expires_at FROM ended_sessions WHERE owner = ? ORDER BY token_hash",
        (owner,),
    )
    defaults = db.execute(
        "SELECT model, params, system_prompt, set_at FROM own_defaults WHERE owner = ? ORDER BY model", (owner,)
    )
    chosen = retention.choice(db, owner)
    return SavedOwner(
        owner=owner,
        kind=row["kind"],
        created_at=row["created_at"],
        # A day is enough to tell when an anonymous owner expires, and says less about when somebody was here.
        last_seen_at=max(row["created_at"], row["last_seen_at"] // DAY * DAY),
        account={**dict(account), "orgs": json.loads(account["orgs"])} if account else None,
        sessions=[dict(session) for session in sessions],
        keys=[dict(key) for key in keys],
        ended=[dict(session) for session in ended],
        defaults=[{name: _plain(name, value) for name, value in dict(row).items()} for row in defaults],
        retention=SavedRetention(days=chosen[0], changed_at=chosen[1]) if chosen else None,
    )


def mark_part(db: sqlite3.Connection, owner: str, part: int) -> None:
    db.execute(
        "INSERT INTO stale_parts (owner, part) VALUES (?, ?) ON CONFLICT DO UPDATE SET marks = marks + 1", (owner, part)
    )


def mark_accounts(db: sqlite3.Connection, prefix: str, except_for: Collection[str]) -> None:
    for row in db.execute("SELECT id FROM owners WHERE id BETWEEN ? AND ? || 'g'", (prefix, prefix)).fetchall():
        if row["id"] not in except_for:
            mark_account(db, row["id"])


def mark_account(db: sqlite3.Connection, owner: str) -> None:
    db.execute("INSERT INTO stale_accounts (owner) VALUES (?) ON CONFLICT DO UPDATE SET marks = marks + 1", (owner,))


def schedule_purge(db: sqlite3.Connection, at: float, apart: float) -> None:
    """Have the history rewritten at `at`, but `apart` seconds after the last time at the earliest."""
    at = max(at, float(state(db, "purged") or 0.0) + apart)
    planned = state(db, "purge_at")
    set_state(db, "purge_at", repr(at if planned is None else min(at, float(planned))))


def reconsider_purge(db: sqlite3.Connection, at: float, apart: float) -> None:
    """Have purged at `at` what another replica deleted and then did not purge; nothing where there is nothing left to."""
    waits = db.execute(f"SELECT max(saved) FROM tombstones WHERE {UNPURGED}").fetchone()[0]
    if waits is None:
        set_state(db, "purge_at", None)
    elif waits == 1 and state(db, "purge_at") is None:
        schedule_purge(db, at, apart)


def to_purge(db: sqlite3.Connection, left: Collection[str]) -> list[str]:
    """The deleted conversations, and closed accounts, that are in no file of the head: purged now, they are in no commit
    either. A file that is left unread, or is still to be written anew, may hold one."""
    rows = db.execute(
        f"SELECT conversation, owner FROM tombstones WHERE ({UNPURGED}) AND saved = 1"
        " AND owner NOT IN (SELECT owner FROM stale_parts)"
        " AND conversation NOT IN (SELECT owner FROM stale_accounts)"
        " AND conversation NOT IN (SELECT subject FROM write_ahead_objects WHERE kind IN ('conversation', 'owner'))"
    )
    unread = {found[0] for path in left if (found := owner_and_part(path))}
    return [row["conversation"] for row in rows if row["owner"] not in unread]


def purged(db: sqlite3.Connection, conversations: Collection[str], now: float) -> None:
    """Note that these conversations are nowhere in the dataset any more; the dataset is told with the next commit."""
    db.executemany(
        # Not before it was deleted, whatever the clock of the replica that deleted it said.
        f"UPDATE tombstones SET purged_at = max(?, deleted_at), told = 0 WHERE conversation = ? AND ({UNPURGED})",
        [(now, conversation) for conversation in conversations],
    )
    set_state(db, "purged", repr(now))
    set_state(db, "purge_at", None)
    set_state(db, "unpurged", None)
