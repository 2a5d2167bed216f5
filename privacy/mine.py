"""What an owner is shown: who will read a conversation and when, what exactly would leave, and what has left."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from privacy.consent import AccountState, ConversationChoice, Standpoint, subject_of
from privacy.outbox import covered
from privacy.rows import Rules, dataset_id, prepare
from privacy.segments import Turn, conversations_of, cut, turns_of

# Not on its way out.
STANDING = "SELECT answers FROM outbox WHERE subject = ? AND state IN ('publish', 'published', 'quarantined')"


@dataclass(frozen=True, slots=True)
class Outlook:
    """Who will read a conversation.

    `state`: the account's, towards the authors of the model selected ("unset" where it names none). `readers`: who has
    turns of it, or will get some, by name. `when`: Unix seconds at which the next turns leave, None where none will.
    `next_turn`: whether what is written next would be covered. `shared`: its readers have, or may have, some of it now.
    """

    recipient: str | None
    state: AccountState
    choice: ConversationChoice
    readers: tuple[str, ...]
    when: float | None
    next_turn: bool
    shared: bool

    @property
    def can_take_back(self) -> bool:
        return self.shared or self.when is not None or self.next_turn


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """A row as it would leave, redacted; `content` None: it cannot be redacted and would stay here.

    `answers`: what a share of exactly this row covers (`Choice.turns`).
    """

    recipient: str
    dataset: str
    model: str
    answers: tuple[str, ...]
    content: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class SharedRow:
    """One row of "My shared data", times in Unix seconds. `content` None: its text is gone from here, or kept back."""

    row_id: str
    dataset: str
    recipient: str
    conversation: str
    state: str
    content: Mapping[str, Any] | None
    row_hash: str
    event: str
    published_at: float | None
    published_in: str | None
    retracted_at: float | None
    retracted_in: str | None


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """A row that is agreed to and still here. `when`: Unix seconds from which it may leave. `content`: as `PreviewRow`."""

    recipient: str
    dataset: str
    conversation: str
    when: float
    content: Mapping[str, Any] | None


def outlook(
    db: sqlite3.Connection, owner: str, conversation: str | None, model: str | None, rules: Rules, now: float
) -> Outlook:
    """What the chip beside the box says. `conversation` None: one that is about to begin."""
    at = Standpoint(db, owner, rules.terms, now)
    recipient = rules.authors.get(model or "") or None
    choice = at.conversation_choice(conversation) if conversation else "inherit"
    state: AccountState = at.account_state(recipient) if recipient else "unset"
    rows = [] if conversation is None else _rows(db, at.subject, conversation)
    live = [row for row in rows if row["state"] in ("publish", "published", "retract")]
    readers = {row["recipient"] for row in live}
    times = [now for row in live if row["state"] == "publish"]
    if conversation is not None:
        turns = turns_of(db, owner, conversation)
        standing = [row for row in rows if row["state"] in ("publish", "published", "quarantined")]
        taken = {answer for row in standing for answer in json.loads(row["answers"])}

        def covering(turn: Turn) -> Any:
            author = rules.authors.get(turn.model)
            yes = author and covered(at, author, turn)
            return yes if yes and yes.fresh else None

        for segment in cut(turns, covering, taken):
            readers.add(rules.authors[segment.model])
            times.append(max(segment.changed_at, segment.why.at) + rules.quiet)
    next_turn = state == "granted" and choice == "inherit"
    if next_turn and recipient:
        readers.add(recipient)
    return Outlook(
        recipient,
        state,
        choice,
        tuple(sorted(readers)),
        min(times, default=None),
        next_turn,
        shared=any(row["shard"] is not None for row in live),
    )


def preview(db: sqlite3.Connection, owner: str, conversation: str, rules: Rules) -> list[PreviewRow]:
    """Every row that a share of this conversation as it is would cover, none of whose turns is shared already."""
    subject = subject_of(db, owner)
    taken = {
        answer
        for row in _rows(db, subject, conversation)
        if row["state"] in ("publish", "published")
        for answer in json.loads(row["answers"])
    }

    def covering(turn: Turn) -> str | None:
        return None if turn.surface == "api" else rules.authors.get(turn.model) or None

    rows = []
    for segment in cut(turns_of(db, owner, conversation), covering, taken):
        ready = prepare(segment, "", (), rules)
        dataset = dataset_id(rules, segment.model)
        rows.append(PreviewRow(segment.why, dataset, segment.model, segment.answers, ready.content))
    return rows


def shared_rows(db: sqlite3.Connection, owner: str) -> list[SharedRow]:
    """All that this owner's consent has let out or is about to, newest first, with what became of it."""
    subject = subject_of(db, owner)
    rows = db.execute("SELECT * FROM outbox WHERE subject = ? ORDER BY planned_at DESC, row_id", (subject,))
    columns = [name for name in SharedRow.__dataclass_fields__ if name != "content"]
    return [
        SharedRow(content=json.loads(row["row"]) if row["row"] else None, **{name: row[name] for name in columns})
        for row in rows
    ]


def waiting_rows(db: sqlite3.Connection, owner: str, rules: Rules, now: float) -> list[WaitingRow]:
    """What is agreed to and in no outbox yet: the soonest first."""
    at = Standpoint(db, owner, rules.terms, now)
    if at.standing != "account" or at.subject is None:
        return []
    taken = {
        answer
        for row in db.execute(STANDING, (at.subject,))
        for answer in json.loads(row["answers"])
    }

    def covering(turn: Turn) -> Any:
        author = rules.authors.get(turn.model)
        yes = author and covered(at, author, turn)
        return yes if yes and yes.fresh else None

    found = []
    for conversation, turns in conversations_of(db, owner):
        for segment in cut(turns, covering, taken):
            when = max(segment.changed_at, segment.why.at) + rules.quiet
            ready = prepare(segment, segment.why.event.policy_version, segment.why.event.purposes, rules)
            recipient = rules.authors[segment.model]
            found.append(WaitingRow(recipient, dataset_id(rules, segment.model), conversation, when, ready.content))
    return sorted(found, key=lambda row: (row.when, row.conversation))


def recipients(db: sqlite3.Connection, owner: str, rules: Rules, now: float) -> dict[str, AccountState]:
    """Every author in the catalogue, and every one who was ever agreed to, with the account's state towards them."""
    at = Standpoint(db, owner, rules.terms, now)
    said = db.execute(
        "SELECT DISTINCT recipient FROM consent_events WHERE subject = ? AND recipient IS NOT NULL", (at.subject,)
    )
    names = {author for author in rules.authors.values() if author} | {row["recipient"] for row in said}
    return {name: at.account_state(name) for name in sorted(names)}


def _rows(db: sqlite3.Connection, subject: str | None, conversation: str) -> list[sqlite3.Row]:
    sql = "SELECT * FROM outbox WHERE conversation = ? AND subject = ? ORDER BY row_id"
    return db.execute(sql, (conversation, subject)).fetchall()
