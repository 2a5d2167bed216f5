"""The ledger of consent: events that are written once and stay, each chained to the one before it.

The functions take a `sqlite3.Connection` and run inside the caller's transaction.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from dataclasses import asdict, dataclass
from typing import Literal

from privacy.events import Event, Kind, event_from, in_order
from privacy.knowing import noes_of_others, note_speaking, tips

ASKING = 30 * 86400.0  # seconds for which what is public stays, once the text it was agreed under is stale
TICK = 0.001  # seconds by which an event follows the last one known where the clock does not


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
        seen=tips(db, subjects, ((subject, replica), last["number"]) if last else None, others),
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
    written = event_from(row)
    note_speaking(db, written)
    return written


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


def event_of(db: sqlite3.Connection, id: str) -> Event:
    return event_from(db.execute("SELECT * FROM consent_events WHERE id = ?", (id,)).fetchone())


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
