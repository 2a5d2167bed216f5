"""The ledger of consent: events that are written once and stay, each chained to the one before it.

The functions take a `sqlite3.Connection` and run inside the caller's transaction.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["grant", "deny", "withdraw", "text_changed", "org_block", "takedown", "delete"]

ASKING = 30 * 86400.0  # seconds for which what is public stays, once the text it was agreed under is stale
TICK = 0.001  # seconds by which an event follows the last one known where the clock does not

# Of events at one moment, which only replicas can write, the most restrictive is taken for the last. See `that_count`.
SEVERITY = {"text_changed": 0, "grant": 1, "withdraw": 2, "deny": 3, "org_block": 4, "delete": 5, "takedown": 6}


class ConsentRefused(Exception):
    """This consent cannot be given; `str(error)` says why."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the person saw when they chose. `text_hash`: SHA-256, hex, of the text; `language`: a BCP 47 tag.

    `surface`: "api" of the choice about what is sent with API keys, which is one of its own; "page" of every other.
    """

    policy_version: str
    text_hash: str
    language: str
    surface: Literal["page", "api", "operator"] = "page"
    purposes: tuple[str, ...] = ()
    age_affirmed: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice. `recipient` None: every recipient. `turns`: what a conversation's share covers, each by its
    `privacy.segments.Turn.part`.

    Of a conversation: grant shares exactly `turns`, deny keeps it private, withdraw lets it follow the account again.
    """

    kind: Kind
    recipient: str | None = None
    conversation: str | None = None
    turns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the ledger. `hash` covers every other field; `previous`: the hash of the one before in its chain.
    `seen`: the hashes of those of the same person's other chains that it follows directly, and of what others said against
    sharing its conversation. Like the parents of a commit, these tell which of two events knew of the other, and no clock
    does."""

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
    seen: tuple[str, ...] = ()

    @property
    def chain(self) -> tuple[str, str]:
        return self.subject, self.replica

    def digest(self) -> str:
        without = {"hash"} if self.seen else {"hash", "seen"}  # events from before `seen` keep the hash they have
        content = {name: value for name, value in asdict(self).items() if name not in without}
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


LATEST_WRITTEN = "SELECT max(updated_at) AS at FROM kept_conversation WHERE owner = ?"
LATEST_KNOWN = """
    SELECT max(at) AS at FROM (
        SELECT (SELECT max(at) FROM consent_events WHERE subject = s.subject) AS at FROM subjects AS s WHERE owner = :owner
        UNION ALL
        SELECT (SELECT max(coalesce(ended_at, begun_at)) FROM pauses WHERE subject = s.subject)
        FROM subjects AS s WHERE owner = :owner)
