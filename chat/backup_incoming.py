"""From the files of the private dataset to the database. Each merge may run twice, and in any order."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from itertools import chain

from chat import formats, retention
from chat.backup_rows import conversation, mark_accounts, mark_part, owner_line, set_state, state
from chat.defaults import move as move_defaults
from chat.formats import SavedConversation, SavedMessage, SavedOwner, SavedTombstone

CUT_OFF = "The app was moved while this answer was written. What had been saved is kept; try again for a whole one."


def read_file(db: sqlite3.Connection, path: str, content: str) -> None:
    db.execute("INSERT OR REPLACE INTO saved_files VALUES (?, ?)", (path, content))


def file_gone(db: sqlite3.Connection, path: str) -> None:
    """Somebody else deleted a file that this app knew: what it held and was not deleted is to be written again."""
    db.execute("DELETE FROM saved_files WHERE path = ?", (path,))
    if found := formats.owner_and_part(path):
        db.execute("UPDATE conversations SET saved_revision = 0 WHERE owner = ? AND part = ?", found)
    elif prefix := formats.prefix_of_accounts(path):
        mark_accounts(db, prefix, except_for=())
    elif prefix := formats.prefix_of_tombstones(path):
        db.execute("UPDATE tombstones SET saved = 0 WHERE conversation BETWEEN ? AND ? || 'g'", (prefix, prefix))


def merge_tombstones(db: sqlite3.Connection, prefix: str, found: Iterable[SavedTombstone]) -> None:
    """Bring in the deletions whose ids begin with `prefix`: the last time they were made, and purged."""
    db.execute("UPDATE tombstones SET saved = 0, told = 0 WHERE conversation BETWEEN ? AND ? || 'g'", (prefix, prefix))
    for line in found:
        db.execute(
            "INSERT INTO tombstones (conversation, owner, deleted_at, purged_at, saved, told) VALUES (?, ?, ?, ?, 1, 1)"
            " ON CONFLICT DO UPDATE SET deleted_at = max(deleted_at, excluded.deleted_at),"
            " purged_at = max(coalesce(purged_at, excluded.purged_at), coalesce(excluded.purged_at, purged_at)),"
            " saved = (deleted_at <= excluded.deleted_at),"
            " told = (coalesce(purged_at, 0) <= coalesce(excluded.purged_at, 0))",
            (line.conversation, line.owner, line.deleted_at, line.purged_at),
        )
        db.execute("DELETE FROM conversations WHERE id = ?", (line.conversation,))


def merge_owners(db: sqlite3.Connection, prefix: str, found: Iterable[SavedOwner]) -> None:
    """Bring in the owners whose ids begin with `prefix`; those that the file lacks are to be written."""
    there = set()
    for saved in found:
        merge_owner(db, saved)
        there.add(saved.owner)
    mark_accounts(db, prefix, except_for=there)


def merge_owner(db: sqlite3.Connection, saved: SavedOwner) -> None:
    """Bring back an owner. Of two owners with one account, which a sign-in on an empty disk makes, the older one stays. Of one
    who closed their account nothing but the id comes back."""
    there = saved
    if _is_gone(db, saved.owner):
        saved = saved.model_copy(
            update={"account": None, "sessions": (), "keys": (), "defaults": (), "retention": None}
        )
        if there.account is not None:
            _delete_again(db, there.owner, 0.0)
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
            " VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (token_hash) DO UPDATE SET expires_at = max(expires_at, excluded.expires_at)",
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
            " ON CONFLICT (key_hash) DO UPDATE SET revoked_at ="
            " min(coalesce(revoked_at, excluded.revoked_at), coalesce(excluded.revoked_at, revoked_at))",
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
    if owner_line(db, saved.owner) == there:
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
    is_closed = _is_gone(db, owner)
    here = set()
    for remote in found:
        if remote.owner != owner:
            raise ValueError("a conversation stands in another owner's file")
        here.add(remote.id)
        if is_closed:
            _bury(db, remote, now)
        if _is_gone(db, remote.id):
            _delete_again(db, remote.id, now)
            mark_part(db, owner, part)
            continue
        merge_conversation(db, conversation(db, remote.id), remote, now)
        told = db.execute(
            "UPDATE conversations SET saved_revision = ?, part = ? WHERE id = ? AND owner = ? AND coalesce(part, ?) = ?",
            (remote.revision, part, remote.id, owner, part, part),
        )
        if not told.rowcount:
            # It lives in another file by now; this one is written without it.
            mark_part(db, owner, part)
    for row in db.execute("SELECT id FROM conversations WHERE owner = ? AND part = ?", (owner, part)).fetchall():
        if row["id"] not in here:
            db.execute("UPDATE conversations SET saved_revision = 0, part = NULL WHERE id = ?", (row["id"],))


def _is_gone(db: sqlite3.Connection, id: str) -> bool:
    """Whether this conversation was deleted, or this owner's account closed."""
    return db.execute("SELECT 1 FROM tombstones WHERE conversation = ?", (id,)).fetchone() is not None


