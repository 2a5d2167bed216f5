"""The ledger of consent, and what follows from it. Nothing here is preset: unset never means yes.

    account state, per recipient    unset -> granted | denied; granted -> withdrawn; granted -> stale (by a new text);
                                    blocked (an organisation decides); ineligible (anonymous: could not withdraw)
    conversation's choice           inherit | private | share (exactly the turns that its preview showed)

A grant covers turns whose prompt came after it, never earlier ones; those, and imported ones, only a conversation's
own share covers. The functions that take a `sqlite3.Connection` run inside the caller's transaction.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from chat.db import Database

Kind = Literal["grant", "deny", "withdraw", "text_changed", "org_block", "takedown", "delete"]
AccountState = Literal["unset", "granted", "denied", "withdrawn", "stale", "blocked", "ineligible"]
ConversationChoice = Literal["inherit", "private", "share"]

ASKING = 30 * 86400.0  # seconds for which what is public stays, once the text it was agreed under is stale
TICK = 0.001  # seconds by which an event follows the last one where the clock does not

# Of events at one moment, which only replicas can write, the most restrictive is taken for the last.
SEVERITY = {"text_changed": 0, "grant": 1, "withdraw": 2, "deny": 3, "org_block": 4, "delete": 5, "takedown": 6}


class ConsentRefused(Exception):
    """This consent cannot be given; `str(error)` says why."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the person saw when they chose. `text_hash`: SHA-256, hex, of the text; `language`: a BCP 47 tag."""

    policy_version: str
    text_hash: str
    language: str
    surface: Literal["page", "api", "operator"] = "page"
    purposes: tuple[str, ...] = ()
    age_affirmed: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice. `recipient` None: every recipient. `turns`: ids of the answers that a conversation's share covers.

    Of a conversation: grant shares exactly `turns`, deny keeps it private, withdraw lets it follow the account again.
    """

    kind: Kind
    recipient: str | None = None
    conversation: str | None = None
    turns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the ledger. `hash` covers every other field; `previous`: the hash of the one before in its chain."""

    id: str
    subject: str
    replica: str
    number: int
    at: float
    kind: Kind
    scope: Literal["account", "conversation"]
    conversation: str | None
    recipient: str | None
    turns: tuple[str, ...]
    purposes: tuple[str, ...]
    policy_version: str
    text_hash: str
    language: str
    surface: str
    age_affirmed: bool
    previous: str
    hash: str = ""

    def digest(self) -> str:
        content = {name: value for name, value in asdict(self).items() if name != "hash"}
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Terms:
    """`stale_from`: version of a consent text -> Unix seconds from which a grant to it lets nothing new leave."""

    stale_from: Mapping[str, float] = field(default_factory=dict)

    def stale_since(self, version: str, now: float) -> float | None:
        since = self.stale_from.get(version)
        return since if since is not None and since <= now else None


@dataclass(frozen=True, slots=True)
class Yes:
    """The consent that covers a turn. `fresh`: something new may leave under it. `at`: when it was given."""

    event: Event
    fresh: bool

    @property
    def at(self) -> float:
        return self.event.at


# -- writing ----------------------------------------------------------------------------------------------------------


def subjects_of(db: sqlite3.Connection, owner: str) -> tuple[str, ...]:
    """All subjects of an owner, the one that spoke first foremost. Several: owners that turned out to be one."""
    rows = db.execute(
        "SELECT subject FROM subjects AS s WHERE owner = ? ORDER BY"
        " (SELECT min(at) FROM consent_events WHERE subject = s.subject) NULLS LAST, subject",
        (owner,),
    )
    return tuple(row["subject"] for row in rows)


def subject_of(db: sqlite3.Connection, owner: str) -> str | None:
    """The subject that new events of an owner name."""
    return next(iter(subjects_of(db, owner)), None)


