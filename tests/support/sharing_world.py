"""A Parley with people who talk and agree, and sharing datasets around it: the vocabulary of the sharing tests."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import privacy
from chat.conversation import SamplingParams
from chat.dataset_repo import DatasetRepo, Threads
from chat.db import MIGRATIONS, Database
from chat.retrying import Retrying
from chat.slots import Slots
from chat.store import Author, Store, new_id
from privacy.audit import Expected, audit
from privacy.consent import Terms, agreed_now
from privacy.ledger import Choice, Event, Shown, record
from privacy.outbox import Plan
from privacy.push import Pushed, push
from privacy.rows import Redaction, Rules
from privacy.saved import restore
from privacy.sharing import Sharing
from privacy.trying import Tools
from tests.support.hub.testing import Clock
from tests.support.memory_repo import LookedAt, MemoryRepo

HOUR, DAY = 3600.0, 86400.0
QUIET = 72 * HOUR
ALPHA, BETA = "acme/alpha", "globex/beta"
DB = "parley.db"
EVERY_MIGRATION = {**MIGRATIONS, "privacy": privacy.MIGRATIONS}
EMAIL = re.compile(r"[\w.]+@[\w.]+")


def shown(version: str = "1") -> Shown:
    digest = hashlib.sha256(f"the text of version {version}".encode()).hexdigest()
    return Shown(version, digest, "en", "page", ("training", "research"), age_affirmed=True)


@dataclass(frozen=True)
class Redacted:
    text: str
    counts: dict[str, int]


def redact(text: str, placeholders: dict[str, str]) -> Redacted:
    """E-mail addresses only; fails on a text that says so."""
    if "UNREADABLE" in text:
        raise ValueError("too hard")
    found = EMAIL.findall(text)
    clean = EMAIL.sub(lambda m: placeholders.setdefault(m[0], f"[EMAIL_{len(placeholders) + 1}]"), text)
    return Redacted(clean, {"email": len(found)} if found else {})


RULES = Rules(
    namespace="ada",
    prefix="parley",
    quiet=QUIET,
    terms=Terms(),
    authors={ALPHA: "acme", BETA: "globex", "nobody/knows": ""},
    redaction=Redaction("1", redact, dict),
    most=10**6,
)


@cache
def _migrated() -> bytes:
    """An empty database, to begin with a copy: half of an episode's time would be the migrations."""
    with tempfile.TemporaryDirectory() as folder:
        Database.open(Path(folder), DB, EVERY_MIGRATION).close()
        return (Path(folder) / DB).read_bytes()


