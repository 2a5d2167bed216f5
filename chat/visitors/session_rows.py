"""What owners, sessions, keys and accounts are in the database: their rows, as values, each function in its caller's
transaction."""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from dataclasses import asdict, dataclass
from typing import Literal

from chat import defaults
from chat.visitors.visitor import Account, HubUser, Organisation

DAY = 86400.0
LIFETIME = 30 * DAY  # of a session, and of an anonymous owner, since the last visit

Carrier = Literal["cookie", "header"]


@dataclass(frozen=True, slots=True)
class Known:
    """What a session's value or a key stands for. `seen`: unix seconds of the last visit that was written down."""

    owner: str
    account: Account | None
    carrier: Carrier | None
    seen: float
    expires: float
    kept: bool


def new_owner() -> str:
    """An id for an owner. Opens nothing, so it may stand in tables and in the engine's cache salt."""
    return secrets.token_hex(16)


def digest(secret: str) -> bytes:
    """SHA-256. Enough for values of 256 random bits, which no dictionary holds."""
    return hashlib.sha256(secret.encode()).digest()


def account(row: sqlite3.Row) -> Account | None:
    if row["hub_id"] is None:
        return None
    orgs = tuple(Organisation(**org) for org in json.loads(row["orgs"]))
    return Account(row["owner"], row["hub_id"], row["name"], orgs)


def session(db: sqlite3.Connection, key: bytes) -> Known | None:
    row = db.execute(
        "SELECT s.owner, s.carrier, s.last_seen_at, s.expires_at, a.hub_id, a.name, a.orgs"
        " FROM sessions AS s LEFT JOIN accounts AS a ON a.owner = s.owner WHERE s.token_hash = ?",
        (key,),
    ).fetchone()
    if row is None:
        return None
    return Known(row["owner"], account(row), row["carrier"], row["last_seen_at"], row["expires_at"], kept=True)


def key(db: sqlite3.Connection, key: bytes) -> Known | None:
    row = db.execute(
        "SELECT k.owner, k.last_used_at, a.hub_id, a.name, a.orgs"
        " FROM api_keys AS k JOIN accounts AS a ON a.owner = k.owner WHERE k.key_hash = ? AND k.revoked_at IS NULL",
        (key,),
    ).fetchone()
    return row and Known(row["owner"], account(row), None, row["last_used_at"] or 0.0, float("inf"), kept=True)


def insert_owner(db: sqlite3.Connection, owner: str, kind: str, now: float) -> None:
    db.execute(
        "INSERT INTO owners (id, kind, created_at, last_seen_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (owner, kind, now, now),
    )


def insert_session(db: sqlite3.Connection, key: bytes, owner: str, carrier: Carrier | None, now: float) -> None:
    db.execute(
        "INSERT INTO sessions (token_hash, owner, carrier, created_at, last_seen_at, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (key, owner, carrier, now, now, now + LIFETIME),
    )


def upsert_account(db: sqlite3.Connection, user: HubUser, now: float) -> Account:
    row = db.execute("SELECT owner FROM accounts WHERE hub_id = ?", (user.hub_id,)).fetchone()
    owner = row["owner"] if row else new_owner()
    insert_owner(db, owner, "account", now)
    db.execute(
        "INSERT INTO accounts (owner, hub_id, name, orgs, updated_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (owner)"
        " DO UPDATE SET name = excluded.name, orgs = excluded.orgs, updated_at = excluded.updated_at",
        (owner, user.hub_id, user.name, json.dumps([asdict(org) for org in user.orgs]), now),
    )
    return Account(owner, user.hub_id, user.name, user.orgs)


def seen(db: sqlite3.Connection, key: bytes, owner: str, now: float) -> None:
    db.execute("UPDATE owners SET last_seen_at = max(last_seen_at, ?) WHERE id = ?", (now, owner))
    db.execute(
        "UPDATE sessions SET last_seen_at = max(last_seen_at, ?), expires_at = max(expires_at, ?) WHERE token_hash = ?",
        (now, now + LIFETIME, key),
    )


def conversations(db: sqlite3.Connection, owner: str) -> int:
    return db.execute("SELECT count(*) FROM conversations WHERE owner = ?", (owner,)).fetchone()[0]


def move(db: sqlite3.Connection, old: str, new: str) -> int:
    db.execute(
        "UPDATE messages SET surface = 'import' WHERE role = 'user'"
        " AND conversation IN (SELECT id FROM conversations WHERE owner = ?)",
        (old,),
    )
    defaults.move(db, old, new)
    sql = "UPDATE conversations SET owner = ?, revision = revision + 1 WHERE owner = ?"
    return db.execute(sql, (new, old)).rowcount
