"""The backup's side of the database: what the private dataset lacks, what it was told, and what it brings back.

Functions over one connection each; the caller runs them through `Database.read` and `Database.write`.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from chat import formats, retention
from chat.dataset_repo import blob_id
from chat.defaults import move as move_defaults
from chat.formats import SavedConversation, SavedFeedback, SavedMessage, SavedOwner, SavedRetention, SavedTombstone

DAY = 86400.0
BATCH_BYTES = 32_000_000  # of files in one commit, or one owner's where that is more
CUT_OFF = "The app was moved while this answer was written. What had been saved is kept; try again for a whole one."


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


@dataclass(slots=True)
class Batch:
    """The files of one commit, and what will be true once it is applied."""

    add: dict[str, bytes] = field(default_factory=dict)
    delete: list[str] = field(default_factory=list)
    conversations: list[tuple[int, int, str, str]] = field(default_factory=list)  # revision, part, id, owner
    stale_parts: list[tuple[str, int, int]] = field(default_factory=list)  # owner, part, marks
    stale_accounts: list[tuple[str, int]] = field(default_factory=list)  # owner, marks
    stale_extras: list[tuple[str, int]] = field(default_factory=list)  # prefix, marks
    tombstones: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(
            (
                self.add,
                self.delete,
                self.conversations,
                self.stale_parts,
                self.stale_accounts,
                self.stale_extras,
                self.tombstones,
            )
        )


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


# -- going out ----------------------------------------------------------------------------------------------------------


def next_batch(
    db: sqlite3.Connection, owners: int, extras: Mapping[str, Mapping[str, bytes]], left: Collection[str]
) -> Batch:
    """What to commit next, of at most so many owners; empty where the dataset lacks nothing.

    `extras`: the files of other parts, by prefix, all of them. `left`: paths that are left as they are. What was deleted
    goes first, its tombstones in the same commit as the files without it, all of one moment.
    """
    batch = Batch()
    db.execute("BEGIN")
    try:
        _add_tombstones(db, batch, left)
        for prefix, files in extras.items():
            known = saved_files(db, prefix)
            for path, content in files.items():
                _add(batch, path, content, known.get(path))
            batch.delete += [path for path in known if path not in files]
        _add_accounts(db, batch, left)
        _add_users(db, batch, owners, left)
    finally:
        db.execute("ROLLBACK")
    return batch


def _add(batch: Batch, path: str, content: bytes, known: str | None) -> None:
    if known != blob_id(content):
        batch.add[path] = content


def _known(db: sqlite3.Connection, path: str) -> str | None:
    row = db.execute("SELECT content FROM saved_files WHERE path = ?", (path,)).fetchone()
    return row["content"] if row else None


def _add_tombstones(db: sqlite3.Connection, batch: Batch, left: Collection[str]) -> None:
    rows = db.execute("SELECT conversation FROM tombstones WHERE saved = 0").fetchall()
    for prefix in sorted({row["conversation"][:2] for row in rows}):
        path = f"tombstones/{prefix}.jsonl"
        if path in left:
            continue
        lines = db.execute(
            "SELECT conversation, owner, deleted_at FROM tombstones WHERE conversation BETWEEN ? AND ? || 'g'"
            " ORDER BY conversation",
            (prefix, prefix),
        )
        _add(batch, path, formats.encode(SavedTombstone(**dict(row)) for row in lines), _known(db, path))
        batch.tombstones += [row["conversation"] for row in rows if row["conversation"].startswith(prefix)]


def _add_accounts(db: sqlite3.Connection, batch: Batch, left: Collection[str]) -> None:
    stale = db.execute("SELECT owner, marks FROM stale_accounts").fetchall()
    for prefix in sorted({row["owner"][:2] for row in stale}):
        path = formats.account_path(prefix)
        if path in left:
            continue
        owners = db.execute(
            "SELECT id FROM owners WHERE id BETWEEN ? AND ? || 'g' ORDER BY id", (prefix, prefix)
        ).fetchall()
        known = _known(db, path)
        if owners:
            _add(batch, path, formats.encode(_owner(db, row["id"]) for row in owners), known)
        elif known is not None:
            batch.delete.append(path)
        batch.stale_accounts += [tuple(row) for row in stale if row["owner"].startswith(prefix)]


def _add_users(db: sqlite3.Connection, batch: Batch, limit: int, left: Collection[str]) -> None:
    stale = defaultdict(dict)
    for owner, part, marks in db.execute("SELECT owner, part, marks FROM stale_parts"):
        stale[owner][part] = marks
    dirty = db.execute("SELECT DISTINCT owner FROM conversations WHERE revision > saved_revision")
    size = 0
    for owner in dict.fromkeys([*stale, *(row["owner"] for row in dirty)]):
        if limit <= 0 or size > BATCH_BYTES:
            return
        written = _add_owner(db, batch, owner, stale[owner], left)
        size += written
        limit -= written > 0


def _add_owner(
    db: sqlite3.Connection, batch: Batch, owner: str, stale: Mapping[int, int], left: Collection[str]
) -> int:
    """Add the parts of one owner that must be written, and return their bytes (at least 1 where anything was added)."""
    dirty = db.execute(
        "SELECT id, part FROM conversations WHERE owner = ? AND revision > saved_revision ORDER BY created_at, id",
        (owner,),
    ).fetchall()
    changed = {row["id"] for row in dirty}
    parts: dict[int, dict[str, tuple[int, bytes]]] = {}

    def load(part: int) -> dict[str, tuple[int, bytes]]:
        if part not in parts:
            rows = db.execute(
                "SELECT id FROM conversations WHERE owner = ? AND part = ? ORDER BY created_at, id", (owner, part)
            ).fetchall()
            parts[part] = {row["id"]: _line(db, row["id"]) for row in rows}
        return parts[part]

    def writable(part: int) -> bool:
        return formats.user_path(owner, part) not in left

    def size_of(part: int) -> int:
        return sum(len(line) for _, line in parts[part].values())

    for part in sorted({*stale, *(row["part"] for row in dirty if row["part"] is not None)}):
        if writable(part):
            load(part)
    homeless = {row["id"]: _line(db, row["id"]) for row in dirty if row["part"] is None}
    for part in list(parts):
        # Only what is written anew anyway moves on: an unchanged part stays the same file.
        for id in sorted(changed & parts[part].keys(), key=lambda id: -len(parts[part][id][1])):
            if size_of(part) > formats.PART_BYTES and len(parts[part]) > 1:
                homeless[id] = parts[part].pop(id)
    tail = db.execute("SELECT coalesce(max(part), 0) FROM conversations WHERE owner = ?", (owner,)).fetchone()[0]
    for id, line in homeless.items():
        while not writable(tail) or (load(tail) and size_of(tail) + len(line[1]) > formats.PART_BYTES):
            tail += 1
        parts[tail][id] = line

    written = 0
    for part, lines in parts.items():
        path = formats.user_path(owner, part)
        known = _known(db, path)
        content = b"".join(line for _, line in lines.values())
        if lines:
            _add(batch, path, content, known)
        elif known is not None:
            batch.delete.append(path)
        batch.conversations += [(revision, part, id, owner) for id, (revision, _) in lines.items()]
        batch.stale_parts += [(owner, part, stale[part])] if part in stale else []
        written += len(content) + 1
    return written


def _line(db: sqlite3.Connection, id: str) -> tuple[int, bytes]:
    found = conversation(db, id)
    return found.revision, formats.encode([found])


def conversation(db: sqlite3.Connection, id: str) -> SavedConversation | None:
    """A conversation as the dataset keeps it, with all its messages."""
    row = db.execute("SELECT * FROM conversations WHERE id = ?", (id,)).fetchone()
    if row is None:
        return None
    rows = db.execute("SELECT * FROM messages WHERE conversation = ? ORDER BY created_at, depth, id", (id,))
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


def _owner(db: sqlite3.Connection, owner: str) -> SavedOwner | None:
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


def record(db: sqlite3.Connection, batch: Batch, head: str, purge_at: float) -> None:
    """Note that `batch` is in the dataset, whose head is now `head`. What changed since it was read stays to be written."""
    for revision, part, id, owner in batch.conversations:
        found = db.execute(
            "UPDATE conversations SET saved_revision = max(saved_revision, ?), part = ? WHERE id = ? AND owner = ?",
            (revision, part, id, owner),
        )
        if not found.rowcount:
            _mark_part(db, owner, part)
    db.executemany("DELETE FROM stale_parts WHERE owner = ? AND part = ? AND marks = ?", batch.stale_parts)
    db.executemany("DELETE FROM stale_accounts WHERE owner = ? AND marks = ?", batch.stale_accounts)
    db.executemany("DELETE FROM stale_extras WHERE prefix = ? AND marks = ?", batch.stale_extras)
    db.executemany("UPDATE tombstones SET saved = 1 WHERE conversation = ?", [(id,) for id in batch.tombstones])
    for path, content in batch.add.items():
        db.execute("INSERT OR REPLACE INTO saved_files VALUES (?, ?)", (path, blob_id(content)))
    db.executemany("DELETE FROM saved_files WHERE path = ?", [(path,) for path in batch.delete])
    set_state(db, "head", head)
    if batch.tombstones and state(db, "purge_at") is None:
        set_state(db, "purge_at", repr(purge_at))


def _mark_part(db: sqlite3.Connection, owner: str, part: int) -> None:
    db.execute(
        "INSERT INTO stale_parts (owner, part) VALUES (?, ?) ON CONFLICT DO UPDATE SET marks = marks + 1", (owner, part)
    )


# -- coming in ----------------------------------------------------------------------------------------------------------


def read_file(db: sqlite3.Connection, path: str, content: str) -> None:
    db.execute("INSERT OR REPLACE INTO saved_files VALUES (?, ?)", (path, content))


def file_gone(db: sqlite3.Connection, path: str) -> None:
    """Somebody else deleted a file that this app knew: what it held and was not deleted is to be written again."""
    db.execute("DELETE FROM saved_files WHERE path = ?", (path,))
    if found := formats.owner_and_part(path):
        db.execute("UPDATE conversations SET saved_revision = 0 WHERE owner = ? AND part = ?", found)
    elif prefix := formats.prefix_of_accounts(path):
        _mark_accounts(db, prefix, except_for=())
    elif prefix := formats.prefix_of_tombstones(path):
        db.execute("UPDATE tombstones SET saved = 0 WHERE conversation BETWEEN ? AND ? || 'g'", (prefix, prefix))


def merge_tombstones(db: sqlite3.Connection, prefix: str, found: Iterable[SavedTombstone]) -> None:
    db.execute("UPDATE tombstones SET saved = 0 WHERE conversation BETWEEN ? AND ? || 'g'", (prefix, prefix))
    for line in found:
        db.execute(
            "INSERT INTO tombstones (conversation, owner, deleted_at, saved) VALUES (?, ?, ?, 1)"
            " ON CONFLICT DO UPDATE SET saved = 1",
            (line.conversation, line.owner, line.deleted_at),
        )
        db.execute("DELETE FROM conversations WHERE id = ?", (line.conversation,))


def _mark_accounts(db: sqlite3.Connection, prefix: str, except_for: Collection[str]) -> None:
    for row in db.execute("SELECT id FROM owners WHERE id BETWEEN ? AND ? || 'g'", (prefix, prefix)).fetchall():
        if row["id"] not in except_for:
            db.execute(
                "INSERT INTO stale_accounts (owner) VALUES (?) ON CONFLICT DO UPDATE SET marks = marks + 1",
                (row["id"],),
            )


def merge_owners(db: sqlite3.Connection, prefix: str, found: Iterable[SavedOwner]) -> None:
    """Bring in the owners whose ids begin with `prefix`; those that the file lacks are to be written."""
    there = set()
    for saved in found:
        merge_owner(db, saved)
        there.add(saved.owner)
    _mark_accounts(db, prefix, except_for=there)


def merge_owner(db: sqlite3.Connection, saved: SavedOwner) -> None:
    """Bring back an owner. Of two owners with one account, which a sign-in on an empty disk makes, the older one stays."""
    db.execute(
        "INSERT INTO owners (id, kind, created_at, last_seen_at) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET kind = excluded.kind, created_at = min(created_at, excluded.created_at),"
        " last_seen_at = max(last_seen_at, excluded.last_seen_at)",
        (saved.owner, saved.kind, saved.created_at, saved.last_seen_at),
    )
    stays = saved.owner
    if saved.account is not None:
        stays = _merge_account(db, saved)
    for session in saved.ended:
        ended = (bytes.fromhex(session.token_hash), stays, session.expires_at)
        db.execute("INSERT INTO ended_sessions VALUES (?, ?, ?) ON CONFLICT DO NOTHING", ended)
        db.execute("DELETE FROM sessions WHERE token_hash = ?", ended[:1])
    for session in saved.sessions:
        db.execute(
            "INSERT INTO sessions (token_hash, owner, carrier, created_at, last_seen_at, expires_at)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                bytes.fromhex(session.token_hash),
                stays,
                session.carrier,
                session.created_at,
                session.created_at,
                session.expires_at,
            ),
        )
    for key in saved.keys:
        db.execute(
            "INSERT INTO api_keys (key_hash, id, owner, name, created_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (key_hash) DO UPDATE SET revoked_at = coalesce(revoked_at, excluded.revoked_at)",
            (bytes.fromhex(key.key_hash), key.id, stays, key.name, key.created_at, key.revoked_at),
        )
    for default in saved.defaults:
        params = json.dumps(default.params) if default.params is not None else None
        db.execute(
            "INSERT INTO own_defaults (owner, model, params, system_prompt, set_at) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET params = excluded.params, system_prompt = excluded.system_prompt,"
            " set_at = excluded.set_at WHERE excluded.set_at > set_at",
            (stays, default.model, params, default.system_prompt, default.set_at),
        )
    if chosen := saved.retention:
        retention.choose(db, stays, chosen.days, chosen.changed_at)
    # What the file lacks, or holds of somebody who is now another, is written anew; else it is as it should be.
    if _owner(db, saved.owner) == saved:
        db.execute("DELETE FROM stale_accounts WHERE owner = ?", (saved.owner,))


def _merge_account(db: sqlite3.Connection, saved: SavedOwner) -> str:
    account, orgs = saved.account, json.dumps(saved.account.orgs)
    row = db.execute(
        "SELECT id, created_at, a.updated_at FROM accounts AS a JOIN owners ON id = owner WHERE hub_id = ?",
        (account.hub_id,),
    ).fetchone()
    if row is None or row["id"] == saved.owner:
        db.execute(
            "INSERT INTO accounts (owner, hub_id, name, orgs, updated_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (owner)"
            " DO UPDATE SET name = excluded.name, orgs = excluded.orgs, updated_at = excluded.updated_at"
            " WHERE excluded.updated_at > updated_at",
            (saved.owner, account.hub_id, account.name, orgs, account.updated_at),
        )
        return saved.owner
    first = min((saved.created_at, saved.owner), (row["created_at"], row["id"]))[1]
    goes = row["id"] if first == saved.owner else saved.owner
    for table in ("sessions", "ended_sessions", "api_keys"):
        db.execute(f"UPDATE {table} SET owner = ? WHERE owner = ?", (first, goes))
    move_defaults(db, goes, first)
    retention.move(db, goes, first)
    db.execute("UPDATE conversations SET owner = ?, revision = revision + 1 WHERE owner = ?", (first, goes))
    if goes == row["id"]:
        db.execute("UPDATE accounts SET owner = ? WHERE owner = ?", (first, goes))
    db.execute("DELETE FROM owners WHERE id = ?", (goes,))
    # Whoever became the one that goes has now become the one that stays: the note always names an owner that is there.
    db.execute("UPDATE backup_state SET value = ? WHERE name LIKE 'became:%' AND value = ?", (first, goes))
    set_state(db, f"became:{goes}", first)
    return first


def merge_users(db: sqlite3.Connection, path: str, found: Iterable[SavedConversation], now: float) -> None:
    """Bring in one part of an owner's conversations. Twice is as good as once, and in any order."""
    owner, part = formats.owner_and_part(path)
    here = set()
    for remote in found:
        if remote.owner != owner:
            raise ValueError("a conversation stands in another owner's file")
        here.add(remote.id)
        if db.execute("SELECT 1 FROM tombstones WHERE conversation = ?", (remote.id,)).fetchone():
            _mark_part(db, owner, part)
            continue
        local = conversation(db, remote.id)
        if became := state(db, f"became:{remote.owner}"):
            remote = remote.model_copy(update={"owner": became})
        merged = _together(local, remote)
        db.execute(
            "INSERT INTO owners (id, kind, created_at, last_seen_at) VALUES (?, 'anonymous', ?, ?) ON CONFLICT DO NOTHING",
            (merged.owner, now, now),
        )
        if merged != local:
            _write(db, local, merged)
        told = db.execute(
            "UPDATE conversations SET saved_revision = ?, part = ? WHERE id = ? AND owner = ? AND coalesce(part, ?) = ?",
            (remote.revision, part, remote.id, owner, part, part),
        )
        if not told.rowcount:
            # It lives in another file by now; this one is written without it.
            _mark_part(db, owner, part)
    for row in db.execute("SELECT id FROM conversations WHERE owner = ? AND part = ?", (owner, part)).fetchall():
        if row["id"] not in here:
            db.execute("UPDATE conversations SET saved_revision = 0, part = NULL WHERE id = ?", (row["id"],))