"""


# -- writing ----------------------------------------------------------------------------------------------------------


def subjects_of(db: sqlite3.Connection, owner: str) -> tuple[str, ...]:
    """All subjects of an owner, the one that spoke first foremost. Several: owners that turned out to be one."""
    rows = db.execute(
        "SELECT subject FROM subjects AS s WHERE owner = ? ORDER BY"
        " (SELECT min(at) FROM consent_events WHERE subject = s.subject) NULLS LAST, subject",
        (owner,),
    )
    return tuple(row["subject"] for row in rows)


def made_subjects_of(db: sqlite3.Connection, owner: str) -> tuple[str, ...]:
    """As `subjects_of`; one is made where there is none."""
    if not subjects_of(db, owner):
        db.execute("INSERT INTO subjects (owner, subject) VALUES (?, ?)", (owner, secrets.token_hex(16)))
    return subjects_of(db, owner)


def subject_of(db: sqlite3.Connection, owner: str) -> str | None:
    """The subject that new events of an owner name."""
    return next(iter(subjects_of(db, owner)), None)


def record(db: sqlite3.Connection, owner: str, choice: Choice, shown: Shown, now: float) -> Event:
    """Append what `owner` chose. Raises `ConsentRefused` where a yes would not be valid; a no is always taken."""
    if choice.kind == "grant":
        _refuse_invalid(db, owner, choice, shown)
    subjects = made_subjects_of(db, owner)
    subject = subjects[0]
    replica = db.execute("SELECT id FROM replica").fetchone()["id"]
    last = db.execute(
        "SELECT number, at, hash FROM consent_events WHERE subject = ? AND replica = ? ORDER BY number DESC LIMIT 1",
        (subject, replica),
    ).fetchone()
    others = noes_of_others(db, choice.conversation, subjects)
    event = Event(
        id=secrets.token_hex(16),
        subject=subject,
        replica=replica,
        number=last["number"] + 1 if last else 1,
        at=max([next_moment(db, owner, now), *(no.at + TICK for no in others)]),
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
        seen=_tips(in_order([*events_of(db, *subjects), *others]), last["hash"] if last else None),
    )
    return append(db, event)


def next_moment(db: sqlite3.Connection, owner: str, now: float) -> float:
    """The date of what `owner` says `now`, Unix seconds: after all that is known of what they said, a pause among it, on
    another machine too, whose clock may be days ahead; and after all that they wrote, though the clock was set back since."""
    heard = db.execute(LATEST_KNOWN, {"owner": owner}).fetchone()["at"]
    written = db.execute(LATEST_WRITTEN, (owner,)).fetchone()["at"]
    return max(float(now), (heard or 0.0) + TICK, (written or 0.0) + TICK)


def append(db: sqlite3.Connection, event: Event) -> Event:
    """Write an event down (a restored one keeps its hash) and return it. The database refuses what breaks a chain."""
    row = {**asdict(event), "hash": event.hash or event.digest()}
    values = {name: json.dumps(value) if isinstance(value, tuple) else value for name, value in row.items()}
    names, given = ", ".join(row), ", ".join(f":{name}" for name in row)
    db.execute(f"INSERT INTO consent_events ({names}) VALUES ({given})", values)
    return event_from(row)


def _refuse_invalid(db: sqlite3.Connection, owner: str, choice: Choice, shown: Shown) -> None:
    standing = standing_of(db, owner)
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


def begin_chains(db: sqlite3.Connection) -> None:
    """What is said from here on stands in chains of its own. A disk that is put back to a snapshot does not know what was
    said on it after that: in the old chains it would write another event at the place of one that others have read."""
    replica = db.execute("SELECT id FROM replica").fetchone()["id"]
    if db.execute("SELECT 1 FROM consent_events WHERE replica = ?", (replica,)).fetchone():
        db.execute("INSERT OR IGNORE INTO former_replicas VALUES (?)", (replica,))
        db.execute("UPDATE replica SET id = ?", (secrets.token_hex(8),))


def erase_subject(db: sqlite3.Connection, owner: str) -> None:
    """Forget whose subject it was. The events stay and speak of nobody; what they covered is planned out."""
    db.execute("DELETE FROM subjects WHERE owner = ?", (owner,))


# -- reading ----------------------------------------------------------------------------------------------------------


def events_of(db: sqlite3.Connection, *subjects: str) -> list[Event]:
    """The events of one person's subjects over all replicas, in the order in which they count."""
    sql = "SELECT * FROM consent_events WHERE subject IN (SELECT value FROM json_each(?))"
    return in_order(event_from(row) for row in db.execute(sql, (json.dumps(subjects),)))


def noes_of_others(db: sqlite3.Connection, conversation: str | None, subjects: Sequence[str]) -> list[Event]:
    """What anybody but a person with these `subjects` said against sharing a conversation: its former owner, the operator."""
    rows = db.execute(
        "SELECT * FROM consent_events WHERE conversation = ? AND kind IN ('deny', 'takedown')"
        " AND subject NOT IN (SELECT value FROM json_each(?))",
        (conversation, json.dumps(subjects)),
    )
    return in_order(event_from(row) for row in rows)


def event_of(db: sqlite3.Connection, id: str) -> Event:
    return event_from(db.execute("SELECT * FROM consent_events WHERE id = ?", (id,)).fetchone())