def record(db: sqlite3.Connection, owner: str, choice: Choice, shown: Shown, now: float) -> Event:
    """Append what `owner` chose. Raises `ConsentRefused` where a yes would not be valid; a no is always taken."""
    if choice.kind == "grant":
        _refuse_invalid(db, owner, choice, shown)
    subjects = subjects_of(db, owner)
    subject = subjects[0] if subjects else secrets.token_hex(16)
    if not subjects:
        db.execute("INSERT INTO subjects (owner, subject) VALUES (?, ?)", (owner, subject))
    replica = db.execute("SELECT id FROM replica").fetchone()["id"]
    last = db.execute(
        "SELECT number, at, hash FROM consent_events WHERE subject = ? AND replica = ? ORDER BY number DESC LIMIT 1",
        (subject, replica),
    ).fetchone()
    latest = db.execute(
        "SELECT max(at) FROM consent_events WHERE replica = ? AND subject IN (SELECT value FROM json_each(?))",
        (replica, json.dumps(subjects)),
    ).fetchone()[0]
    event = Event(
        id=secrets.token_hex(16),
        subject=subject,
        replica=replica,
        number=last["number"] + 1 if last else 1,
        at=max(float(now), latest + TICK) if latest is not None else float(now),
        kind=choice.kind,
        scope="account" if choice.conversation is None else "conversation",
        conversation=choice.conversation,
        recipient=choice.recipient,
        turns=tuple(choice.turns),
        purposes=tuple(shown.purposes),
        policy_version=shown.policy_version,
        text_hash=shown.text_hash,
        language=shown.language,
        surface=shown.surface,
        age_affirmed=shown.age_affirmed,
        previous=last["hash"] if last else "",
    )
    return append(db, event)


def append(db: sqlite3.Connection, event: Event) -> Event:
    """Write an event down (a restored one keeps its hash) and return it. The database refuses what breaks a chain."""
    row = {**asdict(event), "hash": event.hash or event.digest()}
    names = ", ".join(f":{name}" for name in row)  # the fields of Event are the columns, in the same order
    values = {name: json.dumps(value) if isinstance(value, tuple) else value for name, value in row.items()}
    db.execute(f"INSERT INTO consent_events VALUES ({names})", values)
    return _event(row)


def _refuse_invalid(db: sqlite3.Connection, owner: str, choice: Choice, shown: Shown) -> None:
    standing = _standing(db, owner)
    if standing == "anonymous":
        raise ConsentRefused("Sign in to share: without an account you could not take it back.")
    if standing == "managed":
        raise ConsentRefused("Your account belongs to a team or enterprise organisation, which has opted you out.")
    if shown.age_affirmed is not True:
        raise ConsentRefused("Sharing has a minimum age: say first that you have reached it.")
    if not choice.recipient or not shown.purposes:
        raise ConsentRefused("A yes names who may read, and what for.")
    if choice.conversation is not None and not choice.turns:
        raise ConsentRefused("Sharing a conversation names the turns that its preview showed.")


def erase_subject(db: sqlite3.Connection, owner: str) -> None:
    """Forget whose subject it was. The events stay and speak of nobody; what they covered is planned out."""
    db.execute("DELETE FROM subjects WHERE owner = ?", (owner,))


# -- reading ----------------------------------------------------------------------------------------------------------


def events_of(db: sqlite3.Connection, *subjects: str) -> list[Event]:
    """The events of one person's subjects over all replicas, in the order in which they count."""
    sql = "SELECT * FROM consent_events WHERE subject IN (SELECT value FROM json_each(?))"
    return in_order(_event(row) for row in db.execute(sql, (json.dumps(subjects),)))


def event_of(db: sqlite3.Connection, id: str) -> Event:
    return _event(db.execute("SELECT * FROM consent_events WHERE id = ?", (id,)).fetchone())


def in_order(events: Iterable[Event]) -> list[Event]:
    return sorted(events, key=lambda event: (event.at, SEVERITY[event.kind], event.replica, event.number))