def _together(local: SavedConversation | None, remote: SavedConversation) -> SavedConversation:
    """The two as one. An answer that was running when it was saved is running here, or was cut off."""
    mine = {message.id: message for message in local.messages} if local else {}
    cut_off = {"state": "interrupted", "error": CUT_OFF}
    messages = tuple(
        message
        if message.state != "running"
        else mine.get(message.id) or message.model_copy(update={**cut_off, "settled_at": message.created_at})
        for message in remote.messages
    )
    changed = messages != remote.messages and any(message.id not in mine for message in messages)
    remote = remote.model_copy(update={"messages": messages, "revision": remote.revision + changed})
    return formats.merge(local, remote) if local else remote


def _write(db: sqlite3.Connection, local: SavedConversation | None, merged: SavedConversation) -> None:
    """Make the rows of a conversation those of `merged`."""
    depth = formats.depths(merged.messages)
    values = {**merged.model_dump(exclude={"format", "messages"}), "params": json.dumps(merged.params)}
    if local is None:
        names = ", ".join(values)
        db.execute(f"INSERT INTO conversations ({names}) VALUES ({', '.join(f':{name}' for name in values)})", values)
    else:
        pairs = ", ".join(f"{name} = :{name}" for name in values)
        db.execute(f"UPDATE conversations SET {pairs} WHERE id = :id", values)
    known = {message.id: message for message in local.messages} if local else {}
    branch, at = set(), merged.leaf
    parents = {message.id: message.parent for message in merged.messages}
    while at is not None:
        branch.add(at)
        at = parents[at]
    for message in merged.messages:
        if message != known.get(message.id):
            row = {
                **message.model_dump(exclude={"feedback"}),
                "params": json.dumps(message.params) if message.params is not None else None,
                "conversation": merged.id,
                "kept": message.id in branch,
                "depth": depth[message.id],
            }
            names, pairs = ", ".join(row), ", ".join(f"{name} = excluded.{name}" for name in row if name != "id")
            db.execute(
                f"INSERT INTO messages ({names}) VALUES ({', '.join(f':{name}' for name in row)})"
                f" ON CONFLICT (id) DO UPDATE SET {pairs} WHERE conversation = excluded.conversation",
                row,
            )
            _write_feedback(db, message)
    db.executemany(
        "UPDATE messages SET kept = ? WHERE id = ? AND conversation = ?",
        [(message.id in branch, message.id, merged.id) for message in merged.messages if message.id in known],
    )
    kept = db.execute("SELECT count(*) FROM messages WHERE conversation = ?", (merged.id,)).fetchone()[0]
    if kept != len(merged.messages):
        # Found here, and not by the commit, which many writers share.
        raise sqlite3.IntegrityError("a message of this conversation has the id of another's")


def _write_feedback(db: sqlite3.Connection, message: SavedMessage) -> None:
    db.execute("DELETE FROM feedback WHERE answer = ?", (message.id,))
    if given := message.feedback:
        db.execute(
            "INSERT INTO feedback (answer, rating, reasons, comment, given_at) VALUES (?, ?, ?, ?, ?)",
            (message.id, given.rating, json.dumps(given.reasons), given.comment, given.given_at),
        )
