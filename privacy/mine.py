"""What an owner is shown: who will read a conversation and when, what exactly would leave, and what has left."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from chat.db import Database
from privacy.comparison import covered, leaves_at, stands, those_that_leave
from privacy.consent import AccountState, ConversationChoice, Standpoint, Yes
from privacy.feedback import Said, said_about, said_under
from privacy.rows import Rules, dataset_id, prepare
from privacy.screening import KeptBack
from privacy.segments import Segment, Turn, conversations_of, cut, turns_of

# Not on its way out.
OF_OWNER = "subject IN (SELECT subject FROM subjects WHERE owner = ?)"
STANDING = f"SELECT answers FROM outbox WHERE {OF_OWNER} AND state IN ('publish', 'published', 'quarantined')"

# Before it was written down, the redaction's failure was the only reason.
WHY = "CASE state WHEN 'quarantined' THEN coalesce(kept_back, 'redaction') END"

EVENT_HASH = "(SELECT hash FROM consent_events WHERE id = outbox.event)"
# The worst that became of what people reported about it.
REPORTED = (
    "(SELECT state FROM reports WHERE row_id = outbox.row_id"
    " ORDER BY state = 'upheld' DESC, state = 'open' DESC LIMIT 1)"
)

Feedback = tuple[Mapping[str, Any], ...]  # JSON objects, as they leave


@dataclass(frozen=True, slots=True)
class Outlook:
    """Who will read a conversation, by name, each tuple sorted.

    `state`: the account's, towards `recipient`, the authors of the model selected ("unset" where it names none).
    `standing`: who has, or may have, rows of it that stay. `leaving`: from whom rows that they have are taken back;
    `stopped`: to whom rows were on their way that are to go, and nobody knows whether they arrived; somebody may be among
    several. `coming`: who gets turns of it that are here already, the first at `when`, Unix seconds. `next_turn`: whether
    what is written next would be covered.
    """

    recipient: str | None
    state: AccountState
    choice: ConversationChoice
    standing: tuple[str, ...]
    leaving: tuple[str, ...]
    stopped: tuple[str, ...]
    coming: tuple[str, ...]
    when: float | None
    next_turn: bool

    @property
    def readers(self) -> tuple[str, ...]:
        """All who have turns of it, or will get some."""
        follows = {self.recipient} if self.next_turn and self.recipient else set()
        return tuple(sorted({*self.standing, *self.leaving, *self.stopped, *self.coming, *follows}))

    @property
    def shared(self) -> bool:
        """Its readers have, or may have, some of it now."""
        return bool(self.standing or self.leaving or self.stopped)

    @property
    def can_take_back(self) -> bool:
        """What is on its way out cannot be taken back once more."""
        return bool(self.standing or self.coming or self.next_turn)


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """A row as it would leave, redacted; `content` None: it would stay here, for the reason `kept_back`.

    `parts`: what a share of exactly this row covers (`Choice.turns`). `feedback`: what its owner said about them, which
    goes along.
    """

    recipient: str
    dataset: str
    model: str
    parts: tuple[str, ...]
    content: Mapping[str, Any] | None
    kept_back: KeptBack | None
    feedback: Feedback


@dataclass(frozen=True, slots=True)
class SharedRow:
    """One row of "My shared data", times in Unix seconds. `content` None: its text is gone from here, or kept back.
    `sent`: it may have left; it is known to have only where there is a `published_at`. `kept_back`: why it stays here, see
    `privacy.screening`. `reported`: by somebody, and "open", "upheld" or "rejected"."""

    row_id: str
    dataset: str
    recipient: str
    conversation: str
    state: str
    sent: bool
    content: Mapping[str, Any] | None
    row_hash: str
    event: str
    event_hash: str
    kept_back: KeptBack | None
    feedback: Feedback
    published_at: float | None
    published_in: str | None
    retracted_at: float | None
    retracted_in: str | None
    reported: str | None


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """A row that is agreed to and still here. `when`: Unix seconds from which it may leave. The rest as in `PreviewRow`;
    `kept_back` "most": as many of this month are shared already as may be."""

    recipient: str
    dataset: str
    conversation: str
    when: float
    content: Mapping[str, Any] | None
    kept_back: KeptBack | Literal["most"] | None
    feedback: Feedback


def outlook(
    db: sqlite3.Connection, owner: str, conversation: str | None, model: str | None, rules: Rules, now: float
) -> Outlook:
    """What the chip beside the box says. `conversation` None: one that is about to begin."""
    at = Standpoint(db, owner, rules.terms, now)
    recipient = rules.authors.get(model or "") or None
    choice = at.conversation_choice(conversation) if conversation else "inherit"
    state: AccountState = at.account_state(recipient) if recipient else "unset"
    standing: set[str] = set()
    leaving: set[str] = set()
    stopped: set[str] = set()
    coming: dict[str, float] = {}
    if conversation is not None:
        turns = turns_of(db, owner, conversation)
        taken: set[str] = set()
        for row in _rows(db, owner, conversation):
            if row["state"] == "retracted":
                continue
            name, sent = row["recipient"], row["shard"] is not None
            if row["state"] == "retract" or stands(row, at, turns, rules, now) is None:
                if sent:
                    (stopped if row["published_at"] is None else leaving).add(name)
                continue
            taken.update(json.loads(row["answers"]))
            standing |= {name} if sent else set()
            if row["state"] == "publish":
                coming[name] = rules.next_batch(now)

        for segment in _leaving(db, at, cut(turns, _covering(at, rules), taken), rules):
            name, leaves = rules.authors[segment.model], rules.next_batch(leaves_at(segment, rules))
            coming[name] = min(leaves, coming.get(name, leaves))
    in_force = at.in_force(conversation)
    next_turn = any(yes.recipient == recipient and yes.surface != "api" and yes.at <= now for yes in in_force)
    when = min(coming.values(), default=None)
    names = (tuple(sorted(found)) for found in (standing, leaving, stopped, coming))
    return Outlook(recipient, state, choice, *names, when, next_turn)


def offered(db: sqlite3.Connection, owner: str, conversation: str, rules: Rules) -> list[Segment[str]]:
    """Every segment, with its recipient, that a share of this conversation as it is would cover, none of whose turns is
    shared already."""
    taken = {
        answer
        for row in _rows(db, owner, conversation)
        if row["state"] in ("publish", "published")
        for answer in json.loads(row["answers"])
    }

    def covering(turn: Turn) -> str | None:
        return None if turn.surface == "api" else rules.authors.get(turn.model) or None

    return cut(turns_of(db, owner, conversation), covering, taken)


async def preview(db: Database, owner: str, conversation: str, rules: Rules) -> list[PreviewRow]:
    """The rows of what is `offered`. Redaction takes its time, so it begins after the transaction."""
    found, said = await db.read(lambda one: _with_said(one, owner, offered(one, owner, conversation, rules)))

    def ready(segment: Segment[str]) -> PreviewRow:
        row = prepare(segment, "", (), rules, said)
        dataset = dataset_id(rules, segment.model)
        return PreviewRow(segment.why, dataset, segment.model, segment.parts, row.content, row.kept_back, row.feedback)

    return await asyncio.to_thread(lambda: [ready(segment) for segment in found])


def shared_rows(db: sqlite3.Connection, owner: str) -> list[SharedRow]:
    """All that this owner's consent has let out or is about to, newest first, with what became of it."""
    rows = db.execute(
        f"SELECT *, {WHY} AS why, {EVENT_HASH} AS event_hash, {REPORTED} AS reported FROM outbox WHERE {OF_OWNER} ORDER BY planned_at DESC, row_id",
        (owner,),
    )
    columns = [
        name for name in SharedRow.__dataclass_fields__ if name not in ("sent", "content", "kept_back", "feedback")
    ]
    return [
        SharedRow(
            sent=row["shard"] is not None,
            content=json.loads(row["row"]) if row["row"] else None,
            kept_back=row["why"],
            feedback=tuple(json.loads(row["feedback"] or "[]")),
            **{name: row[name] for name in columns},
        )
        for row in rows
    ]


