"""Owners, the sessions of their browsers, their API keys and their Hugging Face accounts.

A browser nobody signed in to is an *anonymous owner*. It holds a random 256-bit value, the server its SHA-256. That
value is handed out on the page's first `GET /api/me` and stays in memory until something has to be kept: a crawler
never causes a write, and a value that this server did not make is never accepted (no fixation).
"""

from __future__ import annotations

import asyncio
import re
import secrets
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace

from cachetools import TTLCache

from chat.db import Database
from chat.visitors import session_rows as rows
from chat.visitors.session_rows import DAY, LIFETIME, Carrier, Known, digest
from chat.visitors.visitor import (
    Account,
    ApiKey,
    CannotCheck,
    Forbidden,
    HubUser,
    NotThere,
    WrongKey,
    hub_user,
)

SEEN_EVERY = 3600.0  # seconds between two writes of `last_seen_at`
REMEMBERED = 30.0  # seconds for which a look-up is believed without asking the database
TOKEN_CHECKED_EVERY, REFUSAL_REMEMBERED = 600.0, 60.0  # seconds, of a Hub token
HUB_PATIENCE = 10.0  # seconds
KEYS_PER_OWNER = 20
KEY_PREFIX, HUB_PREFIX = "parley_", "hf_"

TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
SECRET = re.compile(r"[\x21-\x7e]{1,2048}")