def verify_chains(db: sqlite3.Connection) -> list[str]:
    """What is wrong with the ledger, a sentence each; empty: every event follows from the one before it."""
    wrong: list[str] = []
    last: Event | None = None
    for row in db.execute("SELECT * FROM consent_events ORDER BY subject, replica, number"):
        event = _event(row)
        if last is None or (last.subject, last.replica) != (event.subject, event.replica):
            last = None
        if event.number != (last.number + 1 if last else 1) or event.previous != (last.hash if last else ""):
            wrong.append(f"Event {event.id} does not follow the one before it.")
        if last is not None and event.at <= last.at:
            wrong.append(f"Event {event.id} is not later than the one before it.")
        if event.hash != event.digest():
            wrong.append(f"Event {event.id} is not what was written.")
        last = event
    return wrong


def heads_hash(db: sqlite3.Connection) -> str:
    """SHA-256, hex, over the last hash of every chain: one line that pins the whole ledger."""
    rows = db.execute(
        "SELECT hash FROM consent_events AS e WHERE number ="
        " (SELECT max(number) FROM consent_events WHERE subject = e.subject AND replica = e.replica) ORDER BY hash"
    )
    return hashlib.sha256("\n".join(row["hash"] for row in rows).encode()).hexdigest()


class Standpoint:
    """What one owner's events say at the moment `now`. A value of one transaction: build it anew, do not keep it."""

    def __init__(self, db: sqlite3.Connection, owner: str, terms: Terms, now: float) -> None:
        self.subjects = subjects_of(db, owner)
        self.subject = next(iter(self.subjects), None)
        self.standing = _standing(db, owner)
        self._db, self._terms, self._now = db, terms, now
        self._events = events_of(db, *self.subjects)
        self._conversations: dict[str, list[Event]] = {}

    def account_state(self, recipient: str) -> AccountState:
        if self.standing == "anonymous":
            return "ineligible"
        state: AccountState = "unset"
        for event in self._about(recipient):
            if event.kind == "grant":
                state = "stale" if self._terms.stale_since(event.policy_version, self._now) is not None else "granted"
            elif event.kind == "org_block":
                state = "blocked"
            elif event.kind == "deny":
                state = "denied"
            else:
                state = "withdrawn" if state != "unset" or event.recipient else "unset"
        return "blocked" if self.standing == "managed" else state

    def conversation_choice(self, conversation: str) -> ConversationChoice:
        choice: ConversationChoice = "inherit"
        for event in self._of_conversation(conversation):
            if event.kind in ("deny", "takedown"):
                choice = "private"
            elif event.kind == "grant":
                choice = "share"
            elif event.kind == "withdraw":
                choice = "inherit"
            if event.kind == "takedown":
                break
        return choice

    def covering(self, recipient: str, conversation: str, answer: str, surface: str, asked_at: float) -> Yes | None:
        """The consent under which `recipient` may have this turn, or None. `asked_at`: when its prompt was written."""
        if self.standing != "account" or surface == "api":
            return None
        choice = self.conversation_choice(conversation)
        if choice == "private":
            return None
        shares = [e for e in self._shares(conversation, recipient) if answer in e.turns]
        if shares:
            return self._yes(shares[-1])
        if surface != "page":
            return None
        since, frozen = self._follows_account(conversation)
        if asked_at > frozen:
            return None
        grants = self._grants(recipient)
        ends = [*(grant.at for grant in grants[1:]), float("inf")]
        for grant, following in zip(grants, ends, strict=False):
            stale = self._terms.stale_since(grant.policy_version, self._now)
            until = following if stale is None else min(following, stale)
            if grant.at < asked_at < until and asked_at > since:
                # A newer yes to the same recipient refreshes an older one: they were asked again and agreed.
                fresh = self._yes(grants[-1])
                return fresh and Yes(grant, fresh.fresh)
        return None

    def _about(self, recipient: str) -> list[Event]:
        return [
            e
            for e in self._events
            if e.scope == "account" and e.recipient in (None, recipient) and e.kind != "text_changed"
        ]

    def _grants(self, recipient: str) -> list[Event]:
        """The account's grants to `recipient` since it last said no."""
        grants: list[Event] = []
        for event in self._about(recipient):
            grants = [*grants, event] if event.kind == "grant" else []
        return grants

    def _of_conversation(self, conversation: str) -> list[Event]:
        """The owner's events about a conversation, and what anybody else said against sharing it: what its former,
        anonymous owner kept private stays so."""
        found = self._conversations.get(conversation)
        if found is None:
            others = self._db.execute(
                "SELECT * FROM consent_events WHERE conversation = ? AND kind IN ('deny', 'takedown')"
                " AND subject NOT IN (SELECT value FROM json_each(?))",
                (conversation, json.dumps(self.subjects)),
            )
            own = [e for e in self._events if e.conversation == conversation]
            found = self._conversations[conversation] = in_order([*(_event(row) for row in others), *own])
        return found

    def _shares(self, conversation: str, recipient: str) -> list[Event]:
        """The shares of a conversation with `recipient` that no later no, to it or to all, has ended."""
        ends = [e.at for e in self._about(recipient) if e.kind != "grant"]
        ends += [e.at for e in self._of_conversation(conversation) if e.kind != "grant"]
        last = max(ends, default=float("-inf"))
        return [
            e
            for e in self._of_conversation(conversation)
            if e.kind == "grant" and e.recipient == recipient and e.at > last
        ]

    def _follows_account(self, conversation: str) -> tuple[float, float]:
        """Between which times the conversation follows the account: since it last stopped being private, until a share
        of it, after which only shares count."""
        events = self._of_conversation(conversation)
        since = max((e.at for e in events if e.kind != "grant"), default=float("-inf"))
        return since, min((e.at for e in events if e.kind == "grant" and e.at > since), default=float("inf"))

    def _yes(self, event: Event) -> Yes | None:
        stale = self._terms.stale_since(event.policy_version, self._now)
        if stale is not None and self._now >= stale + ASKING:
            return None
        return Yes(event, stale is None)