class World:
    """`open_repo` gives the push the sharing datasets (default: in memory, in `repos`) and the audit repository (in
    `audit_repos`); everything else gets them from `look_at`. `backups` counts the private backups."""

    def __init__(
        self,
        folder: Path,
        open_repo: Callable[[str], DatasetRepo] | None = None,
        rules: Rules = RULES,
        beside: World | None = None,
    ) -> None:
        """`beside`: another one whose clock, and whose datasets in memory, this one has too."""
        self.folder = folder
        self.clock = beside.clock if beside else Clock()
        self.repos: dict[str, MemoryRepo] = beside.repos if beside else {}
        self.audit_repos: dict[str, MemoryRepo] = beside.audit_repos if beside else {}
        self.rules = rules
        self.backups = 0
        self.open_repo = open_repo or self.in_memory
        self.open()

    def open(self) -> None:
        file = self.folder / DB
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            file.write_bytes(_migrated())
            with closing(sqlite3.connect(file)) as db, db:
                db.execute("UPDATE replica SET id = lower(hex(randomblob(8)))")
        self.db = Database.open(self.folder, DB, EVERY_MIGRATION)
        self.store = Store(self.db, self.clock, lambda *written: agreed_now(*written, self.rules.terms, self.clock()))

    def close(self) -> None:
        self.db.close()

    def in_memory(self, id: str) -> MemoryRepo:
        return (self.audit_repos if id.endswith("-audit") else self.repos).setdefault(id, MemoryRepo(id))

    def look_at(self, id: str) -> LookedAt:
        return LookedAt(self.open_repo(id))

    async def person(self, managed: bool = False, anonymous: bool = False) -> str:
        owner = new_id()
        now = self.clock()

        def write(db):
            kind = "anonymous" if anonymous else "account"
            db.execute("INSERT INTO owners VALUES (?, ?, ?, ?)", (owner, kind, now, now))
            if not anonymous:
                orgs = [{"id": "o", "name": "bigcorp", "managed": managed}]
                db.execute("INSERT INTO accounts VALUES (?, ?, ?, ?, ?)", (owner, owner, owner, json.dumps(orgs), now))

        await self.db.write(write)
        return owner

    async def say(
        self,
        owner: str,
        text: str,
        model: str = ALPHA,
        conversation: str | None = None,
        surface: str = "page",
        answer: str | None = None,
        system_prompt: str = "",
    ) -> str:
        """A turn; returns the conversation."""
        self.clock.now += 10
        author = Author(model, "r1", SamplingParams())
        found, _, running = await self.store.begin_turn(owner, conversation, text, author, system_prompt, surface)
        self.clock.now += 10
        await self.store.finish_turn(running.id, answer or f"{model} answers: {text}", "done", "stop")
        return found.id

    async def retry(self, owner: str, conversation: str, text: str, model: str = ALPHA) -> None:
        """The last answer of the conversation, written anew."""
        _, messages, _ = await self.store.branch(owner, conversation)
        author = Author(model, "r1", SamplingParams())
        _, _, running = await self.store.begin_retry(owner, messages[-1].id, author)
        await self.store.finish_turn(running.id, text, "done", "stop")

    async def choose(
        self,
        owner: str,
        kind: str,
        recipient: str | None = None,
        conversation: str | None = None,
        turns: tuple[str, ...] = (),
        version: str = "1",
    ) -> Event:
        self.clock.now += 1
        choice = Choice(kind, recipient, conversation, turns)
        return await self.db.write(lambda db: record(db, owner, choice, shown(version), self.clock()))

    async def answers(self, owner: str, conversation: str) -> tuple[str, ...]:
        _, messages, _ = await self.store.branch(owner, conversation, limit=1000)
        return tuple(m.id for m in messages if m.role == "assistant")

    def sharing(
        self,
        before_public: Callable | None = None,
        holds_lease: Callable[[], bool] = lambda: True,
        slots: Slots | None = None,
    ) -> Sharing:
        async def back_up() -> None:
            self.backups += 1

        return Sharing(
            self.db,
            self.rules,
            self.look_at,
            open_to_write=self.open_repo,
            clock=self.clock,
            before_public=before_public or back_up,
            holds_lease=holds_lease,
            slots=slots,
        )

    async def turn(self, after: float = QUIET, restored: bool = True) -> tuple[Plan, Pushed]:
        """A plan and a push, `after` seconds from now."""
        self.clock.now += after
        return await self.sharing().turn(restored=lambda: restored)

    async def push(self) -> Pushed:
        """A push without a plan before it."""

        async def back_up() -> None:
            self.backups += 1

        async def look() -> bool:
            return True

        slots, retrying = Slots.unlimited(self.clock), defaultdict(lambda: Retrying(self.clock, lambda _: None))
        return await push(
            Tools(
                self.db,
                self.look_at,
                self.open_repo,
                self.rules,
                self.clock,
                back_up,
                look,
                lambda: True,
                Threads(1),
                slots,
                retrying,
            )
        )

    async def elsewhere(self, folder: Path, saved: Mapping[str, bytes]) -> World:
        """The same people and their conversations on an empty disk; of ledger and outbox only what was `saved`."""
        other = World(folder, None if self.repos else self.open_repo, self.rules, beside=self)
        tables = ("owners", "accounts", "conversations", "messages", "feedback", "tombstones")
        copy = await self.db.read(
            lambda db: {table: [dict(row) for row in db.execute(f"SELECT * FROM {table}")] for table in tables}
        )

        def write(db):
            _insert(db, copy)
            restore(db, saved)
            restore(db, saved)

        await other.db.write(write)
        return other

    async def take_in(self, other: World) -> None:
        """The conversations of another disk, where they are not here."""
        tables = ("conversations", "messages")
        copy = await other.db.read(
            lambda db: {table: [dict(row) for row in db.execute(f"SELECT * FROM {table}")] for table in tables}
        )
        await self.db.write(lambda db: _insert(db, copy))

    def audited(self, **expected: object) -> list[str]:
        """What the audit finds, from the audit repository and the datasets alone."""
        found = audit(self.look_at, "ada/parley-audit", Expected(self.rules.terms, **expected), self.clock())
        return [str(finding) for finding in found]

    async def outbox(self) -> list[dict]:
        """In the order in which they were planned; those that were together, in that in which they were said. No order of
        random ids."""
        sql = "SELECT * FROM outbox ORDER BY planned_at, json_extract(turns, '$[0][1]'), dataset"
        return await self.db.read(lambda db: [dict(row) for row in db.execute(sql)])

    async def states(self) -> list[str]:
        return sorted(row["state"] for row in await self.outbox())

    def use(self, **changes: object) -> None:
        self.rules = replace(self.rules, **changes)


def _insert(db: sqlite3.Connection, rows: Mapping[str, list[dict]]) -> None:
    for table, all_rows in rows.items():
        for row in all_rows:
            names, values = ", ".join(row), ", ".join("?" * len(row))
            db.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({values})", list(row.values()))