def waiting(db: sqlite3.Connection, owner: str, rules: Rules, now: float) -> list[Segment[Yes]]:
    """What is agreed to and in no outbox yet."""
    at = Standpoint(db, owner, rules.terms, now)
    if at.standing != "account" or at.subject is None:
        return []
    taken = {answer for row in db.execute(STANDING, (owner,)) for answer in json.loads(row["answers"])}
    covering = _covering(at, rules)
    return [segment for _, turns in conversations_of(db, owner) for segment in cut(turns, covering, taken)]


async def waiting_rows(db: Database, owner: str, rules: Rules, now: float) -> list[WaitingRow]:
    """The rows of what is `waiting`, the soonest first. Redaction takes its time, so it begins after the transaction."""

    def read(one: sqlite3.Connection) -> tuple[list[Segment[Yes]], list[Said], set[tuple[str, ...]]]:
        segments, said = _with_said(one, owner, waiting(one, owner, rules, now))
        leave = _leaving(one, Standpoint(one, owner, rules.terms, now), segments, rules)
        return segments, said, {segment.answers for segment in leave}

    found, said, leave = await db.read(read)

    def ready(segment: Segment[Yes]) -> WaitingRow:
        event, model = segment.why.event, segment.model
        row = prepare(segment, event.policy_version, event.purposes, rules, said_under(event, said))
        return WaitingRow(
            rules.authors[model],
            dataset_id(rules, model),
            segment.conversation,
            rules.next_batch(leaves_at(segment, rules)),
            row.content,
            row.kept_back or (None if segment.answers in leave else "most"),
            row.feedback,
        )

    rows = await asyncio.to_thread(lambda: [ready(segment) for segment in found])
    return sorted(rows, key=lambda row: (row.when, row.conversation))