class Sessions:
    """Owners, sessions, keys and offers in the database, with a short memory in front of it.

    `whoami(token)` asks the Hub whose token it is: None if it is nobody's, `CannotCheck` if the Hub does not say.
    """

    def __init__(
        self,
        db: Database,
        clock: Callable[[], float],
        whoami: Callable[[str], Awaitable[HubUser | None]],
    ) -> None:
        self.db = db
        self.clock = clock
        self._whoami = whoami
        self._known: TTLCache[bytes, Known] = TTLCache(20_000, REMEMBERED, timer=clock)
        # Handed out, nothing kept yet. A restart forgets them; their browsers then get a new value and lose nothing.
        self._handed_out: TTLCache[bytes, Known] = TTLCache(20_000, DAY, timer=clock)
        self._users: TTLCache[bytes, Account] = TTLCache(5_000, TOKEN_CHECKED_EVERY, timer=clock)
        self._nobodies: TTLCache[bytes, bool] = TTLCache(5_000, REFUSAL_REMEMBERED, timer=clock)
        self._generation = 0  # counts what makes a remembered look-up untrue

    # Sessions

    def hand_out(self, owner: str, carrier: Carrier) -> tuple[str, Known]:
        """A new value for the browser of a new anonymous `owner`. Writes nothing."""
        token, now = secrets.token_urlsafe(32), self.clock()
        known = Known(owner, None, carrier, now, now + LIFETIME, kept=False)
        self._handed_out[digest(token)] = known
        return token, known

    async def session(self, token: str, carrier: Carrier) -> tuple[Known, bool] | None:
        """What `token` stands for, and whether its life was prolonged just now; None for a value that is not ours.

        A value that came in a header is not accepted as a cookie, nor the reverse: the page's scripts never see what
        opens the cookie's session.
        """
        if not TOKEN.fullmatch(token):
            return None
        key, now = digest(token), self.clock()
        known = self._handed_out.get(key) or await self._look_up(key, lambda db: rows.session(db, key))
        if known is None or known.carrier != carrier or known.expires <= now:
            return None
        if not known.kept or now - known.seen < SEEN_EVERY:
            return known, False
        # The memory goes first: of many requests at once, one writes.
        self._known[key] = known = replace(known, seen=now, expires=now + LIFETIME)
        await self.db.write(lambda db: rows.seen(db, key, known.owner, now))
        return known, True

    async def keep(self, token: str, known: Known) -> None:
        """Write down the session that was handed out as `token`, so that its owner may own something. Repeatable."""
        key, now = digest(token), self.clock()

        def write(db: sqlite3.Connection) -> None:
            rows.insert_owner(db, known.owner, "anonymous", now)
            rows.insert_session(db, key, known.owner, known.carrier, now)

        await self.db.write(write)
        self._handed_out.pop(key, None)

    async def sign_in(self, user: HubUser, previous: str | None) -> str:
        """Start `user`'s session and return its value. The browser's `previous` session ends, whosever it was.

        What the browser's anonymous owner has is offered to the account, and stays where it is.
        """
        token, now = secrets.token_urlsafe(32), self.clock()

        def write(db: sqlite3.Connection) -> None:
            account = rows.upsert_account(db, user, now)
            old = rows.session(db, digest(previous)) if previous else None
            if old is not None:
                db.execute("DELETE FROM sessions WHERE token_hash = ?", (digest(previous),))
                if old.account is None and rows.conversations(db, old.owner):
                    db.execute(
                        "INSERT INTO offers (account, anonymous, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                        (account.owner, old.owner, now),
                    )
            rows.insert_session(db, digest(token), account.owner, "cookie", now)

        await self.db.write(write)
        if previous:
            self._handed_out.pop(digest(previous), None)
        self._forget()
        return token

    async def sign_out(self, token: str) -> None:
        """End the session of this value. The next request that carries it is a stranger's."""
        key = digest(token)
        self._handed_out.pop(key, None)
        await self.db.write(lambda db: db.execute("DELETE FROM sessions WHERE token_hash = ?", (key,)))
        self._forget()

    async def expire(self, now: float) -> list[str]:
        """End the sessions that are over; return the anonymous owners who were last here 30 days ago or earlier.

        They are returned until `forget` was called for each, so a crash in between loses nothing.
        """

        def write(db: sqlite3.Connection) -> list[str]:
            gone = [
                row["id"]
                for row in db.execute(
                    "SELECT id FROM owners WHERE kind = 'anonymous' AND last_seen_at <= ? LIMIT 500", (now - LIFETIME,)
                )
            ]
            db.execute("DELETE FROM sessions WHERE expires_at <= ?", (now,))
            # What has expired opens nothing, wherever a copy of it comes from.
            db.execute("DELETE FROM ended_sessions WHERE expires_at <= ?", (now,))
            db.executemany("DELETE FROM sessions WHERE owner = ?", [(owner,) for owner in gone])
            return gone

        gone = await self.db.write(write)
        self._forget()
        return gone

    async def forget(self, owner: str) -> None:
        """Remove an anonymous owner, once its conversations are deleted; one that has some again stays."""
        sql = (
            "DELETE FROM owners WHERE id = ? AND kind = 'anonymous'"
            " AND NOT EXISTS (SELECT 1 FROM conversations WHERE owner = owners.id)"
        )
        await self.db.write(lambda db: db.execute(sql, (owner,)))
        self._forget()

    async def close(self, owner: str) -> None:
        """End the account `owner` here: its sessions, its keys, its name. Whoever signs in again is somebody new.

        The owner stays, without anything, until nothing refers to it any more.
        """

        # Its tombstone ends all of that, here and on every other machine, and has it purged.
        sql = "INSERT INTO tombstones (conversation, owner, deleted_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        now = self.clock()
        await self.db.write(lambda db: db.execute(sql, (owner, owner, now)))
        self._users.clear()
        self._forget()

    # Offers: from an anonymous owner to the account that signed in at the same browser

    async def offered(self, owner: str) -> int:
        """How many conversations wait for the account `owner` to take or leave them."""
        sql = (
            "SELECT count(*) FROM offers AS o JOIN conversations AS c ON c.owner = o.anonymous"
            " WHERE o.account = ? AND o.declined_at IS NULL"
        )
        return await self.db.read(lambda db: db.execute(sql, (owner,)).fetchone()[0])

    async def claim(self, owner: str) -> int:
        """Move what was offered to the account `owner`; return how many conversations moved.

        Their prompts count as imported from then on, so that no account-wide consent covers them. The anonymous owner
        and its sessions end in the same transaction.
        """

        def write(db: sqlite3.Connection) -> int:
            moved = 0
            waiting = "SELECT anonymous FROM offers WHERE account = ? AND declined_at IS NULL"
            for (anonymous,) in db.execute(waiting, (owner,)).fetchall():
                moved += rows.move(db, anonymous, owner)
                db.execute("DELETE FROM owners WHERE id = ? AND kind = 'anonymous'", (anonymous,))
            return moved

        moved = await self.db.write(write)
        self._forget()
        return moved

    async def decline(self, owner: str) -> None:
        """Ask no more. What was offered stays with its anonymous owner and goes when that expires."""
        now = self.clock()
        sql = "UPDATE offers SET declined_at = ? WHERE account = ? AND declined_at IS NULL"
        await self.db.write(lambda db: db.execute(sql, (now, owner)))

    # Keys

    async def bearer(self, secret: str) -> Known:
        """The account behind an API key of ours or a Hub token. Raises `WrongKey`, `CannotCheck`."""
        if not SECRET.fullmatch(secret) or not secret.startswith((KEY_PREFIX, HUB_PREFIX)):
            raise WrongKey("The key is neither one of Parley (parley_...) nor a Hugging Face token (hf_...).")
        if secret.startswith(HUB_PREFIX):
            return await self._hub_token(secret)
        key, now = digest(secret), self.clock()
        known = await self._look_up(key, lambda db: rows.key(db, key))
        if known is None:
            raise WrongKey("This API key is unknown or was revoked: make a new one on the page, under your name.")
        if now - known.seen >= SEEN_EVERY:
            self._known[key] = replace(known, seen=now)
            sql = "UPDATE api_keys SET last_used_at = ? WHERE key_hash = ?"
            await self.db.write(lambda db: db.execute(sql, (now, key)))
        return known

    async def create_key(self, owner: str, name: str) -> tuple[str, ApiKey]:
        """A new API key of the account `owner`: its secret, which is shown once and not kept, and its description."""
        secret, now = KEY_PREFIX + secrets.token_urlsafe(32), self.clock()
        key = ApiKey(secrets.token_hex(8), name, now, None)

        def write(db: sqlite3.Connection) -> None:
            count = "SELECT count(*) FROM api_keys WHERE owner = ? AND revoked_at IS NULL"
            if db.execute(count, (owner,)).fetchone()[0] >= KEYS_PER_OWNER:
                raise Forbidden(f"You have {KEYS_PER_OWNER} API keys, which is the most: revoke one first.")
            db.execute(
                "INSERT INTO api_keys (key_hash, id, owner, name, created_at) VALUES (?, ?, ?, ?, ?)",
                (digest(secret), key.id, owner, name, now),
            )

        await self.db.write(write)
        return secret, key

    async def keys(self, owner: str) -> list[ApiKey]:
        """The keys of `owner` that work, newest first."""
        sql = (
            "SELECT id, name, created_at, last_used_at FROM api_keys"
            " WHERE owner = ? AND revoked_at IS NULL ORDER BY created_at DESC, id"
        )
        return await self.db.read(lambda db: [ApiKey(*row) for row in db.execute(sql, (owner,))])

    async def revoke_key(self, owner: str, id: str) -> None:
        """The key opens nothing from the next request on. Raises `NotThere`."""
        sql = "UPDATE api_keys SET revoked_at = ? WHERE owner = ? AND id = ? AND revoked_at IS NULL"
        now = self.clock()
        if not await self.db.write(lambda db: db.execute(sql, (now, owner, id)).rowcount):
            raise NotThere("There is no such API key: it may be revoked already.")
        self._forget()

    async def _hub_token(self, token: str) -> Known:
        key, now = digest(token), self.clock()
        account = self._users.get(key)
        if account is None:
            # A token that signing in to some other app made says nothing about who sends it here.
            user = None if key in self._nobodies or token.startswith("hf_oauth_") else await self._whoami(token)
            if user is None:
                self._nobodies[key] = True
                raise WrongKey("Hugging Face knows no user by this token: make one at huggingface.co/settings/tokens.")
            account = self._users[key] = await self.db.write(lambda db: rows.upsert_account(db, user, now))
        return Known(account.owner, account, None, now, now + TOKEN_CHECKED_EVERY, kept=True)

    async def _look_up(self, key: bytes, read: Callable[[sqlite3.Connection], Known | None]) -> Known | None:
        known = self._known.get(key)
        if known is None:
            generation = self._generation
            known = await self.db.read(read)
            # A sign-out or revocation may have been committed between the read and now: then this is not remembered.
            if known is not None and generation == self._generation:
                self._known[key] = known
        return known

    def _forget(self) -> None:
        self._generation += 1
        self._known.clear()


def hub_whoami(endpoint: str) -> Callable[[str], Awaitable[HubUser | None]]:
    """`whoami` of the Hub at `endpoint`. At most four questions at once, ten seconds each."""
    at_once = asyncio.Semaphore(4)

    def ask(token: str) -> HubUser | None:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        try:
            answer = HfApi(endpoint=endpoint).whoami(token=token)
        except HfHubHTTPError as error:
            if error.response is not None and error.response.status_code in (400, 401, 403):
                return None
            raise
        # A token that signing in to some other app made says nothing about who sends it here.
        if answer.get("type") != "user" or (answer.get("auth") or {}).get("type") == "oauth":
            return None
        return hub_user(answer.get("id"), answer.get("name"), answer.get("orgs"))

    async def whoami(token: str) -> HubUser | None:
        try:
            async with at_once, asyncio.timeout(HUB_PATIENCE):
                return await asyncio.to_thread(ask, token)
        except Exception as error:
            # `from None`: the library's error may quote the request, and the request holds the token.
            why = type(error).__name__
            raise CannotCheck(f"The Hub could not be asked about this token ({why}): try again later.") from None

    return whoami