def _bury(db: sqlite3.Connection, saved: SavedConversation, now: float) -> None:
    """Another machine wrote it for somebody who closed their account: nobody is left who could delete it."""
    sql = "INSERT INTO tombstones (conversation, owner, deleted_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
    db.execute(sql, (saved.id, saved.owner, now))


def _delete_again(db: sqlite3.Connection, conversation: str, now: float) -> None:
    """A deleted conversation, or account, stands in a commit again: what was purged before is to be purged once more."""
    db.execute(
        "UPDATE tombstones SET deleted_at = max(?, purged_at + 1), saved = 0 WHERE conversation = ? AND purged_at >= deleted_at",
        (now, conversation),
    )


def merge_change(db: sqlite3.Connection, change: SavedConversation, now: float) -> int | None:
    """Bring in what changed of a conversation, whose other messages are here already, and return its revision then.

    None: it is deleted. Raises `ValueError` where a message is missing on which another one stands.
    """
    if _is_gone(db, change.owner):
        _bury(db, change, now)
    if _is_gone(db, change.id):
        return None
    local = conversation(db, change.id)
    mine = local.messages if local else ()
    newest_first = (mine, change.messages) if local and local.revision > change.revision else (change.messages, mine)
    whole = formats.in_order(formats.furthest(chain(*newest_first)).values())
    if change.leaf is not None and change.leaf not in {message.id for message in whole}:
        raise ValueError("the leaf is no message")
    remote = SavedConversation.model_construct(**{**dict(change), "messages": whole})
    return merge_conversation(db, local, remote, now).revision


def merge_conversation(
    db: sqlite3.Connection, local: SavedConversation | None, remote: SavedConversation, now: float
) -> SavedConversation:
    """Make what is here and another copy one, and return it. The caller has seen that it was not deleted."""
    if became := state(db, f"became:{remote.owner}"):
        remote = remote.model_copy(update={"owner": became})
    merged = _together(local, remote)
    db.execute(
        "INSERT INTO owners (id, kind, created_at, last_seen_at) VALUES (?, 'anonymous', ?, ?) ON CONFLICT DO NOTHING",
        (merged.owner, now, now),
    )
    if merged != local:
        _write(db, local, merged)
    return merged


def _together(local: SavedConversation | None, remote: SavedConversation) -> SavedConversation:
    """The two as one. An answer that was running when it was saved is running here, or was cut off. One that is running
    here is being written here, whatever a replica that cannot know it took it for."""
    mine = {message.id: message for message in local.messages} if local else {}
    cut_off = {"state": "interrupted", "error": CUT_OFF}

    def as_it_is(message: SavedMessage) -> SavedMessage:
        known = mine.get(message.id)
        if known and (message.state == "running" or (message.state == "interrupted" and known.state == "running")):
            return known
        if message.state == "running":
            return message.model_copy(update={**cut_off, "settled_at": message.created_at})
        return message

    messages = tuple(as_it_is(message) for message in remote.messages)
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