def _leaving(db: sqlite3.Connection, at: Standpoint, segments: list[Segment[Yes]], rules: Rules) -> list[Segment[Yes]]:
    """Those of one person's `segments` that leave, once it is time."""
    return [segment for _, segment in those_that_leave(db, [(at.subject or "", each) for each in segments], (), rules)]


def _with_said(
    db: sqlite3.Connection, owner: str, segments: list[Segment[Any]]
) -> tuple[list[Segment[Any]], list[Said]]:
    return segments, said_about(db, [owner], [answer for segment in segments for answer in segment.answers])


def recipients(
    db: sqlite3.Connection, owner: str, rules: Rules, now: float
) -> dict[str, tuple[AccountState, AccountState]]:
    """Every author in the catalogue, and every one who was ever agreed to, with the account's state towards them: of what
    is written on the page, and of what is sent with API keys."""
    at = Standpoint(db, owner, rules.terms, now)
    said = db.execute(
        f"SELECT DISTINCT recipient FROM consent_events WHERE {OF_OWNER} AND recipient IS NOT NULL", (owner,)
    )
    names = {author for author in rules.authors.values() if author} | {row["recipient"] for row in said}
    return {name: (at.account_state(name), at.account_state(name, "api")) for name in sorted(names)}


def _covering(at: Standpoint, rules: Rules) -> Callable[[Turn], Yes | None]:
    """The consent under which a turn may leave now or later."""

    def covering(turn: Turn) -> Yes | None:
        author = rules.authors.get(turn.model)
        yes = covered(at, author, turn) if author else None
        return yes if yes and yes.fresh else None

    return covering


def _rows(db: sqlite3.Connection, owner: str, conversation: str) -> list[sqlite3.Row]:
    sql = f"SELECT * FROM outbox WHERE conversation = ? AND {OF_OWNER} ORDER BY row_id"
    return db.execute(sql, (conversation, owner)).fetchall()