class Consent:
    """The ledger as the page uses it. `clock` gives Unix seconds."""

    def __init__(self, db: Database, clock: Callable[[], float], terms: Terms) -> None:
        self._db, self._clock, self._terms = db, clock, terms

    async def record(self, owner: str, choice: Choice, shown: Shown) -> Event:
        """Append a choice; durable on return. Raises `ConsentRefused`."""
        return await self._db.write(lambda db: record(db, owner, choice, shown, self._clock()))

    async def record_all(self, owner: str, choices: Sequence[Choice], shown: Shown) -> list[Event]:
        """Append several choices, or none of them. Raises `ConsentRefused`."""
        return await self._db.write(lambda db: [record(db, owner, choice, shown, self._clock()) for choice in choices])

    async def account_state(self, owner: str, recipient: str) -> AccountState:
        return await self._db.read(lambda db: self._standpoint(db, owner).account_state(recipient))

    async def conversation_choice(self, owner: str, conversation: str) -> ConversationChoice:
        return await self._db.read(lambda db: self._standpoint(db, owner).conversation_choice(conversation))

    async def events(self, owner: str) -> list[Event]:
        """Everything this owner ever chose, oldest first."""

        def read(db: sqlite3.Connection) -> list[Event]:
            return events_of(db, *subjects_of(db, owner))

        return await self._db.read(read)

    async def erase(self, owner: str) -> None:
        await self._db.write(lambda db: erase_subject(db, owner))

    async def verify(self) -> list[str]:
        return await self._db.read(verify_chains)

    def _standpoint(self, db: sqlite3.Connection, owner: str) -> Standpoint:
        return Standpoint(db, owner, self._terms, self._clock())


def _standing(db: sqlite3.Connection, owner: str) -> str:
    row = db.execute("SELECT standing FROM owner_standing WHERE owner = ?", (owner,)).fetchone()
    return row["standing"] if row else "anonymous"


def _event(row: sqlite3.Row | Mapping) -> Event:
    values = dict(row)
    for name in ("turns", "purposes"):
        given = values[name]
        values[name] = tuple(json.loads(given) if isinstance(given, str) else given)
    return Event(**{**values, "age_affirmed": bool(values["age_affirmed"])})