Known = dict[tuple[str, str], int]  # chain -> the number of its last event that is known


def known_to(events: Iterable[Event]) -> dict[str, Known]:
    """Of each event, by its hash, what its machine knew of when it was said: all that can be reached by `previous` and
    `seen`. `events`: one person's, and noes of others, in order. The version vectors of Mattern, "Virtual Time and Global States of Distributed
    Systems" (1989)."""
    found: dict[str, Known] = {}
    for event in events:
        known: Known = {}
        for hash in (event.previous, *event.seen):
            for chain, number in found.get(hash, {}).items():
                known[chain] = max(number, known.get(chain, 0))
        found[event.hash] = {**known, event.chain: event.number}
    return found


def that_count(events: list[Event]) -> list[Event]:
    """Of `events`, one person's in order, those that count: what opens something does not, where another machine heard a no
    to the same and neither knew of the other. Of concurrent events the most restrictive wins."""
    known = known_to(events)
    last: dict[tuple[Any, ...], Event] = {}  # the last no of each chain to each scope
    for event in events:
        if event.kind not in ("grant", "text_changed"):
            last[(event.chain, event.recipient, event.conversation, event.surface, _opens(event))] = event
    noes = list(last.values())
    several = len({event.replica for event in events}) > 1
    return [e for e in events if not (several and _opens(e) and any(_outdone(e, no, known[e.hash]) for no in noes))]


def _opens(event: Event) -> bool:
    """A yes does, and so does letting a conversation that was private follow the account again."""
    return event.kind == "grant" or (event.kind == "withdraw" and event.conversation is not None)


def _outdone(opening: Event, no: Event, known: Known) -> bool:
    """Whether the no is to what is opened, and was not known there. (A no that knows of the yes ends it by its place.)"""
    if no.replica == opening.replica or known.get(no.chain, 0) >= no.number:
        return False
    if opening.kind == "withdraw":
        return no.conversation == opening.conversation and not _opens(no)
    return (
        no.recipient in (None, opening.recipient)
        and no.conversation in (None, opening.conversation)
        and speaks_of(no, opening.surface)
    )


def _tips(events: list[Event], own: str | None) -> tuple[str, ...]:
    """The hashes of those `events`, one person's in order, that no other follows, without the one of the hash `own` and what
    that follows."""
    known = known_to(events)
    reached: Known = dict(known[own]) if own else {}
    tips: list[str] = []
    for event in reversed(events):
        if reached.get(event.chain, 0) < event.number:
            tips.append(event.hash)
            for chain, number in known[event.hash].items():
                reached[chain] = max(number, reached.get(chain, 0))
    return tuple(sorted(tips))


def speaks_of(event: Event, surface: str) -> bool:
    """Whether an account's choice is about what comes from there: a yes about what it was said to alone, a no that was not
    said to the API alone about everything."""
    return (event.surface == "api") == (surface == "api") or (surface == "api" and event.kind != "grant")


def in_order(events: Iterable[Event]) -> list[Event]:
    return sorted(events, key=lambda event: (event.at, SEVERITY[event.kind], event.replica, event.number))


def verify_chains(db: sqlite3.Connection) -> list[str]:
    """What is wrong with the ledger, a sentence each; empty: every event follows from the one before it."""
    wrong: list[str] = []
    last: Event | None = None
    for row in db.execute("SELECT * FROM consent_events ORDER BY subject, replica, number"):
        event = event_from(row)
        if last is None or last.chain != event.chain:
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


def standing_of(db: sqlite3.Connection, owner: str) -> str:
    row = db.execute("SELECT standing FROM owner_standing WHERE owner = ?", (owner,)).fetchone()
    return row["standing"] if row else "anonymous"


def event_from(row: sqlite3.Row | Mapping) -> Event:
    values = dict(row)
    for name in ("turns", "purposes", "seen"):
        given = values[name]
        values[name] = tuple(json.loads(given) if isinstance(given, str) else given)
    return Event(**{**values, "age_affirmed": bool(values["age_affirmed"])})
